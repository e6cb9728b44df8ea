package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// events is the server as its reactor knows it, a netpoll.Handler.
type events struct{ *Server }

// Opened implements netpoll.Handler.
func (e events) Opened(t *netpoll.Turn, refused bool) {
	s := e.Server
	c := t.Conn()
	s.records.Ensure(c.Index())
	s.live.ensure(c.Index())
	rec := s.record(c)
	rec.began = uint32(time.Since(epoch).Microseconds())
	rec.part = 0
	rec.flags.Store(0)
	rec.latency.Store(0)
	rec.control = fullBucket(s.tr.Now())
	rec.tiny = rec.control
	rec.store(makeMeta(c, phaseHandshake, 0, 0))
	if refused {
		s.refuse(t, rec, wsproto.ErrOverloaded)
		return
	}
	t.SetDeadline(s.cfg.HandshakeTimeout)
}

var epoch = time.Now()

// Data implements netpoll.Handler.
func (e events) Data(t *netpoll.Turn, p []byte) {
	s := e.Server
	rec := s.record(t.Conn())
	switch rec.load().phase() {
	case phaseHandshake:
		s.handshake(t, rec, p)
	case phaseOpen, phaseClosing:
		s.live.seen(t.Conn().Index(), s.tr.Now())
		s.frames(t, rec, p)
	}
}

// Ended implements netpoll.Handler: the client will send nothing more. Without a Close frame
// there is nobody left to talk to.
func (e events) Ended(t *netpoll.Turn) {
	s := e.Server
	rec := s.record(t.Conn())
	if rec.load().phase() == phaseHandshake {
		s.stats.handshake(statusAborted)
		s.failed(t.Conn(), t.Local().(*local), statusAborted, nil)
	}
	s.fault(t, rec, ErrBroken)
	t.CloseFlushed(false)
	s.over(t, rec, ByTransport, wsproto.StatusAbnormal, "", false)
}

// Notice implements netpoll.Handler.
func (e events) Notice(t *netpoll.Turn, why netpoll.Reason) {
	s := e.Server
	c := t.Conn()
	rec := s.record(c)
	m := rec.load()
	switch m.phase() {
	case phaseHandshake:
		if why&netpoll.Woken != 0 && rec.part != 0 && !t.OnLoop() { // see moveToWorker
			t.Resume()
			s.handshake(t, rec, nil)
			return
		}
		if why&netpoll.Woken != 0 && rec.part == 0 && s.draining.Load() {
			s.drop(t, rec)
			return
		}
		if why&netpoll.Deadline != 0 && s.exec != nil && s.exec.busy(c) {
			s.giveUpAsking(t, rec)
			return
		}
		if why&netpoll.Deadline != 0 {
			s.stats.evictions.Inc("handshake_timeout")
			if rec.part == 0 {
				s.drop(t, rec)
				return
			}
			s.refuse(t, rec, wsproto.ErrTimeout)
		}
	case phaseOpen, phaseClosing:
		if rec.flags.Load()&flagTerminate != 0 {
			t.Abort(ErrTerminated)
			s.over(t, rec, ByServer, wsproto.StatusAbnormal, "", false)
			return
		}
		held := rec.flags.Load()&flagHeld != 0
		s.frameRest(t, rec)
		if m = rec.load(); m.phase() == phaseOver {
			return
		}
		switch {
		case why&(netpoll.Overflow|netpoll.Stalled) != 0:
			s.slow(t, rec, why)
		case m.phase() == phaseOpen && rec.closing(c):
			rec.store(m.with(phaseClosing))
			t.SetDeadline(s.reactor.CloseTimeout())
		case why&netpoll.Deadline != 0 && s.unframed(rec) && t.Overdue() < s.reactor.CloseTimeout():
			// What has been read and not been looked at may be what is missing; Sweep comes again. But
			// who sends all the time is never looked at to the end.
		case why&netpoll.Deadline != 0 && m.phase() == phaseClosing:
			s.stats.evictions.Inc("close_timeout")
			s.fault(t, rec, ErrEvicted)
			t.Abort(ErrEvicted)
			s.over(t, rec, ByServer, wsproto.StatusAbnormal, "", false)
		case why&netpoll.Deadline != 0 && (held || rec.flags.Load()&flagHeld != 0):
			// It was ours, and has been set anew.
		case why&netpoll.Deadline != 0:
			s.stats.evictions.Inc("message_timeout")
			s.fault(t, rec, ErrEvicted)
			s.fail(t, rec, wsproto.StatusPolicyViolation, "message took too long")
		case !t.Unread() && s.live.dead(c.Index(), s.tr.Now()):
			s.stats.evictions.Inc("ping_timeout")
			s.fault(t, rec, ErrEvicted)
			t.Abort(ErrEvicted)
			s.over(t, rec, ByServer, wsproto.StatusAbnormal, "", false)
		}
	}
}

// Closed implements netpoll.Handler.
func (e events) Closed(t *netpoll.Turn, err error) {
	s := e.Server
	c := t.Conn()
	rec := s.record(c)
	// Deferred: a handler may end the goroutine, and nobody calls Closed again.
	defer func() {
		s.dropPartial(rec)
		s.live.forget(c.Index())
		if rec.extra.Load() != 0 {
			s.dropExtra(c, rec)
		}
	}()
	defer s.over(t, rec, ByTransport, wsproto.StatusAbnormal, "", false)
	if rec.load().phase() == phaseHandshake {
		s.stats.handshake(statusAborted)
		s.failed(c, t.Local().(*local), statusAborted, nil)
	}
	if err != nil && !errors.Is(err, netpoll.ErrPanic) { // that was a handler's end, perhaps OnError's
		s.fault(t, rec, fmt.Errorf("%w: %w", ErrBroken, err))
	}
	if err != nil && s.log.Enabled(context.Background(), slog.LevelDebug) {
		s.log.Debug("connection closed", "session", s.ids.encode(c), "err", err)
	}
}
