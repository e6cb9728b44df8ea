package session

import (
	"errors"
	"unicode/utf8"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// The errors that an ErrorHandler gets, beside a *ProtocolError.
var (
	// ErrEvicted says that the client did not answer a ping or the server's Close frame in time, or
	// did not complete a message in time.
	ErrEvicted = errors.New("session: client evicted")
	// ErrTooSlow says that the client did not read what it was sent.
	ErrTooSlow = errors.New("session: client too slow in reading")
	// ErrFlood says that the client exceeded a rate for too long: that of control frames, that of
	// tiny fragments, or Route.Rate.
	ErrFlood = errors.New("session: client floods")
	// ErrBroken says that the connection ended without a Close frame.
	ErrBroken = errors.New("session: connection broken")
)

// errTerminated is the error that the log gives for a connection that Session.Terminate has ended.
// No ErrorHandler gets it.
var errTerminated = errors.New("session: terminated")

// beginClose sends our Close frame, unless either side has begun before.
func (s Session) beginClose(code wsproto.StatusCode, reason string) error {
	m, open := s.srv.table.meta(s.c)
	if !open || !s.srv.table.record(s.c).begin(s.c, ByServer, code) {
		return ErrClosed
	}
	// Deferred, as Farewell may end the goroutine.
	defer func() {
		var buf [maxHeader + wsproto.MaxControlPayload]byte
		_ = s.srv.tr.Send(s.c, netpoll.Message{Body: wsproto.AppendClose(buf[:0], code, reason), Final: true}) // or its turn has sent it for us
		_ = s.srv.tr.Wake(s.c)                                                                                 // its turn sets the time for the client's answer
	}()
	s.farewell(m, code, reason)
	return nil
}

// farewell sends the last message of a session that is about to be closed, if its route has one and there is
// room for it.
func (s Session) farewell(m meta, code wsproto.StatusCode, reason string) {
	f := s.srv.table.route(m).Farewell
	if !s.srv.table.holds(s.c) {
		return // it has ended, and this may be another route's
	}
	if f == nil {
		return
	}
	defer func() { s.srv.panicked(s.c, recover()) }()
	if p := f(s, code, reason); p != nil && utf8.Valid(p) {
		if s.srv.tr.Send(s.c, netpoll.Message{Prefix: header(wsproto.OpText, len(p)), Body: p, Policy: DropNewest}) == nil {
			s.srv.stats.sent(s.c, wsproto.OpText)
		}
	}
}

// drop closes the connection of a client that has sent nothing: there is no request to answer.
func (a admission) drop() {
	a.aborted()
	a.endSession(ByServer, wsproto.StatusAbnormal, "", false)
	a.CloseFlushed(false)
}

// silent ends the session of a client that has not answered a ping, unless it acknowledges what it
// is sent: the ping may stand behind that. If the socket cannot tell yet, the client gets as much
// time again for its answer.
func (t *turn) silent() {
	switch left, known := t.Progress(t.srv.cfg.PingTimeout); {
	case !known:
		t.srv.live.wait(t.c.Index(), t.now())
	case left > 0:
		t.srv.live.seen(t.c.Index(), t.now())
	default:
		t.evict("ping_timeout", ErrEvicted)
	}
}

// unanswered ends the session of a client that has not answered our Close frame, unless it
// acknowledges what it is sent before it.
func (t *turn) unanswered() {
	d := t.srv.reactor.CloseTimeout()
	left, known := t.Progress(d)
	if !known {
		left = d
	}
	if left > 0 {
		t.SetDeadline(left)
		return
	}
	t.evict("close_timeout", netpoll.ErrCloseTimeout)
}

// evict ends the session of a client that does not answer.
func (t *turn) evict(label string, err error) {
	t.srv.stats.evictions.Inc(label)
	t.fault(ErrEvicted)
	t.cutOff(err)
}

// cutOff ends the session at once, and resets the connection.
func (t *turn) cutOff(err error) {
	t.Abort(err)
	t.endSession(ByServer, wsproto.StatusAbnormal, "", false)
}

// slow ends the session of a client that does not read what it is sent. What has not been begun
// is dropped, so that the Close frame is the next thing the client reads if it ever does.
func (t *turn) slow(why netpoll.Reason) {
	reason := "queue_full"
	if why&netpoll.Overflow == 0 {
		reason = "stalled"
	}
	t.srv.stats.slow.Inc(reason)
	t.DropQueued() // before OnError, which may send or close
	t.fault(ErrTooSlow)
	t.fail(t.route.SlowCode, "too slow in reading")
}

// fail ends the session with a Close frame of ours and does not wait for the client's
// (RFC 6455 §7.1.7).
func (t *turn) fail(code wsproto.StatusCode, reason string) {
	if !t.rec.begin(t.c, ByServer, code) {
		_, code = t.rec.end() // somebody was first, and may not have sent it yet
		reason = ""
	}
	t.sendClose(code, reason)
	t.endSession(ByServer, code, "", false)
	t.CloseFlushed(true)
}

// sendClose sends a Close frame unless one has been sent. A goroutine that began to close may not have come
// to it.
func (t *turn) sendClose(code wsproto.StatusCode, reason string) {
	t.state.scratch = wsproto.AppendClose(t.state.scratch[:0], code, reason)
	_ = t.srv.tr.Send(t.c, netpoll.Message{Body: t.state.scratch, Final: true}) // ErrClosed: it has, or the socket has failed
}

// endSession ends the session, once: OnClose is called if OnOpen was. What it says is what the side
// noted that began, or else by, code and reason.
func (t *turn) endSession(by Initiator, code wsproto.StatusCode, reason string, clean bool) {
	m := t.rec.load()
	if m.phase() == phaseOver {
		return
	}
	held := t.route
	defer func() { // last of all
		if held != nil {
			held.table.leave()
		}
	}()
	defer t.rec.store(meta(0).with(phaseOver)) // of no session: nothing is known of it any more
	t.srv.live.forget(t.c.Index())
	if m.phase() == phaseHandshake {
		t.forgetRequest()
		t.rec.store(m.with(phaseOver))
		return
	}
	t.dropPartial()
	t.rec.begin(t.c, by, code)
	by, code = t.rec.end()
	info := CloseInfo{code, reason, by, clean}
	t.srv.open.Add(-1)
	t.route.open.Add(-1)
	t.srv.giveUpDeflate(m.deflated())
	t.srv.stats.notifyClosed(code, by)
	s, handler, table := t.session(), t.route.Handler, t.route.table
	var later func()
	if t.route.Mode == MayBlock {
		held = nil
		later = func() {
			defer table.leave()
			handler.OnClose(s, info)
		}
	}
	t.detach(m, by, later)
	defer s.logClose(info)
	if later == nil {
		t.call(func() { handler.OnClose(s, info) })
	}
}

// detach ends what a session has for as long as it is open. If its OnClose may block it is posted, with
// what is known of the session until it has returned.
func (t *turn) detach(m meta, by Initiator, onClose func()) {
	ms := t.srv.memberships
	joining := ms.lock(t.c)
	joining.Lock()
	defer joining.Unlock()
	ms.leaveAll(t.c, t.rec)
	tb := t.srv.table
	lock := tb.lock(t.c)
	lock.Lock()
	defer lock.Unlock()
	t.endContext()
	t.rec.store(m.with(phaseOver))
	if onClose != nil {
		t.route.calls().PostLast(t.c, &tombstone{route: t.route, meta: m, by: by, details: tb.detailsOf(t.c), peer: t.srv.tr.Peer(t.c)}, onClose)
	}
}
