package session

import (
	"slices"
	"time"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// upgrade accepts a handshake: the connection becomes a session.
func (t *turn) upgrade(r *request, d *decision) {
	var kept *pendingRequest // for an OnOpen that runs elsewhere
	if r.route.callsOpen && r.route.Mode == MayBlock {
		var err error
		if kept, err = t.keepRequest(r); err != nil {
			t.refuse(wsproto.ErrOverloaded)
			return
		}
		r = &kept.request
	}
	agreed, ok := t.sendAccepted(r, d)
	if !ok {
		if kept != nil {
			kept.abandon()
		}
		return
	}
	t.open(r, d, &agreed)
	switch {
	case kept != nil:
		t.postOnOpen(kept)
	case r.route.callsOpen:
		t.call(func() { t.route.Handler.OnOpen(t.session(), r.Request) })
	}
	t.dropPartial() // only now: the request may be a view into it
	if t.held() {
		t.hold()
	}
}

// keepRequest returns a request that outlives the turn.
func (t *turn) keepRequest(r *request) (*pendingRequest, error) {
	pt := t.partial()
	if pt == nil || pt.pending == nil {
		return newPendingRequest(r, pt, t.srv.bufs)
	}
	kept := pt.pending
	pt.pending = nil
	kept.cancel() // it has been decided about
	return kept, nil
}

// sendAccepted sends the answer 101. Where it cannot it ends the request, and reports false.
func (t *turn) sendAccepted(r *request, d *decision) (agreed wsproto.Agreement, ok bool) {
	accept := d.accept
	accept.Deflate = accept.Deflate && r.OffersDeflate() && t.srv.deflate.admit()
	accept.Date = t.state.date.Format(time.Now())
	answer, agreed, err := t.state.upgrader.Upgrade(t.state.scratch[:0], r.Request, &accept)
	if err != nil {
		t.srv.giveUpDeflate(accept.Deflate)
		t.refuse(err)
		return agreed, false
	}
	t.state.scratch = answer[:0]
	err = t.srv.tr.Send(t.c, netpoll.Message{Body: answer})
	t.state.shrink()
	if err != nil {
		t.srv.giveUpDeflate(accept.Deflate)
		t.Abort(err)
		return agreed, false
	}
	return agreed, true
}

// open makes the connection a session.
func (t *turn) open(r *request, d *decision, agreed *wsproto.Agreement) {
	route, now := r.route, t.now()
	m := makeMeta(t.c, phaseOpen, t.keepDetails(r, agreed.Subprotocol, d.value), r.route.number)
	if agreed.Deflate {
		m |= deflatedMeta(agreed.WindowBits)
	}
	if route.limited {
		t.srv.throttles.Ensure(t.c.Index())
		t.throttle().start(&route.Rate, now)
	}
	t.SetDeadline(0)
	t.route = route
	t.SetInline(route.Mode == OnLoop && !agreed.Deflate)
	t.srv.live.seen(t.c.Index(), now)
	t.rec.store(m)
	r.holds = false // the session does
	if d.user != "" {
		_ = t.session().SetUser(d.user) // it is valid, and the session in no channel yet
	}
	t.srv.open.Add(1)
	route.open.Add(1)
	t.srv.stats.handshake(101)
	t.session().logAccepted(r.Request)
	took := time.Duration(uint32(time.Since(epoch).Microseconds())-t.rec.began) * time.Microsecond
	t.srv.stats.upgrades.Observe(upgradeBounds, int64(took), 1)
	t.rec.began = 0
}

// keepDetails keeps what cannot be told from the route alone. It returns the number of the subprotocol.
func (t *turn) keepDetails(r *request, subprotocol string, value any) uint8 {
	route, d := r.route, details{value: value}
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
	if value != nil || d.pathValues != nil || d.path+d.header+d.query+d.subprotocol != "" {
		t.srv.table.putDetails(t.rec, &d)
	}
	return uint8(n)
}

// postOnOpen has the pool tell the handler of a new session. The request is the call's.
func (t *turn) postOnOpen(kept *pendingRequest) {
	handler, s := t.route.Handler, t.session()
	t.post(func() {
		defer kept.abandon()
		handler.OnOpen(s, kept.Request)
	})
}
