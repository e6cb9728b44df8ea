package client

import (
	"fmt"

	"golang.org/x/sys/unix"

	"wsgateway/bench/internal/frame"
)

// state of a connection:
//
//	dead -> connecting -> handshaking -> open -> closing -> draining -> dead
//
// and from everywhere back to dead.
type state uint8

const (
	stateDead        state = iota
	stateConnecting        // connect has not completed
	stateHandshaking       // request sent, no complete answer yet
	stateOpen
	stateClosing  // our Close frame is sent
	stateDraining // the server's Close frame came, its FIN has not
)

type role uint8

const (
	roleEcho role = iota
	roleReader
	roleSlow // a reader that stops reading
	rolePublisher
	roleStalled // stops in the middle of something
)

// conn is one client connection. Only its loop touches it.
type conn struct {
	cold  *cold // nil while nothing is buffered
	since int64 // when the state began, for connecting, handshaking and closing

	fd      int32
	gen     uint32 // incremented at every end: events of an earlier fd are stale
	id      uint32
	cycle   uint32 // incremented at every dial
	sent    uint32 // messages; for a reader unused
	recv    uint32 // messages; for a reader the number expected next
	skipped uint32 // reader: numbers jumped over
	target  uint16
	state   state
	role    role
	active  bool // takes part in the running load
	stalled bool // has come to where it stalls
	evicted bool // and was ended there by the server
}

// cold are the buffers of a connection that waits for something. They are
// pooled by the loop.
type cold struct {
	in   []byte // start of an incomplete head or frame
	out  []byte // not yet taken by the socket
	frag []byte // message so far, while fragmented
	open bool   // a fragmented message has begun
}

func (c *cold) empty() bool { return len(c.in) == 0 && len(c.out) == 0 && !c.open }

func (l *loop) warm(c *conn) *cold {
	if c.cold == nil {
		if n := len(l.colds); n > 0 {
			c.cold, l.colds = l.colds[n-1], l.colds[:n-1]
		} else {
			c.cold = new(cold)
		}
	}
	return c.cold
}

// cool gives the buffers back when they hold nothing.
func (l *loop) cool(c *conn) {
	if c.cold != nil && c.cold.empty() {
		l.colds = append(l.colds, c.cold)
		c.cold = nil
	}
}

// drop ends the connection without judging it.
func (l *loop) drop(c *conn) {
	if c.state == stateDead {
		return
	}
	if c.state >= stateOpen {
		l.prog.open.Add(-1)
	}
	_ = unix.Close(int(c.fd)) // leaves the epoll set as well: the fd has no duplicate
	c.fd, c.state = -1, stateDead
	c.gen++
	if c.cold != nil {
		c.cold.in, c.cold.out, c.cold.frag, c.cold.open = c.cold.in[:0], c.cold.out[:0], c.cold.frag[:0], false
		l.cool(c)
	}
	l.wbuf = l.wbuf[:0]
}

// reset drops the connection with an RST.
func (l *loop) reset(c *conn) {
	_ = unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	l.drop(c)
}

// fail counts an error, drops the connection and tells the phase.
func (l *loop) fail(c *conn, kind, format string, args ...any) {
	l.st.Fault(kind, 1, "connection %d: %s", c.id, fmt.Sprintf(format, args...))
	l.prog.errors.Add(1)
	l.end(c)
}

// end drops the connection and tells the phase.
func (l *loop) end(c *conn) {
	opened := c.state >= stateOpen
	l.drop(c)
	l.ph.gone(c, opened)
}

// ended judges the end of the byte stream.
func (l *loop) ended(c *conn, errno unix.Errno) {
	how := "end of stream"
	if errno != 0 {
		how = errno.Error()
	}
	switch {
	case c.stalled && errno == 0:
		l.evicted(c, "EOF")
	case c.stalled && (errno == unix.ECONNRESET || errno == unix.EPIPE):
		l.evicted(c, "RST")
	case c.stalled:
		l.evicted(c, how)
	case c.state == stateDraining:
		l.end(c)
	case c.state == stateClosing:
		l.fail(c, KindClosing, "%s instead of an answer to our Close frame", how)
	case c.state == stateOpen && c.role == roleSlow:
		bump(&l.st.SlowClosed, "1006", 1)
		l.end(c)
	case c.state == stateOpen:
		l.fail(c, closedKind(frame.Abnormal), "%s without a Close frame", how)
	case c.state == stateHandshaking:
		l.refused(c, KindHandshake, how+" instead of an answer to the handshake")
	default:
		l.refused(c, KindDial, "connect: "+how)
	}
}

func closedKind(code int) string { return fmt.Sprintf("closed-%d", code) }

// beginClose sends a Close frame; the caller flushes.
func (l *loop) beginClose(c *conn) {
	c.state, c.since = stateClosing, l.now
	l.wbuf = frame.Append(l.wbuf, frame.Close, []byte{1000 >> 8, 1000 & 0xff}, l.mask())
}

// closeFrame judges a Close frame of the server.
func (l *loop) closeFrame(c *conn, p []byte) {
	code, err := frame.CloseCode(p)
	switch {
	case err != nil:
		l.fail(c, KindProtocol, "%v", err)
	case c.stalled:
		l.evicted(c, fmt.Sprint(code))
	case c.state == stateClosing:
		bump(&l.st.Closes, fmt.Sprint(code), 1)
		c.state = stateDraining
	case c.state == stateDraining:
		l.fail(c, KindProtocol, "a frame after the Close frame")
	case c.role == roleSlow:
		bump(&l.st.SlowClosed, fmt.Sprint(code), 1)
		l.end(c)
	default:
		l.fail(c, closedKind(code), "closed by the server, code %d %q", code, p[min(2, len(p)):])
	}
}
