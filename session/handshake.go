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
func (s *Server) handshake(t *netpoll.Turn, rec *record, p []byte) {
	seen := 0
	if rec.part != 0 {
		pt := s.parts.At(rec.part - 1)
		room := s.cfg.Head.MaxBytes + 1 - len(pt.head) // one more shows that it is too long
		head, err := s.bufs.Grow(pt.head, min(len(p), room))
		if err != nil {
			s.refuse(t, rec, wsproto.ErrOverloaded)
			return
		}
		p = append(head, p[:min(len(p), room)]...)
		pt.head, seen = p, pt.seen
	}
	n, err := wsproto.HeadEnd(p, seen, &s.cfg.Head)
	if err != nil {
		s.refuse(t, rec, err)
		return
	}
	if n > 0 {
		s.upgrade(t, rec, p, n)
		return
	}
	if rec.part == 0 {
		head, err := s.bufs.Grow(nil, len(p))
		if err != nil {
			s.refuse(t, rec, wsproto.ErrOverloaded)
			return
		}
		s.newPartial(rec).head = append(head, p...)
	}
	s.parts.At(rec.part - 1).seen = len(p)
}

// upgrade answers a complete request, whose head is p[:n].
func (s *Server) upgrade(t *netpoll.Turn, rec *record, p []byte, n int) {
	c, l := t.Conn(), t.Local().(*local)
	err := wsproto.ParseRequest(p[:n], &s.cfg.Head, &l.req)
	l.head = string(l.req.Method) == "HEAD"
	if err == nil {
		l.reqOf = c
		defer func() { l.reqOf, l.head = 0, false }() // a handler may end the goroutine
	}
	if err == nil && n < len(p) {
		// A client must wait for the answer (RFC 6455 §4.1). What comes before it may be
		// a smuggled second request.
		err = wsproto.ErrEarlyData
	}
	if err != nil {
		s.refuse(t, rec, err)
		return
	}
	index, ok := s.routes.find(l.req.Path)
	if !ok {
		s.refuse(t, rec, wsproto.ErrNotFound)
		return
	}
	route := s.routes.at(index)
	if route.Mode != OnLoop && t.OnLoop() {
		s.moveToWorker(t, rec, p)
		return
	}
	plain := route.HTTP != nil && !l.req.AsksForWebSocket()
	if plain && !route.decidesLater() {
		s.refuse(t, rec, s.plain(c, route, &l.req, &l.watch))
		return
	}
	if !plain {
		if err := s.check(route, &l.req); err != nil {
			s.refuse(t, rec, err)
			return
		}
	}
	v := &verdict{accept: route.accept}
	switch {
	case route.decidesLater() && (plain || route.OnUpgrade != nil):
		busy := s.exec.busy(c) // before the verdict, which comes before that ends
		if v = s.exec.verdict(c); v == nil {
			s.judge(t, rec, route, p, plain, busy)
			return
		}
	case route.OnUpgrade != nil:
		v = s.ask(c, route, &l.req, &l.watch)
	}
	if v.err != nil {
		s.refuse(t, rec, v.err)
		return
	}
	accept := v.accept
	accept.Deflate = accept.Deflate && l.req.OffersDeflate() && s.deflate.admit()
	answer, agreed, err := l.upgrader.Upgrade(l.scratch[:0], p, &l.req, &accept)
	if err != nil {
		s.giveUpDeflate(accept.Deflate)
		s.refuse(t, rec, err)
		return
	}
	l.scratch, l.head = answer[:0], false
	err = s.tr.Send(c, netpoll.Prefix{}, answer)
	l.shrink()
	if err != nil {
		s.giveUpDeflate(accept.Deflate)
		t.Abort(err)
		return
	}
	m := makeMeta(c, phaseOpen, s.note(rec, route, agreed.Subprotocol, &l.req, v.value), index)
	if agreed.Deflate {
		m |= deflated
	}
	if route.limited {
		s.throttles.Ensure(c.Index())
		s.throttle(c).start(&route.Rate, s.tr.Now())
	}
	t.SetDeadline(0)
	t.SetInline(route.Mode == OnLoop && !agreed.Deflate)
	s.live.seen(c.Index(), s.tr.Now())
	rec.store(m)
	s.open.Add(1)
	s.stats.handshake(101)
	s.accepted(c, &l.req)
	s.stats.upgrades.Observe(upgradeBounds, int64(uint32(time.Since(epoch).Microseconds())-rec.began)*1000, 1)
	rec.began = 0
	if route.Mode == MayBlock {
		req := copyRequest(p[:n], &s.cfg.Head)
		s.exec.post(c, nil, func() {
			defer s.recovered(c)
			route.Handler.OnOpen(Session{s, c}, req)
		})
	} else {
		s.call(t, func() { route.Handler.OnOpen(Session{s, c}, &l.req) })
	}
	s.dropPartial(rec) // only now: the request is a view into it
	if s.held(c, rec, route) {
		s.hold(t, rec, route)
	}
}

// check says why a request to be upgraded is refused without asking anybody.
func (s *Server) check(route *route, r *wsproto.Request) error {
	if err := r.CheckUpgrade(); err != nil {
		return err
	}
	if !route.admits(r.Origin) {
		return errOrigin
	}
	if s.draining.Load() {
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
func (s *Server) giveUpAsking(t *netpoll.Turn, rec *record) {
	l := t.Local().(*local)
	head := s.parts.At(rec.part - 1).head
	if n, err := wsproto.HeadEnd(head, 0, &s.cfg.Head); err == nil && wsproto.ParseRequest(head[:n], &s.cfg.Head, &l.req) == nil {
		l.head = string(l.req.Method) == "HEAD"
		l.reqOf = t.Conn()
		defer func() { l.reqOf = 0 }()
	}
	s.refuse(t, rec, wsproto.ErrOverloaded)
}

// judge has a route that may block decide about a request, unless it is busy with that. Until it has,
// nothing is read.
func (s *Server) judge(t *netpoll.Turn, rec *record, route *route, p []byte, plain, busy bool) {
	c := t.Conn()
	if !busy && s.exec.full() {
		s.refuse(t, rec, wsproto.ErrOverloaded)
		return
	}
	if !s.keepHead(t, rec, p) {
		return
	}
	t.SetInline(false)
	t.Pause()
	if busy {
		return // it is being asked
	}
	n, _ := wsproto.HeadEnd(p, 0, &s.cfg.Head)
	req := copyRequest(p[:n], &s.cfg.Head)
	s.exec.judge(c, func() *verdict {
		if plain {
			return &verdict{err: s.plain(c, route, req, new(callWatch))}
		}
		return s.ask(c, route, req, new(callWatch)) // the pool's goroutines have their own
	})
}

var errOrigin = wsproto.Refusal(http.StatusForbidden, "origin not allowed")

// ask has the route decide about a handshake.
func (s *Server) ask(c conn, route *route, r *wsproto.Request, w *callWatch) (v *verdict) {
	u := Upgrade{
		Request:     r,
		RemoteAddr:  s.tr.Peer(c),
		Subprotocol: r.ChooseSubprotocol(route.Subprotocols),
	}
	defer func() {
		if s.panicked(c, recover()) {
			v = &verdict{err: wsproto.ErrInternal}
		}
	}()
	defer w.leave()
	w.enter(c)
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
func (s *Server) plain(c conn, route *route, r *wsproto.Request, w *callWatch) (answer error) {
	defer func() {
		if s.panicked(c, recover()) {
			answer = wsproto.ErrInternal
		}
	}()
	defer w.leave()
	w.enter(c)
	if r := route.HTTP(r); r != nil {
		return r
	}
	return wsproto.ErrNotFound
}

// note keeps what cannot be told from the route alone. It returns the number of the subprotocol.
func (s *Server) note(rec *record, route *route, subprotocol string, r *wsproto.Request, value any) uint8 {
	x := extra{value: value}
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
		s.putExtra(rec, &x)
	}
	return uint8(n)
}

// moveToWorker has a complete request answered by a worker, because the OnOpen of its route must
// not run on the loop.
func (s *Server) moveToWorker(t *netpoll.Turn, rec *record, p []byte) {
	if !s.keepHead(t, rec, p) {
		return
	}
	t.SetInline(false)
	t.Pause()               // the end of the input must not be seen before the request is answered
	_ = s.tr.Wake(t.Conn()) // its turn is running: it exists
}

// keepHead keeps a complete request, to be judged once more in another turn. Where there is no memory it
// refuses the request and reports false.
func (s *Server) keepHead(t *netpoll.Turn, rec *record, p []byte) bool {
	if rec.part == 0 {
		head, err := s.bufs.Grow(nil, len(p))
		if err != nil {
			s.refuse(t, rec, wsproto.ErrOverloaded)
			return false
		}
		s.newPartial(rec).head = append(head, p...)
	}
	s.parts.At(rec.part - 1).seen = 0
	t.Local().(*local).head = false
	return true
}

// refuse answers a request with an HTTP response other than 101 and closes the connection.
func (s *Server) refuse(t *netpoll.Turn, rec *record, err error) {
	l := t.Local().(*local)
	var status int
	l.scratch, status = s.appendAnswer(l.scratch[:0], t.Conn(), l.head, err)
	l.head = false
	_ = s.tr.SendFinal(t.Conn(), l.scratch) // or the socket has failed
	l.shrink()
	s.stats.handshake(status)
	s.failed(t.Conn(), l, status, err)
	s.over(t, rec, ByServer, wsproto.StatusAbnormal, "", false)
	t.CloseFlushed(true)
}

// appendAnswer appends the response that err stands for.
func (s *Server) appendAnswer(dst []byte, c conn, head bool, err error) ([]byte, int) {
	var response *wsproto.Response
	var refusal *wsproto.RequestError
	switch {
	case errors.As(err, &response) && response != nil:
		answer, err := wsproto.AppendResponse(dst, response, head)
		if err == nil {
			return answer, response.Status
		}
		s.log.Error("invalid response of a route", "session", s.ids.encode(c), "status", response.Status)
		refusal = wsproto.ErrInternal
	case errors.As(err, &refusal) && refusal != nil && 400 <= refusal.Status && refusal.Status <= 599 &&
		(refusal != wsproto.ErrInternal || err == refusal):
	default:
		s.log.Error("handshake failed", "session", s.ids.encode(c), "err", err)
		refusal = wsproto.ErrInternal
	}
	retryAfter := 0
	if refusal.Status == http.StatusServiceUnavailable {
		retryAfter = 1 + rand.IntN(3) // seconds; spread, so that they do not come back together
	}
	return wsproto.AppendRefusal(dst, refusal, retryAfter, head), refusal.Status
}
