// Package wire builds and parses what travels over a connection: frames,
// handshakes and deflate streams. It can build what a correct client would never
// send, and it parses strictly what a server sends. It shares no code with any
// WebSocket library, so that it shares none of their mistakes.
package wire

import (
	"encoding/binary"
	"fmt"
)

// Opcodes of RFC 6455 section 5.2.
const (
	Continuation byte = 0x0
	Text         byte = 0x1
	Binary       byte = 0x2
	Close        byte = 0x8
	Ping         byte = 0x9
	Pong         byte = 0xA
)

// Reserved bits as they stand in [Frame.Rsv].
const (
	RSV1 byte = 4
	RSV2 byte = 2
	RSV3 byte = 1
)

// Frame is a frame as a client writes it. The zero value of every field but Op
// and Payload makes a correct, masked, final frame.
type Frame struct {
	Op      byte
	Payload []byte

	More     bool    // FIN is 0
	Rsv      byte    // RSV1, RSV2, RSV3
	Unmasked bool    //
	Key      *uint32 // masking key; nil is a fixed one
	Form     int     // bits of the length field, 7, 16 or 64; 0 is the shortest
	Declared *uint64 // length in the header; nil is that of the payload
}

// Part is the frame without FIN.
func (f Frame) Part() Frame { f.More = true; return f }

// RSV is the frame with reserved bits.
func (f Frame) RSV(bits byte) Frame { f.Rsv = bits; return f }

// NoMask is the frame as a server would send it.
func (f Frame) NoMask() Frame { f.Unmasked = true; return f }

// MaskKey is the frame with another masking key.
func (f Frame) MaskKey(key uint32) Frame { f.Key = &key; return f }

// Len is the frame with its length in a field of 7, 16 or 64 bits.
func (f Frame) Len(form int) Frame { f.Form = form; return f }

// Declare is the frame with a length in the header that is not the payload's.
func (f Frame) Declare(n uint64) Frame { f.Declared = &n; return f }

// defaultKey masks where a case asks for no other key.
const defaultKey = 0x5AC3963C

// Bytes is the frame on the wire.
func (f Frame) Bytes() []byte {
	return append(f.Header(), f.masked()...)
}

// Header is the frame without its payload, with the masking key.
func (f Frame) Header() []byte {
	first := f.Rsv<<4 | f.Op
	if !f.More {
		first |= 0x80
	}
	var mask byte
	if !f.Unmasked {
		mask = 0x80
	}
	n := uint64(len(f.Payload))
	if f.Declared != nil {
		n = *f.Declared
	}
	b := []byte{first}
	switch f.form(n) {
	case 7:
		b = append(b, mask|byte(n))
	case 16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), n)
	}
	if !f.Unmasked {
		b = binary.BigEndian.AppendUint32(b, f.key())
	}
	return b
}

func (f Frame) form(n uint64) int {
	switch {
	case f.Form != 0:
		return f.Form
	case n <= 125:
		return 7
	case n <= 0xFFFF:
		return 16
	}
	return 64
}

func (f Frame) key() uint32 {
	if f.Key != nil {
		return *f.Key
	}
	return defaultKey
}

func (f Frame) masked() []byte {
	out := append([]byte(nil), f.Payload...)
	if f.Unmasked {
		return out
	}
	var key [4]byte
	binary.BigEndian.PutUint32(key[:], f.key())
	for i := range out {
		out[i] ^= key[i%4]
	}
	return out
}

// Received is a frame from the server.
type Received struct {
	Fin     bool
	Rsv     byte
	Op      byte
	Payload []byte // owned by the receiver
}

// Control tells control frames from data frames.
func (f *Received) Control() bool { return f.Op&8 != 0 }

// CloseCode returns the status code and the reason of a Close frame. Without a
// payload the code is 1005.
func (f *Received) CloseCode() (code int, reason string) {
	if len(f.Payload) < 2 {
		return 1005, ""
	}
	return int(binary.BigEndian.Uint16(f.Payload)), string(f.Payload[2:])
}

// maxReceived bounds the frames taken from a server.
const maxReceived = 256 << 20

// ParseFrame parses the frame at the beginning of b. It returns 0 if b does not
// hold the frame completely. An error means that the header is one a server must
// not send, whatever was negotiated.
func ParseFrame(b []byte) (f Received, n int, err error) {
	if len(b) < 2 {
		return f, 0, nil
	}
	f.Fin, f.Rsv, f.Op = b[0]&0x80 != 0, b[0]>>4&7, b[0]&15
	size, at := uint64(b[1]&0x7F), 2
	if b[1]&0x80 != 0 {
		return f, 0, fmt.Errorf("masked frame from the server")
	}
	if f.Control() && (size > 125 || !f.Fin) {
		return f, 0, fmt.Errorf("control frame too long or fragmented")
	}
	if f.Op > Binary && f.Op < Close || f.Op > Pong {
		return f, 0, fmt.Errorf("reserved opcode %#x", f.Op)
	}
	switch size {
	case 126:
		if len(b) < 4 {
			return f, 0, nil
		}
		size, at = uint64(binary.BigEndian.Uint16(b[2:])), 4
		if size < 126 {
			return f, 0, fmt.Errorf("length %d not in its shortest form", size)
		}
	case 127:
		if len(b) < 10 {
			return f, 0, nil
		}
		size, at = binary.BigEndian.Uint64(b[2:]), 10
		if size <= 0xFFFF {
			return f, 0, fmt.Errorf("length %d not in its shortest form", size)
		}
	}
	if size > maxReceived {
		return f, 0, fmt.Errorf("frame of %d bytes", size)
	}
	if uint64(len(b)-at) < size {
		return f, 0, nil
	}
	n = at + int(size)
	f.Payload = append([]byte(nil), b[at:n]...)
	return f, n, nil
}
