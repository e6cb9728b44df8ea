package session

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

var (
	// ErrClosed is returned by calls on a session that has ended or is closing.
	ErrClosed = netpoll.ErrClosed
	// ErrQueueFull is returned when a message does not fit into the session's outbound
	// queue: the client does not read as fast as it is sent to. The message is dropped
	// and the session is being closed with 1013.
	ErrQueueFull = netpoll.ErrQueueFull
	// ErrPayload is returned for a control payload over 125 bytes, a Close code that must
	// not be sent (RFC 6455 §7.4.1), or an opcode that is no data opcode.
	ErrPayload = errors.New("session: payload or code cannot be sent")
)

// Session is a handle to one client's session: a small comparable value, which may be kept and
// used from any goroutine for as long as one likes. Once the session has ended, calls return
// ErrClosed or zero values, never those of another client that took its place. The zero
// Session is one that has ended.
type Session struct {
	srv *Server
	c   conn
}

// Send sends one message, text or binary. It never blocks. What the socket cannot take at once
// waits in the session's outbound queue. p is the caller's again when Send returns. Text
// must be valid UTF-8; that is not checked. It is compressed where Route.Deflate says so and the
// client has agreed.
//
// Errors: ErrClosed, ErrQueueFull, ErrPayload.
func (s Session) Send(op wsproto.Opcode, p []byte) error {
	if op != wsproto.OpText && op != wsproto.OpBinary {
		return ErrPayload
	}
	if s.srv == nil {
		return ErrClosed
	}
	sent, err := s.srv.sendDeflated(s.c, op, p)
	if !sent {
		err = s.srv.tr.Send(s.c, header(op, len(p)), p)
	}
	if err != nil {
		return err
	}
	s.srv.stats.sent(s.c, op)
	return nil
}

// SendText sends a text message, see Send.
func (s Session) SendText(text string) error { return s.Send(wsproto.OpText, []byte(text)) }

// SendBinary sends a binary message, see Send.
func (s Session) SendBinary(p []byte) error { return s.Send(wsproto.OpBinary, p) }

// Prepared is a message that has been encoded once, to be sent to many sessions, and is
// compressed at most once, for those that have agreed on it. It is immutable.
type Prepared struct {
	frame   []byte
	payload []byte // of frame
	op      wsproto.Opcode

	packing sync.Mutex
	packed  atomic.Pointer[[]byte] // the compressed frame, nil bytes if it does not pay
}

// Prepare encodes a message, text or binary. It copies p.
func Prepare(op wsproto.Opcode, p []byte) *Prepared {
	n := wsproto.HeaderLen(len(p))
	frame := wsproto.AppendFrame(make([]byte, 0, n+len(p)), op, p)
	return &Prepared{op: op, frame: frame, payload: frame[n:]}
}

// SendPrepared sends a prepared message, see Send. Queues share its memory.
func (s Session) SendPrepared(m *Prepared) error {
	if s.srv == nil {
		return ErrClosed
	}
	frame := m.frame
	packed := m.deflated(s.srv, s.c)
	if packed != nil {
		frame = packed
	}
	if err := s.srv.tr.SendShared(s.c, frame); err != nil {
		return err
	}
	if packed != nil {
		s.srv.deflate.count(s.c, len(packed), len(m.payload))
	}
	s.srv.stats.sent(s.c, m.op)
	return nil
}

// SendPing sends a ping of up to 125 bytes. The server pings silent clients by itself.
func (s Session) SendPing(p []byte) error { return s.control(wsproto.OpPing, p) }

// SendPong sends an unsolicited pong of up to 125 bytes. The server answers pings by itself.
func (s Session) SendPong(p []byte) error { return s.control(wsproto.OpPong, p) }

func (s Session) control(op wsproto.Opcode, p []byte) error {
	if len(p) > wsproto.MaxControlPayload {
		return ErrPayload
	}
	if s.srv == nil {
		return ErrClosed
	}
	return s.srv.tr.Send(s.c, header(op, len(p)), p)
}

// Close begins the closing handshake with a status code and a reason of at most 123 bytes of
// UTF-8; StatusNoStatus sends an empty Close frame. Nothing can be sent after it, and no
// message is delivered any more. The client has Config.Reactor.CloseTimeout to answer.
//
// Errors: ErrClosed if either side has begun before, ErrPayload.
func (s Session) Close(code wsproto.StatusCode, reason string) error {
	if code != wsproto.StatusNoStatus && !code.Sendable() {
		return ErrPayload
	}
	if s.srv == nil {
		return ErrClosed
	}
	return s.srv.beginClose(s.c, code, reason)
}

// ID returns the session's id: 22 characters of base64url, unique, and telling the client
// nothing. Server.Lookup finds the session by it.
func (s Session) ID() string {
	if s.srv == nil {
		return ""
	}
	return s.srv.ids.encode(s.c)
}

// IsAvailable reports whether the session is open and neither side has begun to close it.
func (s Session) IsAvailable() bool {
	if s.srv == nil {
		return false
	}
	_, open := s.srv.meta(s.c)
	return open && !s.srv.record(s.c).closing(s.c)
}

// Path returns the path of the request, as it was sent.
func (s Session) Path() string {
	if s.srv == nil {
		return ""
	}
	return s.srv.path(s.c)
}

// Subprotocol returns the subprotocol that was agreed on, or "".
func (s Session) Subprotocol() string {
	if s.srv == nil {
		return ""
	}
	m, ok := s.srv.meta(s.c)
	if !ok {
		return ""
	}
	if m.subprotocol() == 0 {
		return s.srv.extra(s.c).subprotocol
	}
	return s.srv.routes.at(m.route()).Subprotocols[m.subprotocol()-1]
}

// Deflated reports whether compression (permessage-deflate) has been agreed on.
func (s Session) Deflated() bool {
	if s.srv == nil {
		return false
	}
	m, ok := s.srv.meta(s.c)
	return ok && m.deflated()
}

// RemoteAddr returns the address of the other end of the connection: the client's, or the load
// balancer's. It is the zero AddrPort for a unix socket and once the session has ended.
func (s Session) RemoteAddr() netip.AddrPort {
	if s.srv == nil {
		return netip.AddrPort{}
	}
	return s.srv.tr.Peer(s.c)
}

// BufferedAmount returns how many bytes wait in the outbound queue.
func (s Session) BufferedAmount() int {
	if s.srv == nil {
		return 0
	}
	return s.srv.tr.Queued(s.c)
}
