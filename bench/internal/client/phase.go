package client

import "golang.org/x/sys/unix"

// phase is what the connections of a loop do at the moment. Its methods run on
// the loop's goroutine.
type phase interface {
	// tick acts on time; wake is when to call it again at the latest, 0 for
	// no matter. It is called after every batch of events.
	tick(now int64) (wake int64, done bool)
	// opened is told of a completed handshake, or of one that is to stall and
	// has come that far. It may send.
	opened(c *conn)
	// reply is told of a right echo. It may send, or end the connection.
	reply(c *conn, sent int64)
	// gone is told of an end that the phase has not made itself; opened says
	// whether the handshake had completed.
	gone(c *conn, opened bool)
}

// retrier is a phase that may take an attempt to connect back. retry runs
// before the connection is dropped.
type retrier interface{ retry(c *conn) bool }

// idle is the phase between phases, and the base of the others.
type idle struct{}

func (idle) tick(int64) (int64, bool) { return 0, false }
func (idle) opened(*conn)             {}
func (idle) reply(*conn, int64)       {}
func (idle) gone(*conn, bool)         {}

// stopper is a phase that runs until it is stopped.
type stopper interface {
	phase
	stop(l *loop)
}

// commands takes what the engine has sent.
func (l *loop) commands() {
	var p [8]byte
	_, _ = unix.Read(l.wakefd, p[:]) // only its level matters
	for {
		select {
		case r := <-l.inbox:
			l.command(r)
		default:
			return
		}
	}
}

func (l *loop) command(r *request) {
	switch {
	case r.abort:
		l.finish()
		r.done <- l.take()
		return
	case r.cmd.Op == OpMark:
		st := l.take()
		l.prog.done.Store(0) // before the answer, after which Progress may be asked
		r.done <- st
		return
	case r.cmd.Op == OpStop:
		if s, ok := l.ph.(stopper); ok {
			l.waiting = r
			s.stop(l)
			return
		}
		r.done <- l.take()
		return
	}
	l.prog.done.Store(0)
	l.mark = l.now
	l.kind = KindMismatch
	if r.cmd.Size > 0 {
		l.size = r.cmd.Size
	}
	l.ph = l.newPhase(&r.cmd)
	if _, ok := l.ph.(stopper); ok {
		r.done <- l.take()
		return
	}
	l.waiting = r
}

func (l *loop) newPhase(cmd *Command) phase {
	switch cmd.Op {
	case OpConnect:
		return newConnecting(l, cmd)
	case OpRound:
		return newRound(l, cmd)
	case OpLoad:
		return newLoad(l, cmd)
	case OpPublish:
		return newPublishing(l, cmd)
	case OpDrain:
		return newDraining(l, cmd, roleReader)
	case OpResume:
		return newDraining(l, cmd, roleSlow)
	case OpChurn:
		return newChurn(l, cmd)
	case OpStall:
		return newStalling(l, cmd)
	case OpHold:
		return newHolding(l, cmd)
	case OpCut:
		return newCutting(l)
	case OpClose:
		return newClosing(l)
	}
	l.st.Fault(KindProtocol, 1, "unknown operation %q", cmd.Op)
	return finished{}
}

// finished is a phase with nothing to do.
type finished struct{ idle }

func (finished) tick(int64) (int64, bool) { return 0, true }

// finish ends the phase and answers who waits for it.
func (l *loop) finish() {
	if l.waiting != nil {
		l.waiting.done <- l.take()
		l.waiting = nil
	}
	l.ph = idle{}
}

// take returns the counters and starts new ones.
func (l *loop) take() *Stats {
	st := l.st
	st.Open = l.prog.open.Load()
	if st.Nanos == 0 {
		st.Nanos = l.now - l.mark
	}
	if l.cfg.Stall {
		st.Stalled = l.held()
	}
	l.st = NewStats()
	l.mark = l.now
	return st
}

// pacer issues things at a fixed rate from a start, whatever becomes of them.
type pacer struct {
	start    int64
	interval float64 // nanoseconds
	issued   int64
}

func newPacer(start int64, rate float64) pacer {
	if rate <= 0 {
		return pacer{}
	}
	return pacer{start: start, interval: 1e9 / rate}
}

// due is the time of the next one.
func (p *pacer) due() int64 { return p.start + int64(float64(p.issued)*p.interval) }

func (p *pacer) on() bool { return p.interval > 0 }
