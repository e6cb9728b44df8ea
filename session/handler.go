package session

import (
	"fmt"
)

// Handler serves the sessions of a route. For one session the calls come one at a time and in
// the order below, from any of the server's workers; calls for different sessions run
// concurrently. Route.Mode says whether they may block: by default they may.
//
//	OnOpen { OnMessage | OnBinary | OnPing | OnPong } [ OnError ] OnClose
//
// A panic in a call closes that session with 1011 and affects no other. So does runtime.Goexit,
// which testing.T.FailNow calls. A handler may also be a BinaryHandler, a PingHandler, a
// PongHandler and an ErrorHandler.
type Handler interface {
	// OnOpen is called once, after the opening handshake. The whole request is valid until OnOpen
	// returns. Route.Retain keeps fields of it for longer.
	OnOpen(s Session, r *Request)
	// OnMessage delivers one whole message. It is not called after either side has begun to close.
	OnMessage(s Session, m Message)
	// OnClose is called once if OnOpen was called, and is the last call. Every method that sends
	// returns ErrClosed by then.
	OnClose(s Session, c CloseInfo)
}

// BinaryHandler is a Handler that wants binary messages apart from text.
type BinaryHandler interface {
	// OnBinary is called instead of OnMessage for a binary message. p is valid until it returns,
	// see Message.Data.
	OnBinary(s Session, p []byte)
}

// PingHandler is a Handler that wants to see pings.
type PingHandler interface {
	// OnPing is called with the payload of a ping, valid until it returns. It reports whether the
	// server is to answer it, as RFC 6455 §5.5.2 demands.
	OnPing(s Session, p []byte) (pong bool)
}

// PongHandler is a Handler that wants to see pongs: the answers to Session.SendPing, those to the
// server's own pings, and unsolicited ones.
type PongHandler interface {
	// OnPong is called with the payload of a pong, valid until it returns.
	OnPong(s Session, p []byte)
}

// ErrorHandler is a Handler that wants to know why a session fails.
type ErrorHandler interface {
	// OnError is called before OnClose if the session does not end in an orderly way. err is a
	// *ProtocolError for what the client did wrong, or wraps ErrEvicted, ErrTooSlow, ErrFlood or
	// ErrBroken.
	OnError(s Session, err error)
}

// Message is a data message of a client.
type Message struct {
	Opcode Opcode // OpText or OpBinary
	// Data is the payload. Text is valid UTF-8. Data belongs to the server and is valid until
	// OnMessage returns: copy it to keep it. The handler may change it.
	Data []byte
}

// Initiator says which side began the end of a session.
type Initiator uint8

const (
	ByTransport Initiator = iota // the connection broke, or ended without a Close frame
	ByClient                     // the client sent the first Close frame
	ByServer                     // the server sent the first Close frame, or cut the client off
)

// String returns "transport", "client" or "server".
func (i Initiator) String() string {
	names := [...]string{"transport", "client", "server"}
	if int(i) >= len(names) {
		return fmt.Sprintf("Initiator(%d)", uint8(i))
	}
	return names[i]
}

// MarshalText implements encoding.TextMarshaler: logs and JSON show the word.
func (i Initiator) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// CloseInfo says how a session ended.
type CloseInfo struct {
	// Code is the code of the side that began: StatusNoStatus if its Close frame had no code,
	// StatusAbnormal if there was no Close frame.
	Code StatusCode
	// Reason is the text of the client's Close frame if the client began. It is valid UTF-8.
	Reason    string
	Initiator Initiator
	Clean     bool // both sides sent a Close frame
}

// HandlerFuncs is a Handler made of functions. A nil function does nothing, with two exceptions:
// without Binary, Message gets binary messages too, and without Ping, pings are answered.
type HandlerFuncs struct {
	Open    func(s Session, r *Request)
	Message func(s Session, m Message)
	Binary  func(s Session, p []byte)
	Ping    func(s Session, p []byte) (pong bool)
	Pong    func(s Session, p []byte)
	Error   func(s Session, err error)
	Close   func(s Session, c CloseInfo)
}

// OnOpen implements Handler.
func (h HandlerFuncs) OnOpen(s Session, r *Request) {
	if h.Open != nil {
		h.Open(s, r)
	}
}

// OnMessage implements Handler.
func (h HandlerFuncs) OnMessage(s Session, m Message) {
	if h.Message != nil {
		h.Message(s, m)
	}
}

// OnBinary implements BinaryHandler.
func (h HandlerFuncs) OnBinary(s Session, p []byte) {
	if h.Binary != nil {
		h.Binary(s, p)
		return
	}
	h.OnMessage(s, Message{OpBinary, p})
}

// OnPing implements PingHandler.
func (h HandlerFuncs) OnPing(s Session, p []byte) bool { return h.Ping == nil || h.Ping(s, p) }

// OnPong implements PongHandler.
func (h HandlerFuncs) OnPong(s Session, p []byte) {
	if h.Pong != nil {
		h.Pong(s, p)
	}
}

// OnError implements ErrorHandler.
func (h HandlerFuncs) OnError(s Session, err error) {
	if h.Error != nil {
		h.Error(s, err)
	}
}

// OnClose implements Handler.
func (h HandlerFuncs) OnClose(s Session, c CloseInfo) {
	if h.Close != nil {
		h.Close(s, c)
	}
}
