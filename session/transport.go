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
	Send(c conn, m netpoll.Message) error
	Queued(c conn) int // bytes that wait for the peer to read
	Wake(c conn) error // brings about a turn
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
