package netpoll

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// ErrUserTimeout is passed to Handler.Closed when the kernel has given up on a peer that
// acknowledged no output for Config.Socket.UserTimeout (TCP_USER_TIMEOUT, tcp(7)): it is gone, or
// it does not read.
var ErrUserTimeout = errors.New("netpoll: peer has not acknowledged what it was sent")

// Progress reports whether the peer takes what it is sent: whether it has acknowledged bytes since
// the last call, or the socket has taken queued ones within d. The first call for a connection has
// nothing to compare with: output that is unacknowledged then counts if the peer has acknowledged
// anything within d. Ask before giving up on a peer that does not answer: its answer may stand
// behind megabytes.
func (t *Turn) Progress(d time.Duration) bool {
	now := look(int(t.s.fd))
	marked := t.s.oflags&oMarked != 0
	before := t.mark(now.acked)
	switch {
	case t.queueMoved(d):
		return true
	case marked:
		return now.acked != before
	}
	return now.unacked > 0 && now.since < d
}

// mark notes how much the peer has acknowledged, and returns what had been noted before.
func (t *Turn) mark(acked uint32) (before uint32) {
	index := t.c.Index()
	t.r.marks.Ensure(index)
	m := t.r.marks.At(index)
	before, *m = *m, acked
	t.s.oflags |= oMarked
	return before
}

// queueMoved reports whether bytes of the queue have left within d.
func (t *Turn) queueMoved(d time.Duration) bool {
	t.s.wmu.Lock()
	defer t.s.wmu.Unlock()
	return t.s.queue != 0 && Since(t.r.output.queues.At(t.s.queue-1).moved.Load(), t.r.now.Load()) < d
}

// acknowledgement is what a socket knows of its peer's.
type acknowledgement struct {
	unacked int           // bytes sent and not acknowledged, or not sent yet
	acked   uint32        // grows with what is acknowledged
	since   time.Duration // the last acknowledgement
}

// look asks a socket. A unix socket's peer acknowledges by reading.
func look(fd int) (a acknowledgement) {
	a.unacked, _ = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		a.acked = -uint32(a.unacked)
		return a
	}
	a.acked = uint32(info.Bytes_acked)
	a.since = time.Duration(info.Last_ack_recv) * time.Millisecond
	return a
}

// failure returns why a socket has failed, given its error.
func (t *Turn) failure(errno unix.Errno) error {
	if errno == unix.ETIMEDOUT && (t.s.queued.Load() > 0 || look(int(t.s.fd)).unacked > 0) {
		return ErrUserTimeout
	}
	return errno
}

// pendingError returns the error that a socket has reported and nobody has seen.
func (t *Turn) pendingError() error {
	errno, err := unix.GetsockoptInt(int(t.s.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || errno == 0 {
		return unix.ECONNRESET
	}
	return t.failure(unix.Errno(errno))
}
