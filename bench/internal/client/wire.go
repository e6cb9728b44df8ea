package client

import (
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"wsgateway/bench/internal/frame"
	"wsgateway/bench/internal/handshake"
)

// recv and send are raw because the sockets never block: the scheduler need
// not be told. Without blocking there is no EINTR either.
func recv(fd int32, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

func send(fd int32, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

func appendInt(p []byte, n int) []byte { return strconv.AppendInt(p, int64(n), 10) }

// readable reads until the socket is empty. A short read proves that, unless
// the peer has ended: then the end itself is still to be read.
func (l *loop) readable(c *conn, ended bool) {
	gen := c.gen
	for {
		have := 0
		if c.cold != nil {
			have = copy(l.rbuf, c.cold.in)
		}
		n, errno := recv(c.fd, l.rbuf[have:])
		switch {
		case errno == unix.EAGAIN:
			return
		case errno != 0 || n == 0:
			l.ended(c, errno)
			return
		}
		if c.cold != nil {
			c.cold.in = c.cold.in[:0]
		}
		l.now = l.clk.now()
		full := have+n == len(l.rbuf)
		used := l.consume(c, l.rbuf[:have+n])
		if c.gen != gen {
			return
		}
		if used < have+n {
			in := &l.warm(c).in
			*in = append((*in)[:0], l.rbuf[used:have+n]...)
		}
		l.flush(c)
		if c.gen != gen {
			return
		}
		l.cool(c)
		if !full && !ended {
			return
		}
	}
}

// consume handles what is complete in p and returns its length.
func (l *loop) consume(c *conn, p []byte) (used int) {
	gen := c.gen
	if c.state == stateHandshaking {
		used = handshake.HeadEnd(p)
		if used == 0 {
			if len(p) > handshake.MaxHead {
				l.fail(c, KindHandshake, "answer longer than %d bytes", handshake.MaxHead)
			}
			return 0
		}
		l.answer(c, p[:used])
	}
	for c.gen == gen && used < len(p) {
		h, complete, err := frame.Parse(p[used:])
		if err != nil {
			l.fail(c, KindProtocol, "%v", err)
			return used
		}
		if !complete {
			break
		}
		if h.Length > int64(l.cfg.MaxMessage) {
			l.fail(c, KindProtocol, "frame of %d bytes, never sent one so long", h.Length)
			return used
		}
		body := used + h.Size
		end := body + int(h.Length)
		if end > len(p) {
			break
		}
		used = end
		l.frame(c, h, p[body:end])
	}
	return used
}

// frame handles one frame of the server.
func (l *loop) frame(c *conn, h frame.Header, p []byte) {
	switch h.Opcode {
	case frame.Ping:
		l.st.Pings++
		if c.state == stateOpen && !c.stalled { // a pong would end the stall
			l.wbuf = frame.Append(l.wbuf, frame.Pong, p, l.mask())
		}
		return
	case frame.Pong:
		return
	case frame.Close:
		l.closeFrame(c, p)
		return
	}
	open := c.cold != nil && c.cold.open
	if open != (h.Opcode == frame.Continuation) {
		l.fail(c, KindProtocol, "fragments out of order (RFC 6455 §5.4)")
		return
	}
	if h.Opcode == frame.Text {
		l.fail(c, KindMismatch, "a text message, only binary ones were sent")
		return
	}
	if h.Fin && !open {
		l.message(c, p)
		return
	}
	k := l.warm(c)
	k.open = true
	k.frag = append(k.frag, p...)
	if len(k.frag) > l.cfg.MaxMessage {
		l.fail(c, KindProtocol, "message of more than %d bytes, never sent one so long", l.cfg.MaxMessage)
		return
	}
	if !h.Fin {
		return
	}
	gen := c.gen
	l.message(c, k.frag)
	if c.gen == gen {
		k.frag, k.open = k.frag[:0], false
	}
}

// message hands a whole message to what the connection is for.
func (l *loop) message(c *conn, p []byte) {
	switch {
	case c.state == stateDraining:
		l.fail(c, KindProtocol, "a frame after the Close frame")
	case c.state != stateOpen:
		// Messages under way when we closed.
	case c.role == roleStalled:
		l.fail(c, KindMismatch, "a message of %d bytes, though none was sent whole", len(p))
	case c.role == roleEcho:
		l.echoed(c, p)
	case c.role != rolePublisher:
		l.published(c, p)
	}
}

// flush writes the collected frames of c in one system call; what the socket
// does not take waits for its next writable edge.
func (l *loop) flush(c *conn) {
	if len(l.wbuf) == 0 {
		return
	}
	if c.cold != nil && len(c.cold.out) > 0 {
		l.keep(c, 0)
		return
	}
	n, errno := send(c.fd, l.wbuf)
	switch errno {
	case 0:
	case unix.EAGAIN:
		n = 0
	default:
		// The cause, a Close frame perhaps, is still to be read.
		l.wbuf = l.wbuf[:0]
		l.broken(c, errno)
		return
	}
	l.keep(c, n)
}

// broken ends a connection whose socket takes no more bytes, after reading
// what came before the end.
func (l *loop) broken(c *conn, errno unix.Errno) {
	gen := c.gen
	if l.depth == 0 {
		l.depth++
		l.readable(c, true)
		l.depth--
	}
	if c.gen == gen {
		l.ended(c, errno)
	}
}

// keep stores what is left of wbuf after n bytes, and empties it.
func (l *loop) keep(c *conn, n int) {
	if n < len(l.wbuf) {
		k := l.warm(c)
		k.out = append(k.out, l.wbuf[n:]...)
	}
	l.wbuf = l.wbuf[:0]
}

// writable continues a write that the socket had not taken whole.
func (l *loop) writable(c *conn) {
	if c.cold == nil || len(c.cold.out) == 0 {
		return
	}
	out := c.cold.out
	n, errno := send(c.fd, out)
	switch errno {
	case 0:
	case unix.EAGAIN:
		return
	default:
		l.broken(c, errno)
		return
	}
	c.cold.out = out[:copy(out, out[n:])]
	l.cool(c)
}
