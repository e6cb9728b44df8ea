package session

import (
	"slices"
	"time"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// upgrade accepts a handshake: the connection becomes a session.
func (a admission) upgrade(r *request, d *decision) {
	var kept *pendingRequest // for an OnOpen that runs elsewhere
	if r.route.callsOpen && r.route.Mode == MayBlock {
		var err error
		if kept, err = a.keepRequest(r); err != nil {
			a.refuse(wsproto.ErrOverloaded)
			return
		}
		r = &kept.request
	}
	agreed, ok := a.sendAccepted(r, d)
	if !ok {
		if kept != nil {
			kept.abandon()
		}
		return
	}
	a.open(r, d, &agreed)
	switch {
	case kept != nil:
		a.postOnOpen(kept)
	case r.route.callsOpen:
		a.call(func() { a.route.Handler.OnOpen(a.session(), r.Request) })
	}
	a.dropPartial() // only now: the request may be a view into it
	if a.held() {
		a.hold()
	}
}

// keepRequest returns a request that outlives the turn.
func (a admission) keepRequest(r *request) (*pendingRequest, error) {
	pt := a.partial()
	if pt == nil || pt.pending == nil {
		return newPendingRequest(r, pt, a.srv.bufs)
	}
	kept := pt.pending
	pt.pending = nil
	kept.end() // it has been decided about
	return kept, nil
}

// sendAccepted sends the answer 101. Where it cannot it ends the request, and reports false.
func (a admission) sendAccepted(r *request, d *decision) (agreed wsproto.Agreement, ok bool) {
	accept := d.accept
	accept.Deflate = accept.Deflate && r.OffersDeflate() && a.srv.deflate.admit()
	accept.Date = a.state.date.Format(time.Now())
	answer, agreed, err := a.state.upgrader.Upgrade(a.state.scratch[:0], r.Request, &accept)
	if err != nil {
		a.srv.giveUpDeflate(accept.Deflate)
		a.refuse(err)
		return agreed, false
	}
	a.state.scratch = answer[:0]
	err = a.srv.tr.Send(a.c, netpoll.Message{Body: answer})
	a.state.shrink()
	if err != nil {
		a.srv.giveUpDeflate(accept.Deflate)
		a.Abort(err)
		return agreed, false
	}
	return agreed, true
}

// open makes the connection a session.
func (a admission) open(r *request, d *decision, agreed *wsproto.Agreement) {
	route, now := r.route, a.now()
	m := makeMeta(a.c, phaseOpen, a.keepDetails(r, agreed.Subprotocol, d.value), r.route.number)
	if agreed.Deflate {
		m |= deflatedMeta(agreed.WindowBits)
	}
	if route.limited {
		a.srv.throttles.Ensure(a.c.Index())
		a.throttle().start(&route.Rate, now)
	}
	a.SetDeadline(0)
	a.route = route
	a.SetInline(route.Mode == OnLoop && !agreed.Deflate)
	a.srv.live.seen(a.c.Index(), now)
	a.rec.store(m)
	r.holds = false // the session does
	if d.user != "" {
		_ = a.session().SetUser(d.user) // it is valid, and the session in no channel yet
	}
	a.srv.open.Add(1)
	route.open.Add(1)
	a.srv.stats.handshake(101)
	a.session().logAccepted(r.Request)
	took := time.Duration(uint32(time.Since(epoch).Microseconds())-a.rec.began) * time.Microsecond
	a.srv.stats.upgrades.Observe(upgradeBounds, int64(took), 1)
	a.rec.began = 0
}

// keepDetails keeps what cannot be told from the route alone. It returns the number of the subprotocol.
func (a admission) keepDetails(r *request, subprotocol string, value any) uint8 {
	route := r.route
	var d details // on the stack: most sessions have none
	if len(route.Retain) > 0 {
		d.header = retained(r.Request, route.Retain)
	}
	if route.RetainQuery {
		d.query = string(r.RawQuery)
	}
	n := 1 + slices.Index(route.Subprotocols, subprotocol)
	if n == 0 {
		d.subprotocol = subprotocol
	}
	d.pathValues = r.PathValues()
	if string(r.Path) != route.ownPath {
		d.path = string(r.Path)
	}
	if value != nil || d.pathValues != nil || d.path != "" || d.header != "" || d.query != "" || d.subprotocol != "" {
		kept := d
		kept.value = value
		a.srv.table.putDetails(a.rec, &kept)
	}
	return uint8(n)
}

// postOnOpen has the pool tell the handler of a new session. The request is the call's.
func (a admission) postOnOpen(kept *pendingRequest) {
	handler, s := a.route.Handler, a.session()
	a.post(func() {
		defer kept.abandon()
		handler.OnOpen(s, kept.Request)
	})
}
