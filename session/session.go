package session

import (
	"errors"
	"net/netip"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

var (
	// ErrClosed is returned by calls on a session that has ended. Calls that send, join or close
	// return it as soon as either side has begun to close.
	ErrClosed = netpoll.ErrClosed
	// ErrQueueFull is returned when a message does not fit into the session's outbound
	// queue: the client does not read as fast as it is sent to. The message is dropped,
	// and the session is closed with Route.SlowCode.
	ErrQueueFull = netpoll.ErrQueueFull
	// ErrDropped is returned when Route.Outbound has dropped the message. The session goes on.
	ErrDropped = netpoll.ErrDropped
	// ErrPayload is returned for a control payload over 125 bytes, a Close code that must
	// not be sent (RFC 6455 §7.4.1), or an opcode other than OpText and OpBinary.
	ErrPayload = errors.New("session: payload or code cannot be sent")
	// ErrNotUTF8 is returned when a text message is not valid UTF-8 (RFC 6455 §5.6, §8.1). A client
	// would have to fail the connection.
	ErrNotUTF8 = errors.New("session: text is not valid UTF-8")
)

// Session is a handle to one client's session: a small comparable value, which may be kept for as
// long as the caller likes. Any goroutine may use it. Once the session has ended, calls return
// ErrClosed or zero values, never those of a later client. The zero Session acts like one that has
// ended.
type Session struct {
	srv *Server
	c   conn
}

// SendPing sends a ping of up to 125 bytes. The server pings silent clients by itself. If
// Route.Outbound drops messages it may drop this one too.
func (s Session) SendPing(p []byte) error { return s.control(wsproto.OpPing, p) }

// SendPong sends an unsolicited pong of up to 125 bytes. The server answers pings by itself.
func (s Session) SendPong(p []byte) error { return s.control(wsproto.OpPong, p) }

func (s Session) control(op Opcode, p []byte) error {
	if len(p) > wsproto.MaxControlPayload {
		return ErrPayload
	}
	if s.srv == nil {
		return ErrClosed
	}
	policy := s.srv.table.policy(s.c)
	if policy != CloseSlow {
		policy = DropNewest
	}
	return s.srv.tr.Send(s.c, netpoll.Message{Prefix: header(op, len(p)), Body: p, Policy: policy})
}

// answerPing answers a ping. Of those that wait behind a full socket only the latest needs an answer
// (RFC 6455 §5.5.3).
func (s Session) answerPing(p []byte) {
	_ = s.srv.tr.Send(s.c, netpoll.Message{Prefix: header(wsproto.OpPong, len(p)), Body: p, Urgent: true}) // ErrClosed: we have sent Close
}

// Close begins the closing handshake with a status code and a reason. At most 123 bytes of the
// reason are sent. StatusNoStatus sends an empty Close frame. After Close nothing can be sent, and
// no message is delivered any more. The client is cut off if it does not answer and takes none of
// what it was sent for Config.Reactor.CloseTimeout.
//
// Errors: ErrClosed if either side has begun before, ErrPayload for a code that must not be sent.
func (s Session) Close(code StatusCode, reason string) error {
	if code != StatusNoStatus && !code.Sendable() {
		return ErrPayload
	}
	if s.srv == nil {
		return ErrClosed
	}
	return s.beginClose(code, reason)
}

// Server returns the server that the session belongs to, nil for the zero Session.
func (s Session) Server() *Server { return s.srv }

// ID returns the session's id: 22 characters of base64url. It is unique and reveals nothing to the
// client. Server.Lookup finds the session by it.
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
	return s.srv.table.available(s.c)
}

// Path returns the path of the request, as it was sent.
func (s Session) Path() string {
	if s.srv == nil {
		return ""
	}
	return s.srv.table.path(s.c)
}

// Subprotocol returns the subprotocol that was agreed on, or "".
func (s Session) Subprotocol() string {
	if s.srv == nil {
		return ""
	}
	r, m, d, ok := s.srv.table.info(s.c)
	if !ok {
		return ""
	}
	if m.subprotocol() == 0 {
		return d.subprotocol
	}
	return r.Subprotocols[m.subprotocol()-1]
}

// Deflated reports whether compression (permessage-deflate) has been agreed on.
func (s Session) Deflated() bool {
	if s.srv == nil {
		return false
	}
	_, m, _, ok := s.srv.table.info(s.c)
	return ok && m.deflated()
}

// RemoteAddr returns the address of the other end of the connection: the client's, or the load
// balancer's. It is the zero AddrPort for a unix socket and once OnClose has returned.
func (s Session) RemoteAddr() netip.AddrPort {
	if s.srv == nil {
		return netip.AddrPort{}
	}
	peer := s.srv.tr.Peer(s.c)
	if !peer.IsValid() {
		if end := s.srv.calls.tombstone(s.c); end != nil {
			return end.peer
		}
	}
	return peer
}

// BufferedAmount returns how many bytes wait in the outbound queue.
func (s Session) BufferedAmount() int {
	if s.srv == nil {
		return 0
	}
	return s.srv.tr.Queued(s.c)
}
