package session

import (
	"errors"
	"fmt"
	"math"
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
	if !route.Inline && t.OnLoop() {
		s.moveToWorker(t, rec, p)
		return
	}
	if route.HTTP != nil && !l.req.AsksForWebSocket() {
		s.refuse(t, rec, s.plain(t, route))
		return
	}
	if err := l.req.CheckUpgrade(); err != nil {
		s.refuse(t, rec, err)
		return
	}
	if !route.admits(l.req.Origin) {
		s.refuse(t, rec, errOrigin)
		return
	}
	if s.draining.Load() {
		s.refuse(t, rec, wsproto.ErrOverloaded)
		return
	}
	accept := route.accept
	var value any
	if route.OnUpgrade != nil {
		if value, err = s.ask(t, route, &accept); err != nil {
			s.refuse(t, rec, err)
			return
		}
	}
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
	m := makeMeta(c, phaseOpen, s.note(rec, route, agreed.Subprotocol, &l.req, value), index)
	if agreed.Deflate {
		m |= deflated
	}
	s.dropPartial(rec)
	t.SetDeadline(0)
	t.SetInline(route.Inline && !agreed.Deflate)
	s.live.seen(c.Index(), s.tr.Now())
	rec.store(m)
	s.open.Add(1)
	s.stats.handshake(101)
	s.stats.upgrades.Observe(upgradeBounds, int64(uint32(time.Since(epoch).Microseconds())-rec.began)*1000, 1)
	s.call(t, m, func(h Handler) { h.OnOpen(Session{s, c}, &l.req) })
}

var errOrigin = wsproto.Refusal(http.StatusForbidden, "origin not allowed")

// ask has the route decide about a handshake.
func (s *Server) ask(t *netpoll.Turn, route *route, accept *wsproto.Accept) (value any, err error) {
	l := t.Local().(*local)
	u := Upgrade{
		Request:     &l.req,
		RemoteAddr:  s.tr.Peer(t.Conn()),
		Subprotocol: l.req.ChooseSubprotocol(route.Subprotocols),
	}
	defer func() {
		if s.panicked(t.Conn(), recover()) {
			err = wsproto.ErrInternal
		}
	}()
	if err := route.OnUpgrade(&u); err != nil {
		return nil, err
	}
	accept.Subprotocols = nil
	if u.Subprotocol != "" {
		if !l.req.OffersSubprotocol(u.Subprotocol) {
			return nil, fmt.Errorf("OnUpgrade chose subprotocol %q, which was not offered", u.Subprotocol)
		}
		accept.Subprotocols = []string{u.Subprotocol}
	}
	if len(u.Header) > 0 {
		accept.Header = slices.Concat(accept.Header, u.Header)
	}
	return u.Value, nil
}

// plain has the route answer a request that is plain HTTP.
func (s *Server) plain(t *netpoll.Turn, route *route) (answer error) {
	defer func() {
		if s.panicked(t.Conn(), recover()) {
			answer = wsproto.ErrInternal
		}
	}()
	if r := route.HTTP(&t.Local().(*local).req); r != nil {
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
	if rec.part == 0 {
		head, err := s.bufs.Grow(nil, len(p))
		if err != nil {
			s.refuse(t, rec, wsproto.ErrOverloaded)
			return
		}
		s.newPartial(rec).head = append(head, p...)
	}
	s.parts.At(rec.part - 1).seen = 0 // to be judged once more
	t.SetInline(false)
	t.Pause()               // the end of the input must not be seen before the request is answered
	_ = s.tr.Wake(t.Conn()) // its turn is running: it exists
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
	case errors.As(err, &refusal) && refusal != nil && 400 <= refusal.Status && refusal.Status <= 599:
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

// maxInflated is how many bytes of compressed messages are handled in a turn, for the same reason:
// a thousandth of it may have sufficed to send them.
const maxInflated = 1 << 20

// wireCost is how many bytes of content a compressed byte counts as.
const wireCost = 16

// maxFrames is how many messages and control frames of one client are handled in a turn. A
// client that sends thousands of tiny ones waits for its next turn with the rest, and is not
// read until it is through with them.
const maxFrames = 64

// frames takes bytes of an upgraded client.
func (s *Server) frames(t *netpoll.Turn, rec *record, p []byte) {
	l := t.Local().(*local)
	dec := &l.dec
	if rec.part != 0 {
		dec = &s.parts.At(rec.part - 1).dec
	} else if l.decBusy { // a panic left it behind
		l.dec = wsproto.Decoder{}
	}
	l.decBusy = true
	rest := s.decode(t, rec, dec, p)
	l.decBusy = false
	if len(rest) == 0 {
		return
	}
	if rec.part == 0 {
		s.newPartial(rec).dec, l.dec = l.dec, wsproto.Decoder{}
	}
	pt := s.parts.At(rec.part - 1)
	kept, err := s.bufs.Grow(nil, len(rest))
	if err != nil {
		s.fail(t, rec, wsproto.StatusTryAgainLater, "out of memory")
		return
	}
	pt.rest, pt.restOff = append(kept, rest...), 0
	s.deadline(t, rec, 0)
	t.Pause()
	_ = s.tr.Wake(t.Conn()) // its turn is running: it exists
}

// frameRest goes on with what an earlier turn left, if there is something.
func (s *Server) frameRest(t *netpoll.Turn, rec *record) {
	if rec.part == 0 {
		return
	}
	pt := s.parts.At(rec.part - 1)
	if pt.restOff == len(pt.rest) {
		return
	}
	rest := s.decode(t, rec, &pt.dec, pt.rest[pt.restOff:])
	if len(rest) > 0 {
		pt.restOff = len(pt.rest) - len(rest)
		_ = s.tr.Wake(t.Conn())
		return
	}
	if rec.part != 0 { // a frame is incomplete
		s.bufs.Free(pt.rest)
		pt.rest, pt.restOff = nil, 0
	}
	t.Resume()
}

// decode takes frames from p until it is used up, or the turn has handled enough of them: then
// it returns the rest.
func (s *Server) decode(t *netpoll.Turn, rec *record, dec *wsproto.Decoder, p []byte) (rest []byte) {
	c, l := t.Conn(), t.Local().(*local)
	m := rec.load()
	route := s.routes.at(m.route())
	limits := route.limits
	if m.deflated() {
		limits.Inflater = l.inflate()
	}
	tiny, inflated := dec.Progress().Tiny, 0
	rec.control.refresh(s.control, s.tr.Now())
	rec.tiny.refresh(s.tiny[m.route()], s.tr.Now())
	for frames := 0; frames < maxFrames && inflated < maxInflated; frames++ {
		ev, n, err := dec.Next(p, &limits, s.bufs)
		if err != nil {
			dec.Release(s.bufs)
			s.refuseFrame(t, rec, err)
			return nil
		}
		p = p[n:]
		if now := dec.Progress().Tiny; now != tiny {
			if !rec.tiny.take(s.tiny[m.route()], s.tr.Now(), now-tiny) {
				s.flooded(t, rec, dec, "fragment_flood", "too many tiny fragments")
				return nil
			}
			tiny = now
		}
		switch ev.Kind {
		case wsproto.NeedMore:
			s.park(t, rec, dec)
			return nil
		case wsproto.Message:
			l.stats.received(ev.Opcode)
			if ev.Deflated > 0 {
				inflated += len(ev.Payload) + wireCost*ev.Deflated
				l.stats.inflated(ev.Deflated, len(ev.Payload))
			}
			if !rec.closing(c) {
				s.deliver(route, c, Message{ev.Opcode, ev.Payload})
			}
		case wsproto.Ping, wsproto.Pong:
			if !rec.control.take(s.control, s.tr.Now(), 1) {
				s.flooded(t, rec, dec, "control_flood", "too many control frames")
				return nil
			}
			if ev.Kind == wsproto.Pong {
				l.stats.pongs.Add(1)
				if route.pong != nil && !rec.closing(c) {
					s.pong(route.pong, c, ev.Payload)
				}
				continue
			}
			l.stats.pings.Add(1)
			if route.ping != nil && !rec.closing(c) && !s.ping(route.ping, c, ev.Payload) {
				continue
			}
			// Of the pings that wait behind a full socket only the latest needs an answer
			// (RFC 6455 §5.5.3).
			_ = s.tr.SendUrgent(c, header(wsproto.OpPong, len(ev.Payload)), ev.Payload) // ErrClosed: we have sent Close
		case wsproto.Close:
			reason := string(ev.Payload)
			dec.Release(s.bufs) // before its owner, if it is a partial, is given back
			s.closed(t, rec, ev.Code, reason)
			return nil
		}
	}
	if len(p) == 0 {
		_, _, _ = dec.Next(nil, &limits, s.bufs) // frees the last message
		s.park(t, rec, dec)
	}
	return p
}

// deliver calls OnMessage or OnBinary, and survives its panic.
func (s *Server) deliver(r *route, c conn, m Message) {
	defer s.recovered(c)
	if m.Opcode == wsproto.OpBinary && r.binary != nil {
		r.binary.OnBinary(Session{s, c}, m.Data)
		return
	}
	r.Handler.OnMessage(Session{s, c}, m)
}

func (s *Server) ping(h PingHandler, c conn, p []byte) (pong bool) {
	defer s.recovered(c)
	return h.OnPing(Session{s, c}, p)
}

func (s *Server) pong(h PongHandler, c conn, p []byte) {
	defer s.recovered(c)
	h.OnPong(Session{s, c}, p)
}

// flooded ends the session of a client that sends more of what is cheap to send than it may.
func (s *Server) flooded(t *netpoll.Turn, rec *record, dec *wsproto.Decoder, label, reason string) {
	dec.Release(s.bufs)
	if !rec.closing(t.Conn()) {
		s.stats.evictions.Inc(label)
		s.fault(t.Conn(), rec, ErrFlood)
	}
	s.fail(t, rec, wsproto.StatusPolicyViolation, reason)
}

// closed handles the client's Close frame: it is answered, once, with the same code and reason
// (RFC 6455 §5.5.1), and the server closes the connection (§7.1.1).
func (s *Server) closed(t *netpoll.Turn, rec *record, code wsproto.StatusCode, reason string) {
	if !rec.begin(t.Conn(), ByClient, code) {
		_, code = rec.end() // ours was first
		reason = ""
	}
	s.sendClose(t, code, reason)
	s.over(t, rec, ByClient, code, reason, true)
	t.CloseFlushed(false)
}

// sendClose sends a Close frame unless one has been sent. Whoever began to close may not have
// come to it.
func (s *Server) sendClose(t *netpoll.Turn, code wsproto.StatusCode, reason string) {
	l := t.Local().(*local)
	l.scratch = wsproto.AppendClose(l.scratch[:0], code, reason)
	_ = s.tr.SendFinal(t.Conn(), l.scratch) // ErrClosed: it has, or the socket has failed
}

// refuseFrame ends the session of a client that broke the protocol, or sent more than there
// is memory for.
func (s *Server) refuseFrame(t *netpoll.Turn, rec *record, err error) {
	var perr *wsproto.ProtocolError
	s.fault(t.Conn(), rec, err)
	switch {
	case errors.As(err, &perr):
		s.fail(t, rec, perr.Code, perr.Reason)
	case errors.Is(err, errInbound):
		s.fail(t, rec, wsproto.StatusTryAgainLater, "out of memory")
	default:
		s.fail(t, rec, wsproto.StatusInternalError, "")
	}
}

// park keeps what is incomplete for the next turn, and sets the time by which it has to be
// complete.
func (s *Server) park(t *netpoll.Turn, rec *record, dec *wsproto.Decoder) {
	frame, message := dec.MidFrame(), dec.MidMessage()
	if !frame && !message {
		if !dec.AtRest() {
			dec.Release(s.bufs)
		}
		if rec.part != 0 {
			s.dropPartial(rec)
			s.deadline(t, rec, 0)
		}
		return
	}
	if rec.part == 0 {
		pt := s.newPartial(rec)
		pt.dec, *dec = *dec, wsproto.Decoder{}
	}
	pt := s.parts.At(rec.part - 1)
	now, done := s.tr.Now(), pt.dec.Progress()
	left := time.Duration(math.MaxInt64)
	if frame {
		left = pt.frame.left(done.Frames, done.Bytes, now, s.cfg.FrameTimeout, s.cfg.MinRate)
	}
	if message {
		left = min(left, pt.message.left(done.Messages, done.Bytes, now, s.cfg.MessageTimeout, s.cfg.MinRate))
	}
	s.deadline(t, rec, left)
}

// deadline sets the deadline of an open session; while closing it is the closing handshake's.
func (s *Server) deadline(t *netpoll.Turn, rec *record, d time.Duration) {
	if rec.load().phase() == phaseOpen {
		t.SetDeadline(d)
	}
}

func (s *Server) newPartial(rec *record) *partial {
	i, _ := s.parts.Get() // there are as many as connections
	rec.part = i + 1
	return s.parts.At(i)
}

func (s *Server) dropPartial(rec *record) {
	if rec.part == 0 {
		return
	}
	pt := s.parts.At(rec.part - 1)
	pt.dec.Release(s.bufs)
	s.bufs.Free(pt.head)
	s.bufs.Free(pt.rest)
	*pt = partial{}
	s.parts.Put(rec.part - 1)
	rec.part = 0
}
