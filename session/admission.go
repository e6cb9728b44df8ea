package session

import (
	"context"
	"net/http"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// Admission is the way of a request to its one answer:
//
//	head complete -> parsed -> route -> checks -> decision -> answer
//
// A request that arrives in one piece, as nearly all do, is judged where it lies, in the buffer of the turn.
// It moves (see pendingRequest) where its route's functions must not be called by this goroutine: from a loop to
// a worker, or to the pool for calls that may block. It is never parsed again.

// request is a complete and correct request, with the route that it is for.
type request struct {
	*wsproto.Request
	route *route
	holds bool          // the table of the route, until the request has been answered; the owner's
	plain bool          // it does not ask for WebSocket, and the route answers such requests
	http  *http.Request // as net/http has it, see Server.ServeHTTP; nil for others
}

// asks reports whether a function of the route decides about the request.
func (r *request) asks() bool { return r.plain || r.route.OnUpgrade != nil }

// release lets go of the table of the route.
func (r *request) release() {
	if r.holds {
		r.holds = false
		r.route.table.leave()
	}
}

// handshake takes bytes of a client that has not been upgraded.
func (t *turn) handshake(p []byte) {
	seen := 0
	if pt := t.partial(); pt != nil {
		room := t.srv.cfg.Head.MaxBytes + 1 - len(pt.head) // one more shows that it is too long
		head, err := t.srv.bufs.Grow(pt.head, min(len(p), room))
		if err != nil {
			t.refuse(wsproto.ErrOverloaded)
			return
		}
		p = append(head, p[:min(len(p), room)]...)
		pt.head, seen = p, pt.seen
	}
	n, err := wsproto.HeadEnd(p, seen, &t.srv.cfg.Head)
	switch {
	case err != nil:
		t.refuse(err)
	case n > 0:
		t.admit(p, n)
	default:
		t.awaitHead(p)
	}
}

// awaitHead keeps a request that is incomplete.
func (t *turn) awaitHead(p []byte) {
	pt := t.partial()
	if pt == nil {
		head, err := t.srv.bufs.Grow(nil, len(p))
		if err != nil {
			t.refuse(wsproto.ErrOverloaded)
			return
		}
		pt = t.newPartial()
		pt.head = append(head, p...)
	}
	pt.seen = len(p)
}

// admit judges a request whose head, p[:n], is complete.
func (t *turn) admit(p []byte, n int) {
	req := &t.state.req
	err := wsproto.ParseRequest(p[:n], &t.srv.cfg.Head, req)
	t.headMethod = string(req.Method) == "HEAD"
	if err != nil {
		t.refuse(err)
		return
	}
	r := &t.state.request
	*r = request{Request: req}
	if pt := t.partial(); pt != nil {
		r.http = pt.http
	}
	t.request = r
	if n < len(p) {
		// A client must wait for the answer (RFC 6455 §4.1). What comes before it may be
		// a smuggled second request.
		t.refuse(wsproto.ErrEarlyData)
		return
	}
	if r.route, err = t.srv.table.routes.find(req); err != nil {
		t.refuse(err)
		return
	}
	r.holds = true
	defer r.release() // unless it moves, or becomes a session
	r.plain = r.route.HTTP != nil && !req.AsksForWebSocket()
	if err := t.check(r); err != nil {
		t.refuse(err)
		return
	}
	t.ask(r)
}

// check says why a request to be upgraded is refused without asking anybody.
func (t *turn) check(r *request) error {
	if r.plain {
		return nil
	}
	if err := r.CheckUpgrade(); err != nil {
		return err
	}
	if r.route.httpOnly {
		return wsproto.ErrNotFound
	}
	if !r.route.admits(r.Origin) {
		return errOrigin
	}
	if t.srv.draining.Load() {
		return wsproto.ErrOverloaded
	}
	return nil
}

// ask has a request decided about, here or elsewhere.
func (t *turn) ask(r *request) {
	switch {
	case r.asks() && r.route.decidesLater():
		t.decideAsync(r)
	case t.OnLoop() && (r.asks() && r.route.Mode != OnLoop || r.route.Mode == NeverBlocks):
		t.moveToWorker(r)
	default:
		d := t.session().decide(r, t.srv.ctx, &t.state.watch)
		t.answer(r, &d)
	}
}

// moveToWorker has a worker go on with a request, because its route's functions must not run on the loop.
func (t *turn) moveToWorker(r *request) {
	if _, ok := t.pend(r); !ok {
		return
	}
	t.SetInline(false)
	t.wake()
}

// decideAsync has the pool for calls that may block decide about a request. Until it has, nothing is read.
func (t *turn) decideAsync(r *request) {
	if r.route.calls().Full() {
		t.refuse(wsproto.ErrOverloaded)
		return
	}
	pending, ok := t.pend(r)
	if !ok {
		return
	}
	t.SetInline(r.route.Mode == OnLoop)
	s := t.session()
	pending.async = true
	pending.ctx, pending.cancel = context.WithTimeout(t.srv.ctx, t.handshakeLeft())
	r.route.calls().Post(t.c, func() { pending.decide(s) })
}

// noticeRequest is for a client that has not been upgraded.
func (t *turn) noticeRequest(why netpoll.Reason) {
	woken, late := why&netpoll.Woken != 0, why&netpoll.Deadline != 0
	pending := t.pending()
	if pending != nil && why&netpoll.HangUp != 0 {
		pending.cancel() // nobody waits for the decision any more
	}
	switch {
	case pending != nil && pending.decided():
		t.Resume()
		t.answer(&pending.request, &pending.decision)
	case pending != nil && pending.async && late: // which is not the client's fault
		t.refuse(wsproto.ErrOverloaded)
	case pending != nil && pending.async:
		// It is woken again when the decision has been made.
	case pending != nil && !t.OnLoop():
		t.Resume()
		d := t.session().decide(&pending.request, t.srv.ctx, &t.state.watch)
		t.answer(&pending.request, &d)
	case late:
		t.srv.stats.evictions.Inc("handshake_timeout")
		if t.partial() == nil {
			t.drop()
			return
		}
		t.refuse(wsproto.ErrTimeout)
	case woken && t.partial() == nil && t.srv.draining.Load():
		t.drop()
	}
}
