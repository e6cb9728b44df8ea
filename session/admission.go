package session

import (
	"context"
	"net/http"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// admission is a turn of a client that has not been upgraded. Its steps are the way of a request to its one
// answer:
//
//	head complete -> parsed -> route -> checks -> decision -> answer
//
// A request that arrives in one piece, as nearly all do, is judged where it lies, in the buffer of the turn.
// It moves (see pendingRequest) where its route's functions must not be called by this goroutine: from a loop to
// a worker, or to the pool for calls that may block. It is never parsed again.
type admission struct{ *turn }

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
func (a admission) handshake(p []byte) {
	seen := 0
	if pt := a.partial(); pt != nil {
		room := a.srv.cfg.Head.MaxBytes + 1 - len(pt.head) // one more shows that it is too long
		head, err := a.srv.bufs.Grow(pt.head, min(len(p), room))
		if err != nil {
			a.refuse(wsproto.ErrOverloaded)
			return
		}
		p = append(head, p[:min(len(p), room)]...)
		pt.head, seen = p, pt.seen
	}
	n, err := wsproto.HeadEnd(p, seen, &a.srv.cfg.Head)
	switch {
	case err != nil:
		a.refuse(err)
	case n > 0:
		a.admit(p, n)
	default:
		a.awaitHead(p)
	}
}

// awaitHead keeps a request that is incomplete.
func (a admission) awaitHead(p []byte) {
	pt := a.partial()
	if pt == nil {
		head, err := a.srv.bufs.Grow(nil, len(p))
		if err != nil {
			a.refuse(wsproto.ErrOverloaded)
			return
		}
		pt = a.newPartial()
		pt.head = append(head, p...)
	}
	pt.seen = len(p)
}

// admit judges a request whose head, p[:n], is complete.
func (a admission) admit(p []byte, n int) {
	req := &a.state.req
	err := wsproto.ParseRequest(p[:n], &a.srv.cfg.Head, req)
	a.headMethod = string(req.Method) == "HEAD"
	if err != nil {
		a.refuse(err)
		return
	}
	r := &a.state.request
	*r = request{Request: req}
	if pt := a.partial(); pt != nil {
		r.http = pt.http
	}
	a.request = r
	if n < len(p) {
		// A client must wait for the answer (RFC 6455 §4.1). What comes before it may be
		// a smuggled second request.
		a.refuse(wsproto.ErrEarlyData)
		return
	}
	if r.route, err = a.srv.table.routes.find(req); err != nil {
		a.refuse(err)
		return
	}
	r.holds = true
	defer r.release() // unless it moves, or becomes a session
	r.plain = r.route.HTTP != nil && !req.AsksForWebSocket()
	if err := a.check(r); err != nil {
		a.refuse(err)
		return
	}
	a.ask(r)
}

// check says why a request to be upgraded is refused without asking anybody.
func (a admission) check(r *request) error {
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
	if a.srv.draining.Load() {
		return wsproto.ErrOverloaded
	}
	return nil
}

// ask has a request decided about, here or elsewhere.
func (a admission) ask(r *request) {
	switch {
	case r.asks() && r.route.decidesLater():
		a.decideAsync(r)
	case a.OnLoop() && (r.asks() && r.route.Mode != OnLoop || r.route.Mode == NeverBlocks):
		a.moveToWorker(r)
	default:
		d := a.session().decide(r, a.srv.ctx, &a.state.watch)
		a.answer(r, &d)
	}
}

// moveToWorker has a worker go on with a request, because its route's functions must not run on the loop.
func (a admission) moveToWorker(r *request) {
	if _, ok := a.pend(r); !ok {
		return
	}
	a.SetInline(false)
	a.wake()
}

// decideAsync has the pool for calls that may block decide about a request. Until it has, nothing is read.
func (a admission) decideAsync(r *request) {
	if r.route.calls().Full() {
		a.refuse(wsproto.ErrOverloaded)
		return
	}
	pending, ok := a.pend(r)
	if !ok {
		return
	}
	a.SetInline(r.route.Mode == OnLoop)
	s := a.session()
	pending.async = true
	pending.ctx, pending.cancel = context.WithTimeout(a.srv.ctx, a.handshakeLeft())
	r.route.calls().Post(a.c, func() { pending.decide(s) })
}

// noticeRequest is for a client that has not been upgraded.
func (a admission) noticeRequest(why netpoll.Reason) {
	woken, late := why&netpoll.Woken != 0, why&netpoll.Deadline != 0
	pending := a.pending()
	if pending != nil && why&netpoll.HangUp != 0 {
		pending.end() // nobody waits for the decision any more
	}
	switch {
	case pending != nil && pending.decided():
		a.Resume()
		a.answer(&pending.request, &pending.decision)
	case pending != nil && pending.async && late: // which is not the client's fault
		a.refuse(wsproto.ErrOverloaded)
	case pending != nil && pending.async:
		// It is woken again when the decision has been made.
	case pending != nil && !a.OnLoop():
		a.Resume()
		d := a.session().decide(&pending.request, a.srv.ctx, &a.state.watch)
		a.answer(&pending.request, &d)
	case late:
		a.srv.stats.evictions.Inc("handshake_timeout")
		if a.partial() == nil {
			a.drop()
			return
		}
		a.refuse(wsproto.ErrTimeout)
	case woken && a.partial() == nil && a.srv.draining.Load():
		a.drop()
	}
}
