package lanes

import (
	"slices"
	"time"
)

// worker is a goroutine of the pool, or rather its place: a call that ends the goroutine leaves the
// place to another one. Its fields are guarded by the lock of the pool.
type worker[K comparable, T any] struct {
	index int              // in Pool.workers
	lane  *lane[K, T]      // that it serves; nil while it is idle
	next  chan *lane[K, T] // what an idle worker does next: serve a lane, or end if it is nil

	idleSince uint64 // Pool.sweeps when it became idle

	// Of Slow.
	calls    uint64    // begun so far
	seen     uint64    // calls when Slow looked last
	since    time.Time // when Slow first saw that call
	reported bool      // Slow has returned that call
}

// schedule has an idle worker serve a lane, or a new one, or has the lane wait.
func (p *Pool[K, T]) schedule(l *lane[K, T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch n := len(p.idle); {
	case n > 0:
		w := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		w.begin(l)
		w.next <- l // there is room: an idle worker gets one value
	case len(p.workers) < p.cfg.Size:
		w := &worker[K, T]{index: len(p.workers), next: make(chan *lane[K, T], 1)}
		p.workers = append(p.workers, w)
		w.begin(l)
		go p.run(w, l) // ends when it is idle for long, or after Close
	default:
		p.waiting.push(l)
	}
}

// unqueue takes a lane out of the queue, and reports whether it waited there.
func (p *Pool[K, T]) unqueue(l *lane[K, T]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting.remove(l)
}

func (w *worker[K, T]) begin(l *lane[K, T]) {
	w.lane = l
	w.calls++
}

// run serves lanes, beginning with l. A call that ends the goroutine with runtime.Goexit ends run,
// too: another goroutine goes on then.
func (p *Pool[K, T]) run(w *worker[K, T], l *lane[K, T]) {
	defer func() {
		if l != nil {
			go func() { p.run(w, p.after(w, l)) }()
		}
	}()
	for l != nil {
		if f := p.take(l); f != nil {
			p.call(l.key, f)
		}
		l = p.after(w, l)
	}
}

// call calls f, and survives its panic if somebody is told of it.
func (p *Pool[K, T]) call(key K, f func()) {
	returned := false
	defer func() {
		if !returned && p.cfg.Failed != nil {
			p.cfg.Failed(key, recover())
		}
	}()
	f()
	returned = true
}

// after returns the lane that a worker serves after l. It waits for one. It returns nil when the
// worker has to end.
func (p *Pool[K, T]) after(w *worker[K, T], l *lane[K, T]) *lane[K, T] {
	finished := p.finish(l)
	p.mu.Lock()
	if !finished {
		p.waiting.push(l)
	}
	if l = p.waiting.pop(); l != nil {
		w.begin(l)
		p.mu.Unlock()
		return l
	}
	w.lane = nil
	if p.closed {
		p.remove(w)
		p.mu.Unlock()
		return nil
	}
	w.idleSince = p.sweeps
	p.idle = append(p.idle, w)
	p.startSweeper()
	p.mu.Unlock()
	return <-w.next
}

// remove takes a worker out of the list. It expects the lock.
func (p *Pool[K, T]) remove(w *worker[K, T]) {
	last := len(p.workers) - 1
	p.workers[w.index] = p.workers[last]
	p.workers[w.index].index = w.index
	p.workers[last] = nil
	p.workers = p.workers[:last]
	if p.closed {
		p.ended.Broadcast()
	}
}

// endIdle ends the n workers that have been idle for longest. It expects the lock.
func (p *Pool[K, T]) endIdle(n int) {
	for _, w := range p.idle[:n] {
		p.remove(w)
		w.next <- nil
	}
	p.idle = slices.Delete(p.idle, 0, n)
	if len(p.idle) == 0 && p.sweeping {
		p.sweeper.Stop()
		p.sweeping = false
	}
}

// startSweeper has sweep called after a while. It expects the lock.
func (p *Pool[K, T]) startSweeper() {
	switch {
	case p.sweeper == nil:
		p.sweeper = time.AfterFunc(p.cfg.IdleTimeout, p.sweep)
	case !p.sweeping:
		p.sweeper.Reset(p.cfg.IdleTimeout)
	}
	p.sweeping = true
}

// sweep ends the workers that have been idle since before the last sweep, and comes again while
// others are idle. Workers need no clock and no timer of their own this way.
func (p *Pool[K, T]) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.idle) && p.idle[n].idleSince < p.sweeps {
		n++
	}
	p.sweeps++
	p.sweeping = false
	p.endIdle(n)
	if len(p.idle) > 0 {
		p.startSweeper()
	}
}

// Slow returns the keys of the calls that have been running for at least limit, each call once. A
// call's time counts from the first Slow that finds it running, so that calls themselves need no
// clock: Slow is to be called at intervals well below limit.
func (p *Pool[K, T]) Slow(now time.Time, limit time.Duration) (keys []K) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		switch {
		case w.lane == nil:
		case w.calls != w.seen:
			w.seen, w.since, w.reported = w.calls, now, false
		case !w.reported && now.Sub(w.since) >= limit:
			w.reported = true
			keys = append(keys, w.lane.key)
		}
	}
	return keys
}
