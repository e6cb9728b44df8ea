package netpoll

import (
	"context"
	"time"
)

// Close ends the reactor at once: listeners, loops and workers stop, and every connection
// that is left is closed with ErrReactorClosed. It returns when the last call of the handler
// has returned.
//
// It waits for running calls for up to Config.HandlerTimeout. Then it closes all connections except
// those in a call, logs how many goroutines are stuck, and returns ErrHandlerStuck. When a stuck
// call returns, its goroutine closes the connection and serves nothing further. If a call of Closed
// gets stuck while Close closes the rest, Close returns after HandlerTimeout without progress. What
// is left is closed when that call returns.
//
// A Handler must not call Close, which would wait for that very call. Later calls wait for the
// first one and return its error.
func (r *Reactor) Close() error { return r.CloseWithin(r.cfg.HandlerTimeout) }

// CloseWithin is Close with the bound d, which must be positive, in place of Config.HandlerTimeout.
// If calls of the handler do not return it takes up to twice as long.
func (r *Reactor) CloseWithin(d time.Duration) error {
	r.closeOnce.Do(func() { r.closeErr = r.close(d) })
	return r.closeErr
}

func (r *Reactor) close(d time.Duration) error {
	r.life.Lock()
	r.closed = true
	stuck := len(r.loops) // those that have not been started end at once
	if r.started {
		stuck += len(r.pool.workers)
	}
	r.life.Unlock()
	r.acceptor.close()
	r.closing.Store(true)
	close(r.stop)
	for _, l := range r.loops {
		go l.end()
	}
	stuck -= r.await(stuck, d)
	if stuck > 0 {
		// A goroutine that does not see this has given its connection up before, so that it is seen
		// below.
		r.late.Store(true)
	}
	if !r.closeApart(d) {
		stuck++
	}
	r.dropInners()
	if stuck > 0 {
		r.cfg.Logger.Error("calls of the handler do not return", "goroutines", stuck, "waited", d)
		return ErrHandlerStuck
	}
	return nil
}

// await waits until n goroutines have left, for d, and returns how many have.
func (r *Reactor) await(n int, d time.Duration) (left int) {
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	for left < n {
		select {
		case <-r.left:
			left++
		case <-timeout.C:
			return left
		}
	}
	return left
}

// closeApart closes what is left on a goroutine of its own, which Closed may end or hold up, and
// waits for it. It returns false when nothing has been closed for d.
func (r *Reactor) closeApart(d time.Duration) bool {
	done := make(chan struct{})
	go r.closer.keep(func() { // awaited here, or ended by the handler's return
		r.closeRest(r.closer)
		close(done)
	})
	tick := time.NewTicker(d)
	defer tick.Stop()
	for closed := r.stats.closed.Load(); ; {
		select {
		case <-done:
			return true
		case <-tick.C:
		}
		before := closed
		if closed = r.stats.closed.Load(); closed == before {
			return false
		}
	}
}

// closeRest closes every connection that nobody is serving. A sender may still hold a write lock
// for the time of one write.
func (r *Reactor) closeRest(t *Turn) {
	for i := range r.slots.High() {
		c := r.At(i)
		if c == 0 || !r.slots.At(i).seize(c) {
			continue
		}
		t.attach(c, r.slots.At(i))
		t.Abort(ErrReactorClosed)
		t.finish(0)
	}
}

// leave is the last that a loop's or worker's goroutine does with its turn t. A call of the
// handler that Close has waited for in vain has returned by now, and its connection has been
// given up behind the back of Close.
func (r *Reactor) leave(t *Turn) {
	if r.late.Load() {
		r.closeRest(t)
	}
	if t.OnLoop() {
		r.dropInners()
	}
	r.left <- struct{}{}
}

// dropInners closes the inner epoll sets when nobody is left who could use one: a loop adds what
// it accepts to any of them.
func (r *Reactor) dropInners() {
	if r.inners.Add(-1) == 0 {
		for _, l := range r.loops {
			l.closeInner()
		}
	}
}

// Wait returns when no connection is open any more, or with the error of ctx.
func (r *Reactor) Wait(ctx context.Context) error {
	for r.conns.Load()+r.refused.Load() > 0 {
		select {
		case <-r.idleSignal:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.tellGone() // the next one who waits
	return nil
}

func (r *Reactor) tellGone() {
	if r.conns.Load()+r.refused.Load() == 0 {
		select {
		case r.idleSignal <- struct{}{}:
		default:
		}
	}
}
