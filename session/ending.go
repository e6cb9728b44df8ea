package session

import (
	"errors"
	"fmt"
	"runtime/debug"
	"unicode/utf8"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// beginClose sends our Close frame, unless either side has begun before.
func (s *Server) beginClose(c conn, code wsproto.StatusCode, reason string) error {
	m, open := s.meta(c)
	if !open || !s.record(c).begin(c, ByServer, code) {
		return ErrClosed
	}
	// Deferred, as Farewell may end the goroutine.
	defer func() {
		var buf [maxHeader + wsproto.MaxControlPayload]byte
		_ = s.tr.SendFinal(c, wsproto.AppendClose(buf[:0], code, reason)) // or its turn has sent it for us
		_ = s.tr.Wake(c)                                                  // its turn sets the time for the client's answer
	}()
	s.farewell(c, m, code, reason)
	return nil
}

// farewell sends the last message of a session that is about to be closed, if its route has one and there is
// room for it.
func (s *Server) farewell(c conn, m meta, code wsproto.StatusCode, reason string) {
	f := s.routes.at(m.route()).Farewell
	if f == nil {
		return
	}
	defer func() { s.panicked(c, recover()) }()
	if p := f(Session{s, c}, code, reason); p != nil && utf8.Valid(p) {
		if s.tr.SendLossy(c, header(wsproto.OpText, len(p)), p, DropNewest, 0) == nil {
			s.stats.sent(c, wsproto.OpText)
		}
	}
}

// drop closes the connection of a client that never said a word: there is no request to answer.
func (s *Server) drop(t *netpoll.Turn, rec *record) {
	s.stats.handshake(statusAborted)
	s.failed(t.Conn(), t.Local().(*local), statusAborted, nil)
	s.over(t, rec, ByServer, wsproto.StatusAbnormal, "", false)
	t.CloseFlushed(false)
}

// What an ErrorHandler is told of, beside a *wsproto.ProtocolError.
var (
	// ErrEvicted says that the client was given up on: it did not answer pings or our Close, or did
	// not complete what it had begun.
	ErrEvicted = errors.New("session: client evicted")
	// ErrTooSlow says that the client did not read what it was sent.
	ErrTooSlow = errors.New("session: client too slow in reading")
	// ErrFlood says that the client sent more than it may for too long: control frames, tiny fragments, or
	// what Route.Rate counts.
	ErrFlood = errors.New("session: client floods")
	// ErrBroken says that the connection ended without a Close frame.
	ErrBroken = errors.New("session: connection broken")
)

// ErrTerminated is what the log says of a connection that Session.Terminate has ended. No ErrorHandler is
// told of it.
var ErrTerminated = errors.New("session: terminated")

// fault tells the handler why the session is about to end, if it wants to know.
func (s *Server) fault(t *netpoll.Turn, rec *record, err error) {
	c, m := t.Conn(), rec.load()
	h := s.routes.at(m.route()).fault
	if h == nil || m.phase() != phaseOpen && m.phase() != phaseClosing {
		return
	}
	if s.blocking(m) {
		s.exec.post(c, nil, func() {
			defer s.recovered(c)
			h.OnError(Session{s, c}, err)
		})
		return
	}
	s.call(t, func() { h.OnError(Session{s, c}, err) })
}

// slow ends the session of a client that does not read what it is sent. What has not been begun
// is dropped, so that the Close frame is the next thing the client reads if it ever does.
func (s *Server) slow(t *netpoll.Turn, rec *record, why netpoll.Reason) {
	reason := "queue_full"
	if why&netpoll.Overflow == 0 {
		reason = "stalled"
	}
	s.stats.slow.Inc(reason)
	t.DropQueued() // before OnError, which may send or close
	s.fault(t, rec, ErrTooSlow)
	s.fail(t, rec, s.routes.at(rec.load().route()).SlowCode, "too slow in reading")
}

// fail ends the session with a Close frame of ours and does not wait for the client's
// (RFC 6455 §7.1.7).
func (s *Server) fail(t *netpoll.Turn, rec *record, code wsproto.StatusCode, reason string) {
	if !rec.begin(t.Conn(), ByServer, code) {
		_, code = rec.end() // somebody was first, and may not have sent it yet
		reason = ""
	}
	s.sendClose(t, code, reason)
	s.over(t, rec, ByServer, code, "", false)
	t.CloseFlushed(true)
}

// over ends the session, once: OnClose is called if OnOpen was. What it says is what the side
// noted that began, or else by, code and reason.
func (s *Server) over(t *netpoll.Turn, rec *record, by Initiator, code wsproto.StatusCode, reason string, clean bool) {
	c := t.Conn()
	m := rec.load()
	if m.phase() == phaseOver {
		return
	}
	defer rec.store(meta(0).with(phaseOver)) // of no session: nothing is known of it any more
	s.live.forget(c.Index())
	s.dropPartial(rec)
	if m.phase() == phaseHandshake {
		rec.store(m.with(phaseOver))
		if s.exec != nil {
			s.exec.forget(c)
		}
		return
	}
	rec.begin(c, by, code)
	by, code = rec.end()
	info := CloseInfo{code, reason, by, clean}
	s.open.Add(-1)
	s.giveUpDeflate(m.deflated())
	s.stats.closed(code, by)
	handler := s.routes.at(m.route()).Handler
	var later func()
	if s.blocking(m) {
		later = func() {
			defer s.recovered(c)
			handler.OnClose(Session{s, c}, info)
		}
	}
	s.bury(c, rec, m, by, later)
	defer s.left(c, info)
	if later == nil {
		s.call(t, func() { handler.OnClose(Session{s, c}, info) })
	}
}

// bury ends what a session has for as long as it is open. If its OnClose may block it is posted, with
// what is known of the session until it has returned.
func (s *Server) bury(c conn, rec *record, m meta, by Initiator, onClose func()) {
	lock := s.channels.owner(c)
	lock.Lock()
	defer lock.Unlock()
	rec.store(m.with(phaseOver))
	s.leaveAll(c, rec)
	if onClose != nil {
		s.exec.post(c, &ended{meta: m, by: by, extra: s.extra(c), peer: s.tr.Peer(c)}, onClose)
	}
}

// blocking reports whether the handler of a session may block.
func (s *Server) blocking(m meta) bool { return s.routes.at(m.route()).Mode == MayBlock }

// call calls f, which calls a handler, and survives its panic.
func (s *Server) call(t *netpoll.Turn, f func()) {
	w := &t.Local().(*local).watch
	defer s.recovered(t.Conn())
	defer w.leave()
	w.enter(t.Conn())
	f()
}

// recovered is deferred around every call of a handler.
func (s *Server) recovered(c conn) {
	if s.panicked(c, recover()) {
		_ = s.beginClose(c, wsproto.StatusInternalError, "internal error")
	}
}

// exited counts and logs that a handler has called runtime.Goexit.
func (s *Server) exited(c conn) {
	s.stats.panics.Add(1)
	s.log.Error("handler called runtime.Goexit", "session", s.ids.encode(c))
	_ = s.beginClose(c, wsproto.StatusInternalError, "internal error")
}

// panicked counts and logs the value of recover, and reports whether there was a panic.
func (s *Server) panicked(c conn, v any) bool {
	if v == nil {
		return false
	}
	s.stats.panics.Add(1)
	s.log.Error("handler panicked", "session", s.ids.encode(c), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	return true
}
