package netpoll

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// ErrUserTimeout is passed to Handler.Closed when the kernel has given up on a peer because of
// Config.Socket.UserTimeout. The peer is gone, does not read, or has too small a window. If
// UserTimeout is 0, the kernel gives up after its own time (net.ipv4.tcp_retries2), and Closed is
// told ETIMEDOUT.
var ErrUserTimeout = errors.New("netpoll: peer has not acknowledged what it was sent")

// Progress tells whether the peer takes its output. It is for a caller that waits for an answer,
// while megabytes may still be on their way to the peer in front of the question. left is 0 if the
// peer has taken nothing within d. Otherwise it is how much of d is left since the peer last took
// something: wait so long before asking again.
//
// The peer takes something when the socket takes queued bytes. It also does when it acknowledges
// bytes between two calls of Progress, if other bytes are unacknowledged at one of the two calls.
// (A peer that has acknowledged everything has got the question, and owes the answer.) The first
// call has nothing to compare with. If output is unacknowledged then, it counts as progress if the
// peer has acknowledged anything within d. After MarkProgress the next call is a second one.
//
// A unix socket does not tell when its peer last read, but only how much it has yet to read. So the
// first call finds out nothing if output is unread and none is queued: known is false, and the
// caller asks again after d. A later call sees progress only if less is unread than before. A peer
// that is sent more than it reads soon has a queue, which then tells.
func (t *Turn) Progress(d time.Duration) (left time.Duration, known bool) {
	now := look(int(t.s.fd))
	first, behind := t.s.oflags&oMarked == 0, t.s.oflags&oBehind != 0
	before := t.mark(now)
	since, queued := t.queueMoved()
	if queued {
		left = max(0, d-since)
	}
	if first && !now.timed {
		return left, queued || now.unacked == 0
	}
	if first && now.unacked > 0 || !first && int32(now.acked-before) > 0 && (behind || now.unacked > 0) {
		left = max(left, d-now.since)
	}
	return left, true
}

// MarkProgress starts the comparison: the next call of Progress counts what the peer takes from now
// on.
func (t *Turn) MarkProgress() {
	t.mark(look(int(t.s.fd)))
	t.s.oflags |= oBehind // what is being sent now will be
}

// mark notes what the peer has acknowledged, and returns how much it had when that was noted last.
func (t *Turn) mark(now acknowledgement) (before uint32) {
	index := t.c.Index()
	t.r.marks.Ensure(index)
	m := t.r.marks.At(index)
	before, *m = *m, now.acked
	t.s.oflags = t.s.oflags&^oBehind | oMarked
	if now.unacked > 0 {
		t.s.oflags |= oBehind
	}
	return before
}

// queueMoved returns how long ago bytes of the queue left, or the first came in; ok is false if
// there is no queue.
func (t *Turn) queueMoved() (since time.Duration, ok bool) {
	t.s.wmu.Lock()
	defer t.s.wmu.Unlock()
	if t.s.queue == 0 {
		return 0, false
	}
	return Since(t.r.output.queues.At(t.s.queue-1).moved.Load(), t.r.Now()), true
}

// acknowledgement is what a socket knows of its peer's.
type acknowledgement struct {
	unacked int           // bytes sent and not acknowledged, or not sent yet
	acked   uint32        // grows with what is acknowledged; on a unix socket what we send lessens it
	since   time.Duration // the last acknowledgement, if timed
	timed   bool          // the socket tells when that was
}

// look asks a socket. A unix socket's peer acknowledges by reading. What it has yet to read counts
// with the kernel's bookkeeping (SIOCOUTQ, unix(7)).
func look(fd int) (a acknowledgement) {
	a.unacked, _ = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		a.acked = -uint32(a.unacked)
		return a
	}
	a.acked = uint32(info.Bytes_acked)
	a.since, a.timed = time.Duration(info.Last_ack_recv)*time.Millisecond, true
	return a
}

// failure returns why a socket has failed, given its error.
func (t *Turn) failure(errno unix.Errno) error {
	if errno == unix.ETIMEDOUT && (t.s.queued.Load() > 0 || look(int(t.s.fd)).unacked > 0) {
		return t.unacknowledged()
	}
	return errno // ETIMEDOUT: by keepalive
}

// unacknowledged returns why the kernel has given up on a peer that has not acknowledged output.
func (t *Turn) unacknowledged() error {
	if t.r.cfg.Socket.UserTimeout > 0 {
		return ErrUserTimeout
	}
	return unix.ETIMEDOUT
}

// pendingError returns the error that a socket has reported and nobody has seen.
func (t *Turn) pendingError() error {
	errno, err := unix.GetsockoptInt(int(t.s.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || errno == 0 {
		return unix.ECONNRESET
	}
	return t.failure(unix.Errno(errno))
}
