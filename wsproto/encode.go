package wsproto

import (
	"encoding/binary"
	"unicode/utf8"
)

// HeaderLen returns the size in bytes of the header of a server's frame with a payload of n bytes:
// 2, 4 or 10.
func HeaderLen(n int) int {
	switch {
	case n <= 125:
		return 2
	case n <= 0xFFFF:
		return 4
	default:
		return 10
	}
}

// AppendHeader appends the header of a frame with a payload of n bytes. A server's frames are not
// masked (RFC 6455 §5.1), and the length takes its shortest form (§5.2). AppendHeader panics if n
// is negative, or if the frame is a control frame with more than 125 bytes or without FIN, which
// must not be sent (§5.5).
func AppendHeader(dst []byte, fin bool, op Opcode, n int) []byte {
	if n < 0 || op.IsControl() && (n > MaxControlPayload || !fin) {
		panic("wsproto: illegal frame header")
	}
	b0 := byte(op)
	if fin {
		b0 |= finBit
	}
	switch HeaderLen(n) {
	case 2:
		return append(dst, b0, byte(n))
	case 4:
		return append(dst, b0, 126, byte(n>>8), byte(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, b0, 127), uint64(n))
	}
}

// AppendFrame appends a control frame, or a whole message in one frame. It panics where
// AppendHeader does.
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	dst = AppendHeader(dst, true, op, len(payload))
	return append(dst, payload...)
}

// AppendClose appends a Close frame. The frame has no payload if code is not Sendable, as
// StatusNoStatus is not. AppendClose replaces octets of the reason that are not UTF-8 by U+FFFD. It
// cuts the reason between two characters, to at most MaxCloseReason bytes.
func AppendClose(dst []byte, code StatusCode, reason string) []byte {
	if !code.Sendable() {
		return append(dst, finBit|byte(OpClose), 0)
	}
	start := len(dst)
	dst = append(dst, finBit|byte(OpClose), 0, byte(code>>8), byte(code))
	room := MaxCloseReason
	for _, r := range reason {
		if room -= utf8.RuneLen(r); room < 0 {
			break
		}
		dst = utf8.AppendRune(dst, r)
	}
	dst[start+1] = byte(len(dst) - start - 2)
	return dst
}
