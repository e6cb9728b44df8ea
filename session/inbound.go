package session

import (
	"bytes"
	"errors"
	"math"
	"time"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// maxFrames is how many messages and control frames of one client are handled in a turn. A
// client that sends thousands of tiny ones waits for its next turn with the rest, and is not
// read until it is through with them.
const maxFrames = 64

// maxInflated is how many bytes of compressed messages are handled in a turn, for the same reason:
// a thousandth of it may have sufficed to send them.
const maxInflated = 1 << 20

// wireCost is how many bytes of content a compressed byte counts as.
const wireCost = 16

// frames takes bytes of an upgraded client.
func (s *Server) frames(t *netpoll.Turn, rec *record, p []byte) {
	l := t.Local().(*local)
	dec := &l.dec
	if rec.part != 0 {
		dec = &s.parts.At(rec.part - 1).dec
	}
	l.decBusy = true
	defer func() {
		if l.decBusy { // a handler has ended the goroutine, or something panicked
			l.decBusy = false
			l.dec.Release(s.bufs)
			l.dec = wsproto.Decoder{}
		}
	}()
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
	if rec.flags.Load()&flagHeld != 0 {
		return
	}
	s.deadline(t, rec, 0)
	t.Pause()
	_ = s.tr.Wake(t.Conn()) // its turn is running: it exists
}

// frameRest goes on with what an earlier turn left, if there is something.
func (s *Server) frameRest(t *netpoll.Turn, rec *record) {
	route := s.routes.at(rec.load().route())
	if s.held(t.Conn(), rec, route) {
		s.hold(t, rec, route)
		return
	}
	s.release(t, rec)
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
		if rec.flags.Load()&flagHeld == 0 {
			t.Pause()
			_ = s.tr.Wake(t.Conn())
		}
		return
	}
	if rec.part != 0 { // a frame is incomplete
		s.bufs.Free(pt.rest)
		pt.rest, pt.restOff = nil, 0
	}
	if rec.flags.Load()&flagHeld == 0 {
		t.Resume()
	}
}

// unframed reports whether input waits that an earlier turn had no time for.
func (s *Server) unframed(rec *record) bool {
	if rec.part == 0 {
		return false
	}
	pt := s.parts.At(rec.part - 1)
	return pt.restOff < len(pt.rest)
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
	if route.limited {
		s.throttle(c).refill(&route.Rate, s.tr.Now())
	}
	tiny, inflated, held := dec.Progress().Tiny, 0, false
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
			if route.limited {
				s.throttle(c).take(len(ev.Payload))
			}
			if !rec.closing(c) && !s.deliver(l, route, c, Message{ev.Opcode, ev.Payload}) {
				dec.Release(s.bufs)
				s.refuseFrame(t, rec, errInbound)
				return nil
			}
		case wsproto.Ping, wsproto.Pong:
			if now := s.tr.Now(); rec.control.owe(s.control, now) {
				s.stats.throttled.Add(1)
				if rec.flood(now, rec.control.wait(s.control, now), s.cfg.ControlPatience) || rec.closing(c) {
					s.flooded(t, rec, dec, "control_flood", "too many control frames")
					return nil
				}
			}
			if ev.Kind == wsproto.Pong {
				l.stats.pongs.Add(1)
				s.pongCame(rec, ev.Payload)
				if route.pong != nil && !rec.closing(c) {
					s.pong(l, route, c, ev.Payload)
				}
				break
			}
			l.stats.pings.Add(1)
			if route.ping == nil || rec.closing(c) {
				s.answerPing(c, ev.Payload)
			} else {
				s.ping(l, route, c, ev.Payload)
			}
		case wsproto.Close:
			reason := string(ev.Payload)
			dec.Release(s.bufs) // before its owner, if it is a partial, is given back
			s.closed(t, rec, ev.Code, reason)
			return nil
		}
		if held = s.held(c, rec, route); held {
			break
		}
	}
	if held && route.limited && s.throttled(c, route) {
		s.stats.throttled.Add(1)
		if s.throttle(c).stop(&route.Rate, s.tr.Now()) {
			s.flooded(t, rec, dec, "rate_limit", "too much for too long")
			return nil
		}
	}
	if len(p) == 0 {
		_, _, _ = dec.Next(nil, &limits, s.bufs) // frees the last message
		s.park(t, rec, dec)
	}
	if held {
		s.hold(t, rec, route)
	}
	return p
}

// answerPing answers a ping. Of those that wait behind a full socket only the latest needs an answer
// (RFC 6455 §5.5.3).
func (s *Server) answerPing(c conn, p []byte) {
	_ = s.tr.SendUrgent(c, header(wsproto.OpPong, len(p)), p) // ErrClosed: we have sent Close
}

// deliver calls OnMessage or OnBinary, and survives its panic. It reports false if there is no memory to
// keep the message for a handler that may block.
func (s *Server) deliver(l *local, r *route, c conn, m Message) (ok bool) {
	if r.Mode == MayBlock {
		p, err := s.bufs.Grow(nil, len(m.Data))
		if err != nil {
			return false
		}
		m.Data = append(p, m.Data...)
		s.exec.post(c, nil, func() {
			defer s.bufs.Free(m.Data)
			if !s.closedByUs(c) {
				s.message(r, c, m)
			}
		})
		return true
	}
	defer l.watch.leave()
	l.watch.enter(c)
	s.message(r, c, m)
	return true
}

// closedByUs reports whether we have begun to close a session whose handler's call has waited meanwhile: it
// gets nothing but OnClose then. What has come before the client closed, or was gone, it still gets.
func (s *Server) closedByUs(c conn) bool {
	if by, ok := s.record(c).endOf(c); ok {
		return by == ByServer
	}
	end := s.exec.ended(c) // and the slot is another's by now
	return end != nil && end.by == ByServer
}

func (s *Server) message(r *route, c conn, m Message) {
	defer s.recovered(c)
	if m.Opcode == wsproto.OpBinary && r.binary != nil {
		r.binary.OnBinary(Session{s, c}, m.Data)
		return
	}
	r.Handler.OnMessage(Session{s, c}, m)
}

// controlCall calls f, which calls OnPing or OnPong with p, and survives its panic.
func (s *Server) controlCall(l *local, r *route, c conn, p []byte, f func(p []byte)) {
	if r.Mode == MayBlock {
		p = bytes.Clone(p)
		s.exec.post(c, nil, func() {
			defer s.recovered(c)
			if !s.closedByUs(c) {
				f(p)
			}
		})
		return
	}
	defer s.recovered(c)
	defer l.watch.leave()
	l.watch.enter(c)
	f(p)
}

func (s *Server) ping(l *local, r *route, c conn, p []byte) {
	s.controlCall(l, r, c, p, func(p []byte) {
		if r.ping.OnPing(Session{s, c}, p) {
			s.answerPing(c, p)
		}
	})
}

func (s *Server) pong(l *local, r *route, c conn, p []byte) {
	s.controlCall(l, r, c, p, func(p []byte) { r.pong.OnPong(Session{s, c}, p) })
}

// flooded ends the session of a client that sends more of what is cheap to send than it may.
func (s *Server) flooded(t *netpoll.Turn, rec *record, dec *wsproto.Decoder, label, reason string) {
	dec.Release(s.bufs)
	if !rec.closing(t.Conn()) {
		s.stats.evictions.Inc(label)
		s.fault(t, rec, ErrFlood)
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
	s.fault(t, rec, err)
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
