package session

import (
	"sync/atomic"
	"time"

	"wsgateway/internal/hub"
	"wsgateway/wsproto"
)

// record is what the server knows of a session, beside what netpoll knows of its
// connection, at the same index. No pointers. 48 bytes.
type record struct {
	meta     atomic.Uint64 // generation, phase, subprotocol, route; written by the owner
	closedBy atomic.Uint64 // generation, who began to close, code; the first to write wins
	began    uint32        // when the connection was accepted, microseconds; once upgraded: see flood; the owner's
	partial  atomic.Uint32 // partial: its index + 1, 0 for none; written by the owner
	details  atomic.Uint32 // details: its index + 1, 0 for none; written by the owner

	flags   atomic.Uint32 // see flag; cleared by the owner
	latency atomic.Uint32 // microseconds, 0 for not known; written by the owner

	control, tiny bucket            // control frames, tiny fragments; the owner's
	subs          hub.Subscriptions // under the lock of memberships
}

// What record.flags may have. Others than the owner set one only while the session is open, under
// the lock of the table.
const (
	flagPaused    uint32 = 1 << iota // Session.PauseReading
	flagTerminate                    // Session.Terminate
	flagHeld                         // reading has been stopped for a reason of ours; the owner's
)

// lastFlood is what flags has above its flags: when a client that sent too many control frames was
// read from again, in 8 ms, 0 for never. The owner's.
const (
	lastFlood     uint32 = 1<<32 - lastFloodUnit
	lastFloodUnit        = 8
)

// flood notes that the client is not read from for wait, as it has sent too many control frames,
// and reports whether it has done so for too long. began says since when.
func (r *record) flood(now uint32, wait, patience time.Duration) (tooLong bool) {
	last := r.flags.Load() & lastFlood
	o := offence{since: r.began, last: last, on: last != 0}
	tooLong = o.stop(now, wait, patience)
	r.began = o.since
	r.forgetFlood()
	r.flags.Or(max(lastFloodUnit, o.last&lastFlood))
	return tooLong
}

func (r *record) forgetFlood() { r.flags.And(^lastFlood) }

// open prepares the record for a new connection.
func (r *record) open(c conn, now uint32) {
	r.began = uint32(time.Since(epoch).Microseconds())
	r.partial.Store(0)
	r.flags.Store(0)
	r.latency.Store(0)
	r.control = fullBucket(now)
	r.tiny = r.control
	r.store(makeMeta(c, phaseHandshake, 0, 0))
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

// meta is generation<<32 | deflated<<31 | window<<28 | phase<<24 | subprotocol<<16 | route. The
// window is that of messages to the client, less wsproto.MinWindowBits. The subprotocol is its
// index in the route's list + 1, 0 for none or one that is not in it.
type meta uint64

const deflated meta = 1 << 31 // permessage-deflate has been agreed on

// deflatedMeta returns what meta has for a session that has agreed on permessage-deflate.
func deflatedMeta(windowBits int) meta {
	return deflated | meta(windowBits-wsproto.MinWindowBits)<<28
}

func makeMeta(c conn, p phase, subprotocol uint8, route uint16) meta {
	return meta(c.Gen())<<32 | meta(p)<<24 | meta(subprotocol)<<16 | meta(route)
}

func (m meta) gen() uint32        { return uint32(m >> 32) }
func (m meta) phase() phase       { return phase(m >> 24 & 0xf) }
func (m meta) deflated() bool     { return m&deflated != 0 }
func (m meta) windowBits() int    { return wsproto.MinWindowBits + int(m>>28&7) }
func (m meta) subprotocol() uint8 { return uint8(m >> 16) }
func (m meta) route() uint16      { return uint16(m) }
func (m meta) with(p phase) meta  { return m&^(0xf<<24) | meta(p)<<24 }
func (r *record) load() meta      { return meta(r.meta.Load()) }
func (r *record) store(m meta)    { r.meta.Store(uint64(m)) }

// begin notes who begins to end session c, and with which code. It reports false if somebody
// did before.
func (r *record) begin(c conn, by Initiator, code wsproto.StatusCode) bool {
	old := r.closedBy.Load()
	// A caller that was held up since it saw c open must not overwrite what its successor has
	// noted: generations only grow.
	return int32(uint32(old>>32)-c.Gen()) < 0 && r.closedBy.CompareAndSwap(old, uint64(c.Gen())<<32|uint64(by)<<16|uint64(code))
}

// closing reports whether somebody has begun to end session c.
func (r *record) closing(c conn) bool { return uint32(r.closedBy.Load()>>32) == c.Gen() }

// endOf returns who has begun to end session c, and whether anybody has. Any goroutine may ask.
func (r *record) endOf(c conn) (by Initiator, ok bool) {
	v := r.closedBy.Load()
	return Initiator(v >> 16 & 0xff), uint32(v>>32) == c.Gen()
}

// end returns what begin noted.
func (r *record) end() (by Initiator, code wsproto.StatusCode) {
	v := r.closedBy.Load()
	return Initiator(v >> 16 & 0xff), wsproto.StatusCode(v)
}
