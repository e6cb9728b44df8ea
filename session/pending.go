package session

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"wsgateway/wsproto"
)

// pendingRequest is a request that has left the turn in which it came: it has bytes of its own. It belongs to
// its connection, and to the call that decides about it while that runs: the last of them frees the bytes.
type pendingRequest struct {
	request
	own   wsproto.Request
	head  []byte // borrowed from bufs
	bufs  *buffers
	async bool // the pool decides

	state    atomic.Uint32 // a pendingState
	ctx      context.Context
	cancel   context.CancelFunc // nil if nobody has been asked
	decision decision           // once state is pendingDecided
}

// The states of a request that the pool decides about.
//
//	waiting -> running -> decided
//	any -> abandoned
const (
	pendingWaiting   uint32 = iota
	pendingRunning          // the call has begun; it frees the bytes if it finds itself abandoned
	pendingDecided          // the decision can be read
	pendingAbandoned        // the connection is closed, or the request has been answered
)

// pend gives a request bytes of its own, and stops reading until it is answered: the end of the input must not
// be seen before. Where there is no memory it refuses the request and reports false.
func (a admission) pend(r *request) (*pendingRequest, bool) {
	p, err := newPendingRequest(r, a.partial(), a.srv.bufs)
	if err != nil {
		a.refuse(wsproto.ErrOverloaded)
		return nil, false
	}
	pt := a.partial()
	if pt == nil {
		pt = a.newPartial()
	}
	pt.pending = p
	a.Pause()
	return p, true
}

// newPendingRequest makes r a request of its own. It takes the bytes of pt, if they are there, and copies them
// otherwise.
func newPendingRequest(r *request, pt *partial, bufs *buffers) (*pendingRequest, error) {
	head := r.Head()
	var own []byte
	if pt != nil { // r is a view into its bytes, which an empty line may precede
		own, pt.head = pt.head, nil
	} else {
		room, err := bufs.Grow(nil, len(head))
		if err != nil {
			return nil, err
		}
		own = append(room, head...)
		head = own
	}
	p := pendingRequests.Get().(*pendingRequest)
	p.request, p.head, p.bufs = *r, own, bufs
	r.holds = false // p does
	r.CopyTo(&p.own, head)
	p.Request = &p.own
	return p, nil
}

// pending returns the request that is being decided about, nil if there is none.
func (t *turn) pending() *pendingRequest {
	if pt := t.partial(); pt != nil {
		return pt.pending
	}
	return nil
}

// forgetRequest drops what there is of a request that will not be answered any more. A call that decides
// about it and has not begun is not made.
func (t *turn) forgetRequest() {
	if p := t.pending(); p != nil && p.async {
		p.route.calls().Forget(t.c)
	}
	t.dropPartial()
}

// handshakeLeft is how long the client's request may still take.
func (a admission) handshakeLeft() time.Duration {
	took := time.Duration(uint32(time.Since(epoch).Microseconds())-a.rec.began) * time.Microsecond
	return max(a.srv.cfg.HandshakeTimeout-took, time.Millisecond)
}

// decide calls the route's function, in the pool. Nobody wants to know once the client is gone.
func (p *pendingRequest) decide(s Session) {
	if !p.state.CompareAndSwap(pendingWaiting, pendingRunning) {
		return
	}
	p.decision = decision{err: wsproto.ErrInternal} // should the call end the goroutine
	defer func() {
		if !p.state.CompareAndSwap(pendingRunning, pendingDecided) {
			p.free()
		}
	}()
	p.decision = s.decide(&p.request, p.ctx, new(callWatch)) // the pool's goroutines have their own
	if p.decision.err != nil && p.ctx.Err() != nil {
		p.decision = decision{err: wsproto.ErrOverloaded} // it came too late: the client is not to blame
	}
}

// decided reports whether there is a decision.
func (p *pendingRequest) decided() bool { return p.state.Load() == pendingDecided }

// abandon ends the connection's interest in the request, and its context. The call may go on for a while.
// p must not be used any more.
func (p *pendingRequest) abandon() {
	p.end()
	p.release()
	switch p.state.Swap(pendingAbandoned) {
	case pendingRunning: // the call frees it
	case pendingWaiting:
		p.bufs.Free(p.head)
		if !p.async { // otherwise a call that is about to begin has yet to find it abandoned
			p.recycle()
		}
	default:
		p.free()
	}
}

// end ends the context of the call.
func (p *pendingRequest) end() {
	if p.cancel != nil {
		p.cancel()
	}
}

// pendingRequests has requests to be used again.
var pendingRequests = sync.Pool{New: func() any { return new(pendingRequest) }}

// free gives back the bytes and p itself.
func (p *pendingRequest) free() {
	p.bufs.Free(p.head)
	p.recycle()
}

func (p *pendingRequest) recycle() {
	own := p.own
	own.Reset()
	*p = pendingRequest{own: own}
	pendingRequests.Put(p)
}
