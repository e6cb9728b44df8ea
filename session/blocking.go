package session

import (
	"sync"
	"time"
)

// executor runs the calls of handlers that may block, see MayBlock, in a bounded pool of
// goroutines. The calls of one session come one at a time, in order. What waits is bounded by the
// number of sessions: none is read from while a call of its waits or runs. Requests are refused when
// more wait than there may be connections.
type executor struct {
	srv   *Server
	size  int // goroutines at most
	max   int // lanes that may wait before requests are refused
	lanes [64]laneShard

	mu      sync.Mutex
	changed sync.Cond // ready, stopping or running has changed
	ready   []*lane   // oldest first
	running []*callWatch
	idle    int
	calling int // goroutines that serve a lane
	stopped bool
}

type laneShard struct {
	mu sync.Mutex
	m  map[conn]*lane
}

// lane is the calls of one session that wait or run. It exists while there are any.
type lane struct {
	c     conn
	calls []func()
	end   *tombstone // what is known of the session, once it has ended
}

func newExecutor(s *Server, size, max int) *executor {
	e := &executor{srv: s, size: size, max: max}
	e.changed.L = &e.mu
	for i := range e.lanes {
		e.lanes[i].m = make(map[conn]*lane)
	}
	return e
}

func (e *executor) shard(c conn) *laneShard { return &e.lanes[c.Index()%uint32(len(e.lanes))] }

// post has f called after all that has been posted for c. When there is nothing more to call, c gets
// a turn. end, if not nil, is what is known of c from now on.
func (e *executor) post(c conn, end *tombstone, f func()) {
	sh := e.shard(c)
	sh.mu.Lock()
	l := sh.m[c]
	first := l == nil
	if first {
		l = &lane{c: c}
		sh.m[c] = l
	}
	if end != nil {
		l.end = end
	}
	l.calls = append(l.calls, f)
	sh.mu.Unlock()
	if first {
		e.push(l)
	}
}

func (e *executor) push(l *lane) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ready = append(e.ready, l)
	if len(e.ready) > e.idle && len(e.running) < e.size {
		w := new(callWatch)
		e.running = append(e.running, w)
		go e.run(w) // ended by close, which waits for it
		return
	}
	e.changed.Signal()
}

// busy reports whether a call of c waits or runs.
func (e *executor) busy(c conn) bool {
	sh := e.shard(c)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.m[c] != nil
}

// tombstone returns what is known of a session that has ended and whose OnClose has not returned.
func (e *executor) tombstone(c conn) *tombstone {
	sh := e.shard(c)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l := sh.m[c]; l != nil {
		return l.end
	}
	return nil
}

// change changes what is known of a session that has ended, and reports whether something is.
func (e *executor) change(c conn, f func(d *details)) bool {
	sh := e.shard(c)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	l := sh.m[c]
	if l == nil || l.end == nil {
		return false
	}
	end := *l.end // who has asked for the old one reads it
	f(&end.details)
	l.end = &end
	return true
}

// run serves lanes. Should a handler end the goroutine with runtime.Goexit, which is taken for a panic,
// another takes its place.
func (e *executor) run(w *callWatch) {
	var l *lane
	defer func() {
		if l != nil {
			defer func() { // exited may call a handler, which may do so again
				e.mu.Lock()
				e.calling--
				e.mu.Unlock()
				go e.run(w)
				e.again(l)
			}()
			w.leave()
			e.srv.exited(l.c)
		}
	}()
	for {
		if l = e.take(w); l == nil {
			return
		}
		if f := e.next(l); f != nil {
			w.enter(l.c)
			f()
			w.leave()
		}
		e.mu.Lock()
		e.calling--
		e.mu.Unlock()
		e.again(l)
	}
}

// take waits for a lane; nil means that the pool is closed, and nothing is left.
func (e *executor) take(w *callWatch) *lane {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.ready) == 0 {
		if e.stopped {
			for i := range e.running {
				if e.running[i] == w {
					e.running = append(e.running[:i:i], e.running[i+1:]...)
					break
				}
			}
			e.changed.Broadcast()
			return nil
		}
		e.idle++
		e.changed.Wait()
		e.idle--
	}
	l := e.ready[0]
	e.ready[0] = nil
	e.ready = e.ready[1:]
	e.calling++
	return l
}

func (e *executor) next(l *lane) (f func()) {
	sh := e.shard(l.c)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(l.calls) == 0 {
		return nil // forgotten
	}
	f, l.calls[0] = l.calls[0], nil
	l.calls = l.calls[1:]
	return f
}

// again puts a lane back to the end of the queue, or ends it if it has no more calls.
func (e *executor) again(l *lane) {
	sh := e.shard(l.c)
	sh.mu.Lock()
	more := len(l.calls) > 0
	if !more {
		delete(sh.m, l.c)
		l.end = nil // a goroutine at rest still knows its last lane
	}
	sh.mu.Unlock()
	if more {
		e.push(l)
		return
	}
	_ = e.srv.tr.Wake(l.c) // or it is gone
}

// full reports whether so much waits that requests are to be refused.
func (e *executor) full() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.ready) >= e.max
}

// forget drops the calls of c that have not begun.
func (e *executor) forget(c conn) {
	sh := e.shard(c)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l := sh.m[c]; l != nil {
		l.calls = nil
	}
}

// close waits until all calls have been made, but no longer than d, and ends the goroutines. It
// returns how many calls still run.
func (e *executor) close(d time.Duration) int {
	late := false
	timer := time.AfterFunc(d, func() {
		e.mu.Lock()
		late = true
		e.mu.Unlock()
		e.changed.Broadcast()
	})
	defer timer.Stop()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	e.changed.Broadcast()
	for len(e.running) > 0 && !late {
		e.changed.Wait()
	}
	return len(e.running)
}

// BlockingStats are the gauges of the pool for handlers that may block.
type BlockingStats struct {
	Size    int // goroutines at most
	Busy    int // that are in a call
	Waiting int // sessions whose call waits for one
}

func (e *executor) stats() BlockingStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return BlockingStats{Size: e.size, Busy: e.calling, Waiting: len(e.ready)}
}

// watched calls f for every goroutine's watch.
func (e *executor) watched(f func(*callWatch)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.running {
		f(w)
	}
}
