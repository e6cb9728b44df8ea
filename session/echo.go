package session

import "wsgateway/wsproto"

// Echo is a Handler that sends every message back. Its calls are short enough for OnLoop.
type Echo struct{}

// OnOpen implements Handler.
func (Echo) OnOpen(Session, *wsproto.Request) {}

// OnMessage implements Handler.
func (Echo) OnMessage(s Session, m Message) {
	_ = s.Send(m.Opcode, m.Data) // closed or too slow: the server ends the session by itself
}

// OnClose implements Handler.
func (Echo) OnClose(Session, CloseInfo) {}
