// Package frame is the client's half of the RFC 6455 frame layer: it writes
// masked frames and reads unmasked ones. It shares no code with the server
// under load, so that a fault there cannot hide behind the same fault here.
//
// The package keeps no state and allocates nothing but what append needs.
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Opcodes of RFC 6455 §5.2.
const (
	Continuation byte = 0x0
	Text         byte = 0x1
	Binary       byte = 0x2
	Close        byte = 0x8
	Ping         byte = 0x9
	Pong         byte = 0xA
)

// MaxHeader is the size in bytes of the longest header a client writes.
const MaxHeader = 14

// Errors of Parse: what a server must never send.
var (
	ErrMasked   = errors.New("frame from the server is masked (RFC 6455 §5.1)")
	ErrReserved = errors.New("reserved bit set without an extension (RFC 6455 §5.2)")
	ErrOpcode   = errors.New("reserved opcode (RFC 6455 §5.2)")
	ErrLength   = errors.New("payload length not in its minimal form (RFC 6455 §5.2)")
	ErrControl  = errors.New("control frame fragmented or longer than 125 bytes (RFC 6455 §5.5)")
)

// Header describes one frame of a server.
type Header struct {
	Fin    bool
	Opcode byte
	Size   int   // bytes of the header itself
	Length int64 // bytes of payload
}

// Control reports whether the frame is a control frame.
func (h Header) Control() bool { return h.Opcode&0x8 != 0 }

// Parse reads the header at the start of p. complete is false while p is too
// short for it; the payload need not be there. The two fixed bytes are judged
// as soon as they are seen.
func Parse(p []byte) (h Header, complete bool, err error) {
	if len(p) < 2 {
		return h, false, nil
	}
	h.Fin = p[0]&0x80 != 0
	h.Opcode = p[0] & 0x0f
	short := p[1] & 0x7f
	switch {
	case p[0]&0x70 != 0:
		return h, false, ErrReserved
	case h.Opcode > Binary && h.Opcode < Close || h.Opcode > Pong:
		return h, false, ErrOpcode
	case p[1]&0x80 != 0:
		return h, false, ErrMasked
	case h.Control() && (!h.Fin || short > 125):
		return h, false, ErrControl
	}
	switch short {
	case 126:
		if len(p) < 4 {
			return h, false, nil
		}
		h.Size, h.Length = 4, int64(binary.BigEndian.Uint16(p[2:]))
		if h.Length < 126 {
			return h, false, ErrLength
		}
	case 127:
		if len(p) < 10 {
			return h, false, nil
		}
		n := binary.BigEndian.Uint64(p[2:])
		if n < 1<<16 || n>>63 != 0 {
			return h, false, ErrLength
		}
		h.Size, h.Length = 10, int64(n)
	default:
		h.Size, h.Length = 2, int64(short)
	}
	return h, true, nil
}

// AppendHeader appends the header of an unfragmented masked frame with n bytes
// of payload. The caller appends the payload and applies Mask to it.
func AppendHeader(dst []byte, opcode byte, n int, mask uint32) []byte {
	dst = append(dst, 0x80|opcode)
	switch {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = append(dst, 0x80|126, byte(n>>8), byte(n))
	default:
		dst = append(dst, 0x80|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	return binary.LittleEndian.AppendUint32(dst, mask)
}

// Append appends a whole masked frame.
func Append(dst []byte, opcode byte, payload []byte, mask uint32) []byte {
	dst = AppendHeader(dst, opcode, len(payload), mask)
	at := len(dst)
	dst = append(dst, payload...)
	Mask(dst[at:], mask)
	return dst
}

// Mask applies the masking key of AppendHeader to p in place.
func Mask(p []byte, mask uint32) {
	wide := uint64(mask)<<32 | uint64(mask)
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(mask >> (8 * (i & 3)))
	}
}

// Status codes that never go on the wire but stand for what was seen.
const (
	NoStatus = 1005 // a Close frame without a code
	Abnormal = 1006 // the connection ended without a Close frame
)

// CloseCode reads the payload of a Close frame; NoStatus for an empty one.
func CloseCode(p []byte) (int, error) {
	switch len(p) {
	case 0:
		return NoStatus, nil
	case 1:
		return 0, errors.New("payload of a Close frame is one byte (RFC 6455 §5.5.1)")
	}
	code := int(binary.BigEndian.Uint16(p))
	known := code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006
	if !known && (code < 3000 || code > 4999) {
		return code, fmt.Errorf("status code %d must not be sent (RFC 6455 §7.4)", code)
	}
	if !utf8.Valid(p[2:]) {
		return code, errors.New("close reason is not UTF-8 (RFC 6455 §5.5.1)")
	}
	return code, nil
}
