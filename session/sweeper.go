package session

import (
	"context"
	"time"

	"sync/atomic"

	"wsgateway/internal/slab"
	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// liveness holds, for every slot, when its client was last heard of and when it was pinged,
// in dense arrays that a sweep reads from end to end: 8 bytes a client, and a millisecond or
// two for a million.
type liveness struct {
	lastSeen *slab.Array[atomic.Uint32] // ms of the gateway's time; 0: no open session; written by the owner
	pinged   *slab.Array[atomic.Uint32] // ms, 0 for never; written by the sweeper, cleared or moved on by the owner

	interval, timeout uint32 // ms
}

func newLiveness(n int, interval, timeout time.Duration) *liveness {
	return &liveness{
		lastSeen: slab.NewArray[atomic.Uint32](n),
		pinged:   slab.NewArray[atomic.Uint32](n),
		interval: uint32(interval / time.Millisecond),
		timeout:  uint32(timeout / time.Millisecond),
	}
}

func (l *liveness) ensure(i uint32) {
	l.lastSeen.Ensure(i)
	l.pinged.Ensure(i)
	l.forget(i)
}

func (l *liveness) seen(i, now uint32) { l.lastSeen.At(i).Store(max(1, now)) }

func (l *liveness) forget(i uint32) {
	l.lastSeen.At(i).Store(0)
	l.pinged.At(i).Store(0)
}

// excuse forgets a ping that a client cannot answer: it is pinged again.
func (l *liveness) excuse(i uint32) { l.pinged.At(i).Store(0) }

// wait has the time for the answer to a ping begin anew. The caller is the owner, and the client is
// dead. So the sweeper leaves both times alone.
func (l *liveness) wait(i, now uint32) { l.pinged.At(i).Store(max(1, now)) }

// dead reports whether a client has not been heard of since it was pinged, for longer than it
// may. A client heard of in the same millisecond of the coarse clock as its ping has answered.
func (l *liveness) dead(i, now uint32) bool {
	lastSeen, pinged := l.lastSeen.At(i).Load(), l.pinged.At(i).Load()
	return lastSeen != 0 && pinged != 0 && int32(lastSeen-pinged) < 0 && now-pinged >= l.timeout
}

// settle forgets a ping that has been answered, so that no comparison is ever made with one of
// weeks ago.
func (l *liveness) settle(i uint32) {
	lastSeen, pinged := l.lastSeen.At(i).Load(), l.pinged.At(i).Load()
	if pinged != 0 && int32(lastSeen-pinged) >= 0 {
		l.pinged.At(i).Store(0)
	}
}

// due reports whether a client has been silent for so long that it has to be pinged.
func (l *liveness) due(i, now uint32) bool {
	lastSeen, pinged := l.lastSeen.At(i).Load(), l.pinged.At(i).Load()
	if lastSeen == 0 || pinged != 0 && int32(lastSeen-pinged) < 0 {
		return false // not open, or pinged already
	}
	return now-lastSeen >= l.jittered(i)
}

// jittered returns the interval of client i: the configured one ±10 %, so that clients that
// came together are not pinged together.
func (l *liveness) jittered(i uint32) uint32 {
	spread := l.interval / 5
	if spread == 0 {
		return l.interval
	}
	return l.interval - spread/2 + (i*2654435761>>8)%spread // Knuth's multiplicative hash
}

// The gateway's time advances every sweepTick. Each time one of sweepParts of the clients is
// looked at, so that each is four times a second.
const (
	sweepTick  = 25 * time.Millisecond
	sweepParts = 10
)

// maxLateness is by how much a tick may be late and still count in full. The gateway's time
// stands still for the rest: after the process has been stopped, swapped out or starved for
// a minute, no client has been silent for that minute, because nobody listened.
const maxLateness = 250 * time.Millisecond

// sweep advances the gateway's time until ctx is over. It is the only goroutine that waits
// for time to pass, for all sessions together.
func (s *Server) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepTick)
	defer tick.Stop()
	last := time.Now()
	for part := 0; ; part = (part + 1) % sweepParts {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		elapsed := now.Sub(last)
		last = now
		if late := elapsed - sweepTick - maxLateness; late > 0 {
			s.stats.lag.Add(uint64(late))
			elapsed -= late
		}
		s.tr.Advance(elapsed)
		s.tr.Sweep(part, sweepParts)
		s.checkLiveness(part, sweepParts)
		s.watch(now)
	}
}

// checkLiveness looks at one part of the clients. It pings those that have been silent, and
// gives a turn to those that have not answered: the turn reads what has arrived before it
// judges.
func (s *Server) checkLiveness(part, parts int) {
	now, high := s.tr.Now(), s.tr.High()
	pressed := s.bufs.pressure() > 1
	for base := uint32(part) * slab.ChunkLen; base < high; base += uint32(parts) * slab.ChunkLen {
		if s.live.pinged.Chunk(base) == nil || !s.table.has(base) {
			continue // its first connection is being admitted
		}
		for i := base; i < base+slab.ChunkLen; i++ {
			s.live.settle(i)
			if pressed && s.table.at(i).partial.Load() != 0 {
				s.wakeOpen(i) // what is incomplete has less time from now on
			}
			switch {
			case s.live.due(i, now):
				s.pingSilent(i, now)
			case s.live.dead(i, now):
				s.wakeOpen(i)
			}
		}
	}
}

// wakeOpen gives a session a turn, unless it is held: then it has not been listened to, and a reset would have
// been reported.
func (s *Server) wakeOpen(i uint32) {
	rec := s.table.at(i)
	if m := rec.load(); m.phase() == phaseOpen && rec.flags.Load()&flagHeld == 0 {
		_ = s.tr.Wake(netpoll.MakeConn(i, m.gen())) // or it has just ended
	}
}

// pingSilent pings a client, unless something waits to be sent to it: then it shows whether it is alive
// by reading that, which netpoll.Config.WriteStall judges, and a ping would only need room.
func (s *Server) pingSilent(i, now uint32) {
	m := s.table.at(i).load()
	c := netpoll.MakeConn(i, m.gen())
	if m.phase() != phaseOpen || s.tr.Queued(c) > 0 {
		return
	}
	p := s.ids.pingPayload()
	policy := s.table.policy(c)
	if policy != CloseSlow {
		policy = DropNewest
	}
	if s.tr.Send(c, netpoll.Message{Prefix: header(wsproto.OpPing, len(p)), Body: p[:], Policy: policy}) == nil {
		s.live.pinged.At(i).Store(max(1, now))
		s.stats.pings.Add(1)
	}
}
