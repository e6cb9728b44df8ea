package netpoll

import (
	"time"

	"golang.org/x/sys/unix"
)

// drainMax bounds the input that is read and thrown away for a peer that has been told that
// the connection is over.
const drainMax = 64 << 20

// closing moves an orderly close along: flush, shut our side down, discard input until the
// peer closes or the deadline is reached.
func (t *Turn) closing(why Reason) (more Reason) {
	s := t.s
	if s.queued.Load() == 0 && s.oflags&oShut == 0 {
		s.oflags |= oShut
		if err := unix.Shutdown(int(s.fd), unix.SHUT_WR); err != nil {
			t.done = err
			return 0
		}
	}
	for budget := t.r.cfg.TurnBytes; s.drain > 0; {
		if budget <= 0 {
			more = Readable
			break
		}
		n, errno := t.receive()
		if n > 0 {
			budget -= n
			s.drain -= uint32(min(n, int(s.drain)))
			continue
		}
		if errno == unix.EINTR {
			continue
		}
		switch {
		case errno == 0:
			s.drain = 0
		case errno != unix.EAGAIN:
			t.done = errno
			return 0
		case s.oflags&(oShut|oLinger) == oShut:
			s.drain = 0
		}
		break
	}
	switch {
	case s.oflags&oShut != 0 && s.drain == 0:
		t.done = errFlushed
	case why&Deadline != 0 && t.r.timers.overdue(t.c) >= 0:
		if left := t.closeProgress(t.r.cfg.CloseTimeout); left > 0 {
			t.r.timers.set(t.c, left)
		} else {
			t.done, t.rst = ErrCloseTimeout, s.queued.Load() > 0
		}
	case s.oflags&oMarked == 0 && s.queued.Load() > 0:
		t.MarkProgress() // where nothing is queued the peer answers soon, as a rule
	}
	return more
}

// closeProgress is Progress for an orderly close that has lasted for d or longer. If the comparison
// begins only now, the peer has made progress if it has acknowledged anything within d, be it all
// that there was. A peer whose socket does not tell that is given d once more.
func (t *Turn) closeProgress(d time.Duration) (left time.Duration) {
	first := t.s.oflags&oMarked == 0
	left, _ = t.Progress(d)
	if !first || left > 0 {
		return left
	}
	if a := look(int(t.s.fd)); a.timed {
		return max(0, d-a.since)
	}
	return d
}
