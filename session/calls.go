package session

import (
	"bytes"
	"fmt"
	"runtime/debug"

	"wsgateway/wsproto"
)

// call calls f, which calls a handler that does not block, and survives its panic.
func (t *turn) call(f func()) {
	w := &t.state.watch
	defer t.session().recovered()
	defer w.leave()
	w.enter(t.c)
	f()
}

// deliver calls OnMessage or OnBinary. It reports false if there is no memory to keep the message for a
// handler that may block.
func (t *turn) deliver(m Message) (ok bool) {
	route, s := t.route, t.session()
	if route.Mode == MayBlock {
		bufs := t.srv.bufs
		p, err := bufs.Grow(nil, len(m.Data))
		if err != nil {
			return false
		}
		m.Data = append(p, m.Data...)
		route.calls().Post(t.c, func() {
			defer bufs.Free(m.Data)
			if !s.closedByUs() {
				s.callOnMessage(route, m)
			}
		})
		return true
	}
	w := &t.state.watch
	defer w.leave()
	w.enter(t.c)
	s.callOnMessage(route, m)
	return true
}

func (s Session) callOnMessage(r *route, m Message) {
	defer s.recovered()
	if m.Opcode == wsproto.OpBinary && r.binary != nil {
		r.binary.OnBinary(s, m.Data)
		return
	}
	r.Handler.OnMessage(s, m)
}

// closedByUs reports whether we have begun to close a session whose handler's call has waited meanwhile: it
// gets nothing but OnClose then. What has come before the client closed, or was gone, it still gets.
func (s Session) closedByUs() bool {
	if by, ok := s.srv.table.record(s.c).endOf(s.c); ok {
		return by == ByServer
	}
	end := s.srv.calls.tombstone(s.c) // and the slot is another's by now
	return end != nil && end.by == ByServer
}

// callOnPing calls OnPing, and answers the ping if it says so.
func (t *turn) callOnPing(p []byte) {
	route, s := t.route, t.session()
	t.controlCall(p, func(p []byte) {
		if route.ping.OnPing(s, p) {
			s.answerPing(p)
		}
	})
}

func (t *turn) callOnPong(p []byte) {
	route, s := t.route, t.session()
	t.controlCall(p, func(p []byte) { route.pong.OnPong(s, p) })
}

// controlCall calls f, which calls OnPing or OnPong with p.
func (t *turn) controlCall(p []byte, f func(p []byte)) {
	if t.route.Mode != MayBlock {
		t.call(func() { f(p) })
		return
	}
	s := t.session()
	p = bytes.Clone(p)
	t.post(func() {
		if !s.closedByUs() {
			f(p)
		}
	})
}

// post has the route's pool call f, which calls a handler that may block. f must not use the turn.
func (t *turn) post(f func()) { t.route.calls().Post(t.c, f) }

// fault tells the handler why the session is about to end, if it wants to know.
func (t *turn) fault(err error) {
	if t.route == nil || t.route.fault == nil || t.phase() == phaseOver {
		return
	}
	h, s := t.route.fault, t.session()
	if t.route.Mode == MayBlock {
		t.post(func() { h.OnError(s, err) })
		return
	}
	t.call(func() { h.OnError(s, err) })
}

// recovered is deferred around every call of a session's handler.
func (s Session) recovered() {
	if s.srv.panicked(s.c, recover()) {
		_ = s.beginClose(wsproto.StatusInternalError, "internal error")
	}
}

// callFailed ends the session of a call that the pool was making: it has panicked with v or, if that is nil,
// called runtime.Goexit.
func (s Session) callFailed(v any) {
	if !s.srv.panicked(s.c, v) {
		s.srv.stats.panics.Add(1)
		s.srv.log.Error("handler called runtime.Goexit", "session", s.srv.ids.encode(s.c))
	}
	_ = s.beginClose(wsproto.StatusInternalError, "internal error")
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
