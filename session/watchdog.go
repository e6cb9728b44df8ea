package session

import (
	"sync/atomic"
	"time"
)

// slowCall is how long a call of a handler may take without being counted.
const slowCall = 100 * time.Millisecond

// callWatch shows which call a goroutine is in. Entering and leaving cost two stores each and no
// look at a clock: the watchdog brings its own.
type callWatch struct {
	calls atomic.Uint64 // entered and left; odd in a call
	conn  atomic.Uint64 // whose call it is

	// The watchdog's.
	seen    uint64
	since   time.Time
	counted bool
}

func (w *callWatch) enter(c conn) {
	w.conn.Store(uint64(c))
	w.calls.Add(1)
}

// leave may be called twice: a panic ends a call too.
func (w *callWatch) leave() {
	if n := w.calls.Load(); n&1 != 0 {
		w.calls.Store(n + 1)
	}
}

// check reports whether the goroutine has been in one call for slowCall, once for each call.
func (w *callWatch) check(now time.Time) bool {
	n := w.calls.Load()
	if n&1 == 0 || n != w.seen {
		w.seen, w.since, w.counted = n, now, false
		return false
	}
	if w.counted || now.Sub(w.since) < slowCall {
		return false
	}
	w.counted = true
	return true
}

// watch counts and logs calls of handlers that take long. It is the sweeper's.
func (s *Server) watch(now time.Time) {
	slow := func(c conn, pool string, msg string) {
		s.stats.slowCalls.Inc(pool)
		s.log.Warn(msg, "session", s.ids.encode(c), "longer_than", slowCall)
	}
	for _, w := range s.workers {
		if w.watch.check(now) {
			slow(conn(w.watch.conn.Load()), "worker", "a handler holds up a worker: if it has to block, its route should say so")
		}
	}
	for _, p := range s.calls.all() {
		for _, c := range p.Slow(now, slowCall) {
			slow(c, "blocking", "a handler takes long")
		}
	}
	s.calls.dropRetired()
}
