package session

import (
	"sync/atomic"

	"wsgateway/wsproto"
)

// Echo sends every message back.
type Echo struct{}

func (Echo) OnOpen(Session, *wsproto.Request)  {}
func (Echo) OnMessage(s Session, m Message)    { _ = s.Send(m.Opcode, m.Data) }
func (Echo) OnClose(s Session, info CloseInfo) {}

// Broadcast sends every message to all sessions that it serves.
type Broadcast struct{ srv atomic.Pointer[Server] }

func NewBroadcast() *Broadcast { return new(Broadcast) }

func (b *Broadcast) OnOpen(s Session, _ *wsproto.Request) {
	b.srv.Store(s.Server())
	_ = s.Join("everybody")
}

func (b *Broadcast) OnMessage(s Session, m Message) { _ = b.Send(Prepare(m.Opcode, m.Data)) }

func (b *Broadcast) OnClose(Session, CloseInfo) {}

func (b *Broadcast) Send(m *Prepared) error {
	_, err := b.srv.Load().Publish("everybody", m)
	return err
}
