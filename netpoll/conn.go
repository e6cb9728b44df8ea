package netpoll

import "sync/atomic"

// Conn names one connection of a [Reactor]: a slot and the generation of its use. It is a
// plain value that may be kept, compared and used from any goroutine for ever; once the
// connection is gone every call with it fails with [ErrClosed], although slot and
// descriptor may belong to somebody else by then. The zero Conn names no connection.
type Conn uint64

// MakeConn returns the connection that used, uses or will use slot index for the gen-th time.
func MakeConn(index, gen uint32) Conn { return Conn(gen)<<32 | Conn(index) }

// Index returns the slot of c: dense, below [Reactor.Capacity], and free for tables that run
// parallel to the reactor's own. It is valid for such a use until Handler.Closed returns.
func (c Conn) Index() uint32 { return uint32(c) }

// Gen returns the generation: how often the slot had been used before, plus one.
func (c Conn) Gen() uint32 { return uint32(c >> 32) }

// The state word of a connection: generation<<32 | reasons<<8 | inline | state. It decides who owns
// the connection, and is only changed by compare-and-swap, so that an event for an earlier
// use of the slot can never be taken for this one.
//
//	state    event or wake-up      taken from a list   turn ends      budget spent
//	idle     queued, to a list     -                   -              -
//	queued   reason added          running             -              -
//	running  dirty                 -                   idle           queued, to the tail
//	dirty    reason added          -                   queued, tail   queued, to the tail
//
// The goroutine that took it from queued to running owns the connection until it leaves the
// word as idle or queued, or closes it, which moves the generation on. A connection stands
// in at most one list at a time, once, which is why the lists need no memory and no bound
// of their own. A connection that is being accepted is running, and then queued. A reactor
// that is being closed takes over what is idle or queued (seize): whoever finds it in a list
// later cannot begin.
type word = uint64

const (
	stateIdle word = iota
	stateQueued
	stateRunning
	stateDirty
	stateMask word = 0x3
	inline    word = 0x4 // turns may run on the loop; changed by the owner

	reasonShift      = 8
	reasonMask  word = 0xffffff00
)

// Reason tells why a connection gets a turn. Reasons add up while it waits for one.
type Reason uint32

const (
	// Readable: epoll reported input, or the connection's last turn left some behind.
	Readable Reason = 1 << iota
	// Writable: epoll reported room in the socket after it had been full.
	Writable
	// HangUp: epoll reported that the peer shut its side down, or an error.
	HangUp
	// Woken: [Reactor.Wake] was called.
	Woken
	// Deadline: the deadline set with [Turn.SetDeadline] has passed.
	Deadline
	// Overflow: a message did not fit into the bounds of the outbound queue.
	Overflow
	// Stalled: the outbound queue has not moved for Config.WriteStall.
	Stalled
	// WriteFailed: the socket refused a write for good.
	WriteFailed
	// Broken: epoll reported an error, such as a reset.
	Broken
	// UrgentMark: epoll announced urgent data (tcp(7)). A read stops at its mark, although more is
	// there.
	UrgentMark
)

// slot is what the reactor knows of a connection. No pointers: the collector never looks
// at it. 48 bytes.
type slot struct {
	word atomic.Uint64
	sink

	fd     int32  // set while no other goroutine knows the slot, cleared under wmu by the owner
	next   uint32 // next in a list: its index + 1; the list's
	drain  uint32 // input bytes that may still be discarded while closing; the owner's
	oflags uint16 // the owner's
}

const (
	oHangUp  uint16 = 1 << iota // the peer's end was reported: read until it is reached
	oPaused                     // the handler wants no input
	oClosing                    // only output is left to be flushed, input is discarded
	oShut                       // our side of the socket has been shut down
	oRefused                    // over the limit, does not count as a connection
	oOpened                     // the handler knows it
	oLinger                     // closing: wait for the peer to close too
	oBroken                     // an error was reported: what is paused need not wait for its end
	oMarked                     // Reactor.marks has what the peer had acknowledged
	oBehind                     // and there was more then
	oUrgent                     // urgent data was announced: read until the socket is empty
	oAdopted                    // the reactor keeps what it has brought along
)

// mark adds reasons to the connection's word. It reports whether the caller has to put the
// connection into a list (it was idle and is now queued), and whether c still exists.
func (s *slot) mark(c Conn, why Reason) (enlist, ok bool) {
	for {
		w := s.word.Load()
		if uint32(w>>32) != c.Gen() {
			return false, false
		}
		n := w | word(why)<<reasonShift
		switch w & stateMask {
		case stateIdle:
			n = n&^stateMask | stateQueued
		case stateRunning:
			n = n&^stateMask | stateDirty
		}
		if n == w || s.word.CompareAndSwap(w, n) {
			return w&stateMask == stateIdle, true
		}
	}
}

// setInline says whether turns may run on the loop. The caller is the owner.
func (s *slot) setInline(yes bool) {
	for {
		w := s.word.Load()
		n := w &^ inline
		if yes {
			n |= inline
		}
		if n == w || s.word.CompareAndSwap(w, n) {
			return
		}
	}
}

// isInline reports whether turns may run on the loop.
func (s *slot) isInline() bool { return s.word.Load()&inline != 0 }

// admit gives up a connection that has just been accepted, as queued, in nobody's list.
func (s *slot) admit() {
	for {
		w := s.word.Load()
		if s.word.CompareAndSwap(w, w&^stateMask|stateQueued) {
			return
		}
	}
}

// begin makes the caller, who took the connection from a list, its owner; false means that
// Reactor.Close has closed it meanwhile, or is about to.
func (s *slot) begin() (gen uint32, why Reason, ok bool) {
	for {
		w := s.word.Load()
		if w&stateMask != stateQueued {
			return 0, 0, false
		}
		if s.word.CompareAndSwap(w, w&^(reasonMask|stateMask)|stateRunning) {
			return uint32(w >> 32), Reason(w & reasonMask >> reasonShift), true
		}
	}
}

// seize makes the caller the owner of c, wherever it is listed, unless somebody serves it or it
// is gone. Only for a reactor that is being closed.
func (s *slot) seize(c Conn) bool {
	for {
		w := s.word.Load()
		if state := w & stateMask; uint32(w>>32) != c.Gen() || state != stateIdle && state != stateQueued {
			return false
		}
		if s.word.CompareAndSwap(w, w&^(reasonMask|stateMask)|stateRunning) {
			return true
		}
	}
}

// end gives the connection up. It reports whether the caller has to put it into a list:
// something happened meanwhile, or more is set because the turn left work behind.
func (s *slot) end(more Reason) (enlist bool) {
	for {
		w := s.word.Load()
		n := w | word(more)<<reasonShift
		if n&reasonMask != 0 {
			n = n&^stateMask | stateQueued
		} else {
			n = n &^ stateMask
		}
		if s.word.CompareAndSwap(w, n) {
			return n&stateMask == stateQueued
		}
	}
}
