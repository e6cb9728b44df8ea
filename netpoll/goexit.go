package netpoll

import (
	"fmt"
	"runtime/debug"
	"time"
)

// A handler that calls runtime.Goexit ends the goroutine that serves it, which nothing can stop.
// What that goroutine had yet to do stands in its Turn and in its loop or worker, not on its
// stack. Turn.keep, for workers and for Close, and loop.lost, for loops, start another one that
// finishes the turn and goes on. Turn.finish is safe to be called again.

// contain is deferred around all that a handler does. A fault in it costs the connection that
// it happened on, and nobody else.
func (t *Turn) contain() {
	v := recover()
	if v == nil {
		return
	}
	t.r.stats.panics.Add(1)
	t.r.cfg.Logger.Error("serving a connection panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	t.Abort(ErrPanic)
}

// keep runs f, in which t serves connections. Where a handler ends the goroutine with
// runtime.Goexit, another one finishes the turn and runs f from its beginning: what f has yet to
// do does not stand on its stack.
func (t *Turn) keep(f func()) {
	over := false
	defer func() {
		if over {
			return
		}
		if v := recover(); v != nil {
			panic(v) // not the handler's, which are contained
		}
		t.exited()
		go t.keep(f)
	}()
	if t.serving {
		t.uncork()
		t.finish(0)
	}
	f()
	over = true
}

// exited is contain for a handler that has called runtime.Goexit, which nothing can stop: the
// turn is left to another goroutine.
func (t *Turn) exited() {
	if !t.serving {
		return
	}
	t.Abort(ErrPanic)
	t.r.stats.panics.Add(1)
	t.r.cfg.Logger.Error("serving a connection called runtime.Goexit", "stack", string(debug.Stack()))
}

// lost is deferred around all that easygo's goroutine does. Where a handler ends that goroutine
// with runtime.Goexit, easygo gives up; another easygo is started, behind what was to be done.
func (l *loop) lost() {
	if !l.turn.serving {
		return
	}
	if v := recover(); v != nil {
		panic(v) // not the handler's, which are contained
	}
	l.turn.exited()
	l.mu.Lock()
	l.replacing = make(chan struct{})
	l.mu.Unlock()
	go l.turn.keep(l.replace) // awaited by end
}

// replace goes on with the batch, and starts easygo anew.
func (l *loop) replace() {
	l.serve()
	l.mu.Lock()
	ep := l.epoll
	l.mu.Unlock()
	_ = ep.Close() // its goroutine has ended; or end has been here
	for wait := acceptBackoff; !l.restart(); wait = min(2*wait, acceptBackoffTo) {
		select {
		case <-time.After(wait):
		case <-l.r.stop:
		}
	}
}

// restart reports whether the loop has been started, or is not to be.
func (l *loop) restart() bool {
	if !l.r.closing.Load() {
		err := l.start()
		if err != nil {
			l.r.cfg.Logger.Error("starting an event loop again failed", "err", err)
		}
		return err == nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoll = nil
	close(l.replacing)
	l.replacing = nil
	return true
}
