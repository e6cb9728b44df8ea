package session

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"unicode/utf8"
	"unsafe"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// Send sends one message, text or binary. It never blocks. What the socket cannot take at once
// waits in the session's outbound queue. Route.Outbound says what happens when that is full. p is
// the caller's again when Send returns. Text must be valid UTF-8. The message is compressed if
// Route.Deflate is set and the client has agreed.
//
// Errors: ErrClosed, ErrQueueFull, ErrDropped, ErrPayload, ErrNotUTF8.
func (s Session) Send(op Opcode, p []byte) error { return s.send(op, p, 0) }

// SendKeyed sends a message that matters only until the next one with its key, as the price of one
// symbol does. See KeepLatest. Other policies ignore the key.
func (s Session) SendKeyed(key string, op Opcode, p []byte) error {
	return s.send(op, p, hashKey(key))
}

func (s Session) send(op Opcode, p []byte, key uint64) error {
	if op != OpText && op != OpBinary {
		return ErrPayload
	}
	if op == OpText && !utf8.Valid(p) {
		return ErrNotUTF8
	}
	if s.srv == nil {
		return ErrClosed
	}
	sent, err := s.sendDeflated(op, p, key)
	if !sent {
		err = s.srv.tr.Send(s.c, netpoll.Message{Prefix: header(op, len(p)), Body: p, Policy: s.srv.table.policy(s.c), Key: key})
	}
	if err != nil {
		return err
	}
	s.srv.stats.sent(s.c, op)
	return nil
}

// SendText sends a text message, see Send. It does not copy text before that.
func (s Session) SendText(text string) error {
	return s.Send(OpText, unsafe.Slice(unsafe.StringData(text), len(text))) // Send only reads it
}

// SendBinary sends a binary message, see Send.
func (s Session) SendBinary(p []byte) error { return s.Send(OpBinary, p) }

// Prepared is a message that is encoded once and sent to many sessions. For sessions that use
// compression it is compressed once. It is immutable.
type Prepared struct {
	frame   []byte
	payload []byte // of frame
	key     uint64 // 0 for none
	op      Opcode
	err     error // why it cannot be sent: ErrPayload or ErrNotUTF8

	packing sync.Mutex
	packed  atomic.Pointer[packedFrames]
}

// Prepare encodes a message, text or binary. It copies p. It returns no error: if op is another
// opcode, each call that sends the result returns ErrPayload, and if text is not valid UTF-8,
// ErrNotUTF8.
func Prepare(op Opcode, p []byte) *Prepared {
	n := wsproto.HeaderLen(len(p))
	frame := wsproto.AppendFrame(make([]byte, 0, n+len(p)), op, p)
	m := &Prepared{op: op, frame: frame, payload: frame[n:]}
	switch {
	case !op.IsData():
		m.err = ErrPayload
	case op == OpText && !utf8.Valid(p):
		m.err = ErrNotUTF8
	}
	return m
}

// PrepareKeyed encodes a message that matters only until the next one with its key, see
// Session.SendKeyed. It copies p.
func PrepareKeyed(key string, op Opcode, p []byte) *Prepared {
	m := Prepare(op, p)
	m.key = hashKey(key)
	return m
}

// SendPrepared sends a prepared message, see Send. Queues share its memory.
//
// Errors: ErrClosed, ErrQueueFull, ErrDropped, ErrPayload, ErrNotUTF8.
func (s Session) SendPrepared(m *Prepared) error {
	if m.err != nil {
		return m.err
	}
	if s.srv == nil {
		return ErrClosed
	}
	frame := m.frame
	packed := m.deflated(s)
	if packed != nil {
		frame = packed
	}
	if err := s.srv.tr.Send(s.c, netpoll.Message{Body: frame, Shared: true, Policy: s.srv.table.policy(s.c), Key: m.key}); err != nil {
		return err
	}
	if packed != nil {
		s.srv.deflate.count(s.c, len(packed), len(m.payload))
	}
	s.srv.stats.sent(s.c, m.op)
	return nil
}

var keySeed = maphash.MakeSeed()

// hashKey returns the hash by which messages with a key are told apart; never 0, which is none.
func hashKey(key string) uint64 { return max(1, maphash.String(keySeed, key)) }
