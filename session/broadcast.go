package session

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"wsgateway/wsproto"
)

// Broadcast is a Handler that sends every message to all sessions of its route, the sender
// included. It is encoded once. A client that does not read fast enough is closed and holds
// nobody up. The messages of one sender reach every receiver in their order. NewBroadcast makes one.
type Broadcast struct {
	channel string // of a name that no client can choose

	mu      sync.Mutex
	servers []*Server // whose routes it serves
}

var broadcasts atomic.Uint64

// NewBroadcast returns a Broadcast with nobody in it.
func NewBroadcast() *Broadcast {
	return &Broadcast{channel: fmt.Sprintf("\x00broadcast %d", broadcasts.Add(1))}
}

// OnOpen implements Handler.
func (b *Broadcast) OnOpen(s Session, _ *wsproto.Request) {
	b.mu.Lock()
	if !slices.Contains(b.servers, s.srv) {
		b.servers = append(b.servers, s.srv)
	}
	b.mu.Unlock()
	_ = s.srv.join(s.c, b.channel) // or it has ended
}

// OnClose implements Handler.
func (b *Broadcast) OnClose(Session, CloseInfo) {}

// OnMessage implements Handler. A message that comes while too many wait is dropped, and the sender
// is closed with 1013: it would not know otherwise.
func (b *Broadcast) OnMessage(s Session, m Message) {
	if b.Send(Prepare(m.Opcode, m.Data)) != nil {
		_ = s.Close(1013, "too many messages")
	}
}

// Send sends m to every session of the route, on each server that has one. Any goroutine may call it.
//
// Errors: ErrBusy when too many messages wait to be sent, on a server that has not taken m then; ErrPayload.
func (b *Broadcast) Send(m *Prepared) error {
	if m.err != nil {
		return m.err
	}
	b.mu.Lock()
	servers := b.servers
	b.mu.Unlock()
	var err error
	for _, srv := range servers {
		if ch := srv.channels.find(b.channel); ch != nil {
			err = errors.Join(err, srv.fanout.publish(ch, m, nil))
		}
	}
	return err
}
