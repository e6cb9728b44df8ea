package session

import (
	"net/netip"
	"time"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// transport is what a session needs of the connection below it. *netpoll.Reactor is one;
// tests have their own. All methods may be called from any goroutine and never block.
type transport interface {
	Send(c conn, head netpoll.Prefix, body []byte) error // copies what it cannot send at once
	SendShared(c conn, frame []byte) error               // may keep frame, which must not change
	SendLossy(c conn, head netpoll.Prefix, body []byte, p netpoll.Policy, key uint64) error
	SendLossyShared(c conn, frame []byte, p netpoll.Policy, key uint64) error
	SendUrgent(c conn, head netpoll.Prefix, body []byte) error // overtakes what waits; a later one replaces it
	SendFinal(c conn, frame []byte) error                      // nothing can be sent after it
	Queued(c conn) int                                         // bytes that wait for the peer to read
	Wake(c conn) error                                         // brings about a turn
	Peer(c conn) netip.AddrPort
	Now() uint32             // milliseconds of the gateway's own time
	High() uint32            // above every index in use
	Advance(d time.Duration) // of Now; called by one goroutine
	Sweep(part, parts int)   // gives turns to those whose time is up; likewise
}

// header returns the header of an unfragmented frame with n bytes of payload.
func header(op wsproto.Opcode, n int) netpoll.Prefix {
	var b [maxHeader]byte
	return netpoll.MakePrefix(wsproto.AppendHeader(b[:0], true, op, n))
}

// maxHeader is the length of the longest frame header without a masking key (RFC 6455 §5.2).
const maxHeader = 10
