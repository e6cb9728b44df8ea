package session

import (
	"sync/atomic"

	"wsgateway/wsproto"
)

// record is what the server knows of a session, beside what netpoll knows of its
// connection, at the same index. No pointers. 32 bytes.
type record struct {
	meta  atomic.Uint64 // generation, phase, subprotocol, route; written by the owner
	ended atomic.Uint64 // generation, who began to close, code; the first to write wins
	began uint32        // when the connection was accepted: microseconds, wrapping; the owner's
	part  uint32        // partial: its index + 1, 0 for none; the owner's
	extra atomic.Uint32 // extra: its index + 1, 0 for none; written by the owner
	_     uint32
}

// phase is where a session is in its life.
//
//	handshake -> open -> closing -> over
//	handshake -> over, open -> over
type phase uint8

const (
	phaseHandshake phase = iota
	phaseOpen            // OnOpen has been called, or is about to be
	phaseClosing         // we have sent a Close frame and wait for the client's
	phaseOver            // OnClose has been called, or never will be
)

// meta is generation<<32 | phase<<24 | subprotocol<<16 | route. The subprotocol is its index
// in the route's list + 1, 0 for none.
type meta uint64

func makeMeta(c conn, p phase, subprotocol uint8, route uint16) meta {
	return meta(c.Gen())<<32 | meta(p)<<24 | meta(subprotocol)<<16 | meta(route)
}

func (m meta) gen() uint32        { return uint32(m >> 32) }
func (m meta) phase() phase       { return phase(m >> 24) }
func (m meta) subprotocol() uint8 { return uint8(m >> 16) }
func (m meta) route() uint16      { return uint16(m) }
func (m meta) with(p phase) meta  { return m&^(0xff<<24) | meta(p)<<24 }
func (r *record) load() meta      { return meta(r.meta.Load()) }
func (r *record) store(m meta)    { r.meta.Store(uint64(m)) }

// begin notes who begins to end session c, and with which code. It reports false if somebody
// did before.
func (r *record) begin(c conn, by Initiator, code wsproto.StatusCode) bool {
	old := r.ended.Load()
	return uint32(old>>32) != c.Gen() && r.ended.CompareAndSwap(old, uint64(c.Gen())<<32|uint64(by)<<16|uint64(code))
}

// closing reports whether somebody has begun to end session c.
func (r *record) closing(c conn) bool { return uint32(r.ended.Load()>>32) == c.Gen() }

// end returns what begin noted.
func (r *record) end() (by Initiator, code wsproto.StatusCode) {
	v := r.ended.Load()
	return Initiator(v >> 16 & 0xff), wsproto.StatusCode(v)
}

// partial holds what is incomplete of a client's input. A connection has one only while
// there is such. The owner's.
type partial struct {
	dec   wsproto.Decoder // after the upgrade
	head  []byte          // before it: the request so far
	seen  int             // bytes of head that have been searched for its end
	since uint32          // Now when it began
	bytes int             // received since then
}

// extra holds what few sessions have. Immutable.
type extra struct {
	path string // of the request, where it is not the route's
}
