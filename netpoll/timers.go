package netpoll

import (
	"sync/atomic"
	"time"

	"wsgateway/internal/slab"
)

// timers is the time of a reactor, and the one deadline that each connection may have.
type timers struct {
	dues *slab.Array[atomic.Uint32] // by index: when the deadline passes, 0 for none
	now  atomic.Uint32              // milliseconds, advanced by Advance
	rest time.Duration              // less than a millisecond, of Advance
}

func (ti *timers) init(capacity int) {
	ti.dues = slab.NewArray[atomic.Uint32](capacity)
	ti.now.Store(1)
}

// open has room for the deadline of c, which has none yet.
func (ti *timers) open(c Conn) {
	ti.dues.Ensure(c.Index())
	ti.dues.At(c.Index()).Store(0)
}

// set sets the deadline of c, d from now; 0 for none.
func (ti *timers) set(c Conn, d time.Duration) {
	var due uint32
	if d > 0 {
		due = max(1, ti.now.Load()+uint32(min(d, maxDeadline)/time.Millisecond))
	}
	ti.dues.At(c.Index()).Store(due)
}

// overdue returns how long ago the deadline of c passed; negative if it has not, or there is none.
func (ti *timers) overdue(c Conn) time.Duration {
	due := ti.dues.At(c.Index()).Load()
	if due == 0 {
		return -1
	}
	return Since(due, ti.now.Load())
}

// Now returns the reactor's time in milliseconds, as of the last Advance. It wraps around after
// 49 days: compare with Since.
func (r *Reactor) Now() uint32 { return r.timers.now.Load() }

// Since returns b-a for two values of Now that are less than 24 days apart.
func Since(a, b uint32) time.Duration { return time.Duration(int32(b-a)) * time.Millisecond }

// maxDeadline is 12 days, half of what a comparison can tell apart.
const maxDeadline = 1 << 30 * time.Millisecond

// Advance advances the reactor's time. The caller decides how fast time goes: after the process
// has been stopped for a minute, no client is to blame for it. Calls must not run
// concurrently with each other or with Sweep.
func (r *Reactor) Advance(d time.Duration) {
	d += r.timers.rest
	r.timers.now.Add(uint32(d / time.Millisecond))
	r.timers.rest = d % time.Millisecond
}

// Sweep gives a turn to every connection whose deadline has passed or whose queue has not moved for
// too long. It looks at one of parts equal parts of all connections. The caller sweeps the parts
// one after the other, with pauses. So connections whose time is up together, as after a storm of
// connects, do not get their turns all at once.
func (r *Reactor) Sweep(part, parts int) {
	now := r.timers.now.Load()
	var due list
	wake := func(c Conn, why Reason) {
		if enlist, _ := r.slots.At(c.Index()).mark(c, why); enlist {
			due.push(r, c.Index())
		}
	}
	high := r.slots.High()
	for base := uint32(part) * slab.ChunkLen; base < high; base += uint32(parts) * slab.ChunkLen {
		chunk := r.timers.dues.Chunk(base)
		if chunk == nil {
			continue // its first connection is being admitted
		}
		for i := range chunk {
			at := chunk[i].Load()
			if at != 0 && int32(now-at) >= 0 {
				if c := r.At(base + uint32(i)); c != 0 {
					wake(c, Deadline)
				}
			}
		}
	}
	stall := uint32(r.cfg.WriteStall / time.Millisecond)
	queues := r.output.queues
	high = queues.High()
	for base := uint32(part) * slab.ChunkLen; base < high; base += uint32(parts) * slab.ChunkLen {
		for i := base; i < min(high, base+slab.ChunkLen); i++ {
			q := queues.At(i)
			if c := Conn(q.conn.Load()); c != 0 && now-q.moved.Load() >= stall {
				wake(c, Stalled)
			}
		}
	}
	r.pool.nudge()
	if due.n > 0 {
		// To one worker, however many they are: nobody is in a hurry, and the others' cores
		// stay free for clients that are.
		r.pool.choose().push(due, time.Now())
	}
}
