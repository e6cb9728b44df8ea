package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// events is the server as its reactor knows it, a netpoll.Handler: it says which step comes at which event.
type events struct{ srv *Server }

var epoch = time.Now()

// Opened implements netpoll.Handler.
func (e events) Opened(poll *netpoll.Turn, refused bool) {
	i := poll.Conn().Index()
	e.srv.table.records.Ensure(i)
	e.srv.live.ensure(i)
	t := e.srv.begin(poll)
	t.rec.open(t.c, t.now())
	if refused {
		admission{t}.refuse(wsproto.ErrOverloaded)
		return
	}
	t.SetDeadline(t.srv.cfg.HandshakeTimeout)
	if v, ok := t.Adopted(); ok {
		if r, ok := v.(*http.Request); ok {
			t.newPartial().http = r
		}
	}
}

// Data implements netpoll.Handler.
func (e events) Data(poll *netpoll.Turn, p []byte) {
	t := e.srv.begin(poll)
	switch t.phase() {
	case phaseHandshake:
		admission{t}.handshake(p)
	case phaseOpen, phaseClosing:
		t.srv.live.seen(t.c.Index(), t.now())
		t.frames(p)
	}
	t.end()
}

// Ended implements netpoll.Handler: the client will send nothing more. Without a Close frame
// there is nobody left to talk to.
func (e events) Ended(poll *netpoll.Turn) {
	t := e.srv.begin(poll)
	if t.phase() == phaseHandshake {
		admission{t}.aborted()
	}
	t.fault(ErrBroken)
	t.CloseFlushed(false)
	t.endSession(ByTransport, wsproto.StatusAbnormal, "", false)
	t.end()
}

// Notice implements netpoll.Handler.
func (e events) Notice(poll *netpoll.Turn, why netpoll.Reason) {
	t := e.srv.begin(poll)
	switch t.phase() {
	case phaseHandshake:
		admission{t}.noticeRequest(why)
	case phaseOpen, phaseClosing:
		t.noticeSession(why)
	}
	t.end()
}

// noticeSession is for a client that has been upgraded.
func (t *turn) noticeSession(why netpoll.Reason) {
	if t.rec.flags.Load()&flagTerminate != 0 {
		t.cutOff(errTerminated)
		return
	}
	if why&netpoll.HangUp != 0 {
		t.endContext()
	}
	t.goAway()
	held := t.rec.flags.Load()&flagHeld != 0
	t.frameRest()
	m := t.rec.load()
	if m.phase() == phaseOver {
		return
	}
	switch {
	case why&(netpoll.Overflow|netpoll.Stalled) != 0:
		t.slow(why)
	case m.phase() == phaseOpen && t.rec.closing(t.c):
		t.rec.store(m.with(phaseClosing))
		t.MarkProgress()
		t.SetDeadline(t.srv.reactor.CloseTimeout())
	case why&netpoll.Deadline == 0:
		t.noticeSilence()
	case t.unframed() && t.Overdue() < t.srv.reactor.CloseTimeout():
		// What has been read and not been looked at may be what is missing; Sweep comes again. But
		// a client that sends all the time is never looked at to the end.
	case m.phase() == phaseClosing:
		t.unanswered()
	case held || t.rec.flags.Load()&flagHeld != 0:
		// The deadline was ours, and has been set anew.
	default:
		t.inputLate()
	}
}

// Closed implements netpoll.Handler.
func (e events) Closed(poll *netpoll.Turn, err error) {
	t := e.srv.begin(poll)
	// Deferred: a handler may end the goroutine, and nobody calls Closed again.
	defer func() {
		t.dropPartial()
		t.srv.live.forget(t.c.Index())
		t.srv.table.dropDetails(t.c)
		t.end()
	}()
	defer t.endSession(ByTransport, wsproto.StatusAbnormal, "", false)
	if t.phase() == phaseHandshake {
		admission{t}.aborted()
	}
	switch {
	case errors.Is(err, netpoll.ErrUserTimeout):
		t.srv.stats.slow.Inc("user_timeout")
		t.fault(ErrTooSlow)
	case err != nil && !errors.Is(err, netpoll.ErrPanic): // that was a handler's end, perhaps OnError's
		t.fault(fmt.Errorf("%w: %w", ErrBroken, err))
	}
	if err != nil && t.srv.log.Enabled(context.Background(), slog.LevelDebug) {
		t.srv.log.Debug("connection closed", "session", t.srv.ids.encode(t.c), "err", err)
	}
}
