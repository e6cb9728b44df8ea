package session

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// handshake takes bytes of a client that has not been upgraded. A request that arrives in one
// piece, as nearly all do, is judged where it lies.
func (t *turn) handshake(p []byte) {
	seen := 0
	if t.rec.partial != 0 {
		pt := t.partial()
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
	if err != nil {
		t.refuse(err)
		return
	}
	if n > 0 {
		t.upgrade(p, n)
		return
	}
	if t.rec.partial == 0 {
		head, err := t.srv.bufs.Grow(nil, len(p))
		if err != nil {
			t.refuse(wsproto.ErrOverloaded)
			return
		}
		t.newPartial().head = append(head, p...)
	}
	t.partial().seen = len(p)
}

// upgrade answers a complete request, whose head is p[:n].
func (t *turn) upgrade(p []byte, n int) {
	c, l := t.c, t.state
	err := wsproto.ParseRequest(p[:n], &t.srv.cfg.Head, &l.req)
	t.headMethod = string(l.req.Method) == "HEAD"
	t.hasRequest = err == nil
	if err == nil && n < len(p) {
		// A client must wait for the answer (RFC 6455 §4.1). What comes before it may be
		// a smuggled second request.
		err = wsproto.ErrEarlyData
	}
	if err != nil {
		t.refuse(err)
		return
	}
	index, ok := t.srv.table.routes.find(l.req.Path)
	if !ok {
		t.refuse(wsproto.ErrNotFound)
		return
	}
	route := t.srv.table.routes.at(index)
	if route.Mode != OnLoop && t.OnLoop() {
		t.moveToWorker(p)
		return
	}
	plain := route.HTTP != nil && !l.req.AsksForWebSocket()
	if plain && !route.decidesLater() {
		t.refuse(t.session().plain(route, &l.req, &l.watch))
		return
	}
	if !plain {
		if err := t.check(route, &l.req); err != nil {
			t.refuse(err)
			return
		}
	}
	v := &verdict{accept: route.accept}
	switch {
	case route.decidesLater() && (plain || route.OnUpgrade != nil):
		busy := t.srv.exec.busy(c) // before the verdict, which comes before that ends
		if v = t.srv.exec.verdict(c); v == nil {
			t.decideAsync(route, p, plain, busy)
			return
		}
	case route.OnUpgrade != nil:
		v = t.session().callOnUpgrade(route, &l.req, &l.watch)
	}
	if v.err != nil {
		t.refuse(v.err)
		return
	}
	accept := v.accept
	accept.Deflate = accept.Deflate && l.req.OffersDeflate() && t.srv.deflate.admit()
	accept.Date = l.date.Format(time.Now())
	answer, agreed, err := l.upgrader.Upgrade(l.scratch[:0], &l.req, &accept)
	if err != nil {
		t.srv.giveUpDeflate(accept.Deflate)
		t.refuse(err)
		return
	}
	l.scratch, t.headMethod = answer[:0], false
	err = t.srv.tr.Send(c, netpoll.Message{Body: answer})
	l.shrink()
	if err != nil {
		t.srv.giveUpDeflate(accept.Deflate)
		t.Abort(err)
		return
	}
	m := makeMeta(c, phaseOpen, t.keepDetails(route, agreed.Subprotocol, &l.req, v.value), index)
	if agreed.Deflate {
		m |= deflated
	}
	if route.limited {
		t.srv.throttles.Ensure(c.Index())
		t.throttle().start(&route.Rate, t.srv.tr.Now())
	}
	t.SetDeadline(0)
	t.route = route
	t.SetInline(route.Mode == OnLoop && !agreed.Deflate)
	t.srv.live.seen(c.Index(), t.srv.tr.Now())
	t.rec.store(m)
	t.srv.open.Add(1)
	t.srv.stats.handshake(101)
	t.session().logAccepted(&l.req)
	t.srv.stats.upgrades.Observe(upgradeBounds, int64(uint32(time.Since(epoch).Microseconds())-t.rec.began)*1000, 1)
	t.rec.began = 0
	if route.Mode == MayBlock {
		req := copyRequest(p[:n], &t.srv.cfg.Head)
		ses := t.session()
		t.post(func() { route.Handler.OnOpen(ses, req) })
	} else {
		t.callOnOpen(&l.req)
	}
	t.dropPartial() // only now: the request is a view into it
	if t.held() {
		t.hold()
	}
}

// check says why a request to be upgraded is refused without asking anybody.
func (t *turn) check(route *route, r *wsproto.Request) error {
	if err := r.CheckUpgrade(); err != nil {
		return err
	}
	if !route.admits(r.Origin) {
		return errOrigin
	}
	if t.srv.draining.Load() {
		return wsproto.ErrOverloaded
	}
	return nil
}

// copyRequest returns a request of its own for a head that has been parsed before.
func copyRequest(head []byte, limits *wsproto.HeadLimits) *wsproto.Request {
	r := new(wsproto.Request)
	_ = wsproto.ParseRequest(bytes.Clone(head), limits, r) // it was correct
	return r
}

// giveUpAsking refuses a request that its route has not decided about in time, which is not the client's
// fault.
func (t *turn) giveUpAsking() {
	l := t.state
	head := t.partial().head
	if n, err := wsproto.HeadEnd(head, 0, &t.srv.cfg.Head); err == nil && wsproto.ParseRequest(head[:n], &t.srv.cfg.Head, &l.req) == nil {
		t.headMethod = string(l.req.Method) == "HEAD"
		t.hasRequest = true
	}
	t.refuse(wsproto.ErrOverloaded)
}

// decideAsync has a route that may block decide about a request, unless it is busy with that. Until it has,
// nothing is read.
func (t *turn) decideAsync(route *route, p []byte, plain, busy bool) {
	if !busy && t.srv.exec.full() {
		t.refuse(wsproto.ErrOverloaded)
		return
	}
	if !t.keepHead(p) {
		return
	}
	t.SetInline(false)
	t.Pause()
	if busy {
		return // it is being asked
	}
	n, _ := wsproto.HeadEnd(p, 0, &t.srv.cfg.Head)
	req := copyRequest(p[:n], &t.srv.cfg.Head)
	ses := t.session()
	t.srv.exec.decideAsync(t.c, func() *verdict {
		if plain {
			return &verdict{err: ses.plain(route, req, new(callWatch))}
		}
		return ses.callOnUpgrade(route, req, new(callWatch)) // the pool's goroutines have their own
	})
}

var errOrigin = wsproto.Refusal(http.StatusForbidden, "origin not allowed")

// callOnUpgrade has the route decide about a handshake.
func (s Session) callOnUpgrade(route *route, r *wsproto.Request, w *callWatch) (v *verdict) {
	u := Upgrade{
		Request:     r,
		RemoteAddr:  s.srv.tr.Peer(s.c),
		Subprotocol: r.ChooseSubprotocol(route.Subprotocols),
	}
	defer func() {
		if s.srv.panicked(s.c, recover()) {
			v = &verdict{err: wsproto.ErrInternal}
		}
	}()
	defer w.leave()
	w.enter(s.c)
	if err := route.OnUpgrade(&u); err != nil {
		return &verdict{err: err}
	}
	v = &verdict{accept: route.accept, value: u.Value}
	v.accept.Subprotocols = nil
	if u.Subprotocol != "" {
		if !r.OffersSubprotocol(u.Subprotocol) {
			return &verdict{err: fmt.Errorf("OnUpgrade chose subprotocol %q, which was not offered", u.Subprotocol)}
		}
		v.accept.Subprotocols = []string{u.Subprotocol}
	}
	if len(u.Header) > 0 {
		v.accept.Header = slices.Concat(v.accept.Header, u.Header)
	}
	return v
}

// plain has the route answer a request that is plain HTTP.
func (s Session) plain(route *route, r *wsproto.Request, w *callWatch) (answer error) {
	defer func() {
		if s.srv.panicked(s.c, recover()) {
			answer = wsproto.ErrInternal
		}
	}()
	defer w.leave()
	w.enter(s.c)
	if r := route.HTTP(r); r != nil {
		return r
	}
	return wsproto.ErrNotFound
}

// keepDetails keeps what cannot be told from the route alone. It returns the number of the subprotocol.
func (t *turn) keepDetails(route *route, subprotocol string, r *wsproto.Request, value any) uint8 {
	x := details{value: value}
	if len(route.Retain) > 0 {
		x.header = retained(r, route.Retain)
	}
	if route.RetainQuery {
		x.query = string(r.RawQuery)
	}
	n := 1 + slices.Index(route.Subprotocols, subprotocol)
	if n == 0 {
		x.subprotocol = subprotocol
	}
	if string(r.Path) != route.Path {
		x.path = string(r.Path)
	}
	if value != nil || x.path+x.header+x.query+x.subprotocol != "" {
		t.srv.table.putDetails(t.rec, &x)
	}
	return uint8(n)
}

// moveToWorker has a complete request answered by a worker, because the OnOpen of its route must
// not run on the loop.
func (t *turn) moveToWorker(p []byte) {
	if !t.keepHead(p) {
		return
	}
	t.SetInline(false)
	t.Pause()              // the end of the input must not be seen before the request is answered
	_ = t.srv.tr.Wake(t.c) // its turn is running: it exists
}

// keepHead keeps a complete request, to be judged once more in another turn. Where there is no memory it
// refuses the request and reports false.
func (t *turn) keepHead(p []byte) bool {
	if t.rec.partial == 0 {
		head, err := t.srv.bufs.Grow(nil, len(p))
		if err != nil {
			t.refuse(wsproto.ErrOverloaded)
			return false
		}
		t.newPartial().head = append(head, p...)
	}
	t.partial().seen = 0
	t.headMethod = false
	return true
}

// refuse answers a request with an HTTP response other than 101 and closes the connection.
func (t *turn) refuse(err error) {
	l := t.state
	var status int
	l.scratch, status = t.appendAnswer(l.scratch[:0], err)
	_ = t.srv.tr.Send(t.c, netpoll.Message{Body: l.scratch, Final: true}) // or the socket has failed
	l.shrink()
	t.srv.stats.handshake(status)
	t.reportFailure(status, err)
	t.endSession(ByServer, wsproto.StatusAbnormal, "", false)
	t.CloseFlushed(true)
}

// appendAnswer appends the response that err stands for.
func (t *turn) appendAnswer(dst []byte, err error) ([]byte, int) {
	o := wsproto.ResponseOptions{Date: t.state.date.Format(time.Now()), OmitBody: t.headMethod}
	var response *wsproto.Response
	var refusal *wsproto.RequestError
	switch {
	case errors.As(err, &response) && response != nil:
		answer, err := wsproto.AppendResponse(dst, response, o)
		if err == nil {
			return answer, response.Status
		}
		t.srv.log.Error("invalid response of a route", "session", t.srv.ids.encode(t.c), "status", response.Status)
		refusal = wsproto.ErrInternal
	case errors.As(err, &refusal) && refusal != nil && 400 <= refusal.Status && refusal.Status <= 599 &&
		(refusal != wsproto.ErrInternal || err == refusal):
	default:
		t.srv.log.Error("handshake failed", "session", t.srv.ids.encode(t.c), "err", err)
		refusal = wsproto.ErrInternal
	}
	if refusal.Status == http.StatusServiceUnavailable {
		o.RetryAfter = 1 + rand.IntN(3) // seconds; spread, so that they do not come back together
	}
	return wsproto.AppendRefusal(dst, refusal, o), refusal.Status
}
