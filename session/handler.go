package session

import "wsgateway/wsproto"

// Handler serves the sessions of a route. For one session the calls come one at a time and in
// the order below, from any of the server's workers; calls for different sessions run
// concurrently. They must not block: a worker serves many clients.
//
//	OnOpen { OnMessage } OnClose
//
// A panic in a call closes that session with 1011 and does no harm to others.
type Handler interface {
	// OnOpen is called once, after the opening handshake.
	OnOpen(s Session)
	// OnMessage delivers one whole message. It is not called any more once either side has
	// begun to close.
	OnMessage(s Session, m Message)
	// OnClose is called once, if OnOpen was, and is the last call. Sending is over: every
	// method that sends returns ErrClosed.
	OnClose(s Session, c CloseInfo)
}

// Message is a data message of a client.
type Message struct {
	Opcode wsproto.Opcode // OpText or OpBinary
	// Data is the payload; that of a text message is valid UTF-8. It belongs to the
	// server, and is valid until OnMessage returns: copy what is kept. It may be changed.
	Data []byte
}

// Initiator is who began the end of a session.
type Initiator uint8

const (
	ByTransport Initiator = iota // the connection broke, or ended without a Close frame
	ByClient                     // the client sent the first Close frame
	ByServer                     // we did, or gave up on a dead or misbehaving client
)

func (i Initiator) String() string {
	return [...]string{"transport", "client", "server"}[i]
}

// CloseInfo says how a session ended.
type CloseInfo struct {
	// Code is that of the side that began; wsproto.StatusNoStatus if its Close frame had
	// none, wsproto.StatusAbnormal if there was no Close frame.
	Code wsproto.StatusCode
	// Reason is the text of the client's Close frame, if it began. Valid UTF-8.
	Reason    string
	Initiator Initiator
	Clean     bool // both sides sent a Close frame
}

// HandlerFuncs is a Handler made of functions; nil ones do nothing.
type HandlerFuncs struct {
	Open    func(s Session)
	Message func(s Session, m Message)
	Close   func(s Session, c CloseInfo)
}

// OnOpen implements Handler.
func (h HandlerFuncs) OnOpen(s Session) {
	if h.Open != nil {
		h.Open(s)
	}
}

// OnMessage implements Handler.
func (h HandlerFuncs) OnMessage(s Session, m Message) {
	if h.Message != nil {
		h.Message(s, m)
	}
}

// OnClose implements Handler.
func (h HandlerFuncs) OnClose(s Session, c CloseInfo) {
	if h.Close != nil {
		h.Close(s, c)
	}
}
