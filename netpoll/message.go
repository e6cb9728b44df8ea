package netpoll

import (
	"encoding/binary"
	"errors"
)

var (
	// ErrClosed is returned when the connection is gone, or has been given its last message.
	ErrClosed = errors.New("netpoll: connection closed")
	// ErrQueueFull is returned when a message does not fit into the outbound queue. The message is
	// not sent, and neither is any later one except the last (Message.Final), so that the peer
	// never sees a gap. The connection gets a turn with the reason Overflow.
	ErrQueueFull = errors.New("netpoll: outbound queue full")
	// ErrDropped is returned when the message was dropped by its policy. The connection goes on.
	ErrDropped = errors.New("netpoll: message dropped, outbound queue full")
)

// Policy says what happens to a message that does not fit into the outbound queue of its
// connection, because the peer reads more slowly than it is sent to.
type Policy uint8

const (
	// CloseSlow refuses the message with ErrQueueFull. In session this closes the client's session.
	// A waiting message with this policy is never dropped for another one.
	CloseSlow Policy = iota
	// DropOldest drops as many of the oldest waiting messages as needed.
	DropOldest
	// DropNewest drops the message itself and returns ErrDropped.
	DropNewest
	// KeepLatest puts the message in the place of the waiting one with the same key, even if there
	// is room for both. So at most one message of each key waits, and another one may be partly
	// sent. If the message is larger, and the queue would be full without the waiting one too, that
	// one stays: the message is dropped and ErrDropped returned. A message without a key, or with a
	// key that none waits with, is treated as with CloseSlow.
	KeepLatest
)

// Prefix is the short beginning of a message, such as a frame header, of up to 15 bytes. It is a
// plain value that needs no heap. The zero Prefix is empty.
type Prefix struct{ low, high uint64 } // the bytes in order, and their number in the last one

// MakePrefix returns a Prefix of p, which must not be longer than 15 bytes.
func MakePrefix(p []byte) Prefix {
	var b [16]byte
	if len(p) > 15 {
		panic("netpoll: prefix too long")
	}
	copy(b[:], p)
	b[15] = byte(len(p))
	return Prefix{binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])}
}

func (x Prefix) len() int { return int(x.high >> 56) }

// put writes the prefix to b and returns the part of b that it takes.
func (x Prefix) put(b *[16]byte) []byte {
	binary.LittleEndian.PutUint64(b[:8], x.low)
	binary.LittleEndian.PutUint64(b[8:], x.high)
	return b[:x.len()]
}

// Message is something to be sent: Prefix, then Body.
type Message struct {
	Prefix Prefix
	// Body is the caller's again when Send returns, unless Shared is set.
	Body []byte
	// Key is for KeepLatest; 0 for none.
	Key    uint64
	Policy Policy
	// Shared says that the reactor may keep Body without copying it: it must never change again,
	// and may be sent to any number of connections.
	Shared bool
	// Urgent is for a message that matters only until the next one of its kind, such as a pong
	// (RFC 6455 §5.5.3). It overtakes all waiting messages except one that is partly sent, and
	// replaces an urgent message that still waits. It never fills the queue of its connection. When
	// all queues together are full it is dropped without an error. Policy does not apply to it. Like
	// others it gets ErrQueueFull after a message that was refused.
	Urgent bool
	// Final is for the last message of a connection. Every later one is refused with ErrClosed. If
	// two goroutines send a Final message, one of them gets ErrClosed and so knows that the other
	// was first. A Final message is accepted even if the queue is full.
	Final bool
}

// Send sends one message, in the order of the calls. It never blocks: what the socket does not
// take waits in the connection's outbound queue. While a turn of this connection runs, the message
// is collected and leaves at the turn's end. Any goroutine may call it.
//
// Errors: ErrClosed, ErrQueueFull, and ErrDropped with a policy that drops.
func (r *Reactor) Send(c Conn, m Message) error {
	if !r.known(c) {
		return ErrClosed
	}
	why, err := r.output.send(c, r.slots.At(c.Index()), &m)
	if why != 0 {
		r.wake(c, why)
	}
	return err
}

// Queued returns how many bytes wait in the outbound queue of c, the cost of their
// bookkeeping included. Any goroutine may ask.
func (r *Reactor) Queued(c Conn) int {
	if !r.known(c) {
		return 0
	}
	s := r.slots.At(c.Index())
	n := s.queued.Load()
	if uint32(s.word.Load()>>32) != c.Gen() {
		return 0
	}
	return int(n)
}
