package wsproto

import "encoding/binary"

const (
	finBit    = 0x80
	rsvBits   = 0x70
	rsv1Bit   = 0x40
	opBits    = 0x0F
	maskBit   = 0x80
	maxHeader = 14 // two bytes, a 64-bit length and a masking key
)

// header is the header of a client's frame that has passed every check.
type header struct {
	length int64
	mask   [4]byte
	op     Opcode
	fin    bool
	rsv1   bool  // the frame begins a compressed message
	size   uint8 // bytes it takes on the wire; 0 while it is incomplete
}

// whole reports whether rest, what follows the header, holds the whole payload.
func (h *header) whole(rest []byte) bool { return int64(len(rest)) >= h.length }

// header takes the header of the next frame from the front of p and returns how
// many bytes of p it took. If the header is not complete after that, its size
// is 0 and what came of it is kept.
func (d *Decoder) header(p []byte, lim *Limits) (header, int, error) {
	if d.nhead == 0 {
		if len(p) > 0 {
			d.progress.Frames++
		}
		h, err := d.parseHeader(p, lim)
		if err != nil || h.size > 0 {
			return h, int(h.size), err
		}
		d.nhead = uint8(copy(d.head[:], p))
		return h, len(p), nil
	}
	for i, c := range p {
		d.head[d.nhead] = c
		d.nhead++
		h, err := d.parseHeader(d.head[:d.nhead], lim)
		if err != nil {
			return h, i + 1, err
		}
		if h.size > 0 {
			d.nhead = 0
			return h, i + 1, nil
		}
	}
	return header{}, len(p), nil
}

// parseHeader judges as much of a header as there is, octet by octet, so that
// the answer does not depend on how the input was split, and no payload is
// waited for.
func (d *Decoder) parseHeader(p []byte, lim *Limits) (h header, err error) {
	if len(p) == 0 {
		return h, nil
	}
	if err := d.checkFirst(p[0], lim); err != nil {
		return h, err
	}
	if len(p) == 1 {
		return h, nil
	}
	// RFC 6455 §5.1: a server fails the connection on a frame that is not masked.
	if p[1]&maskBit == 0 {
		return h, errUnmasked
	}
	op := Opcode(p[0] & opBits)
	short := p[1] &^ maskBit
	length, at := uint64(short), 2
	switch {
	case op.IsControl():
		if short > MaxControlPayload {
			return h, errControlLong
		}
	case short == 126:
		if len(p) < 4 {
			return h, nil
		}
		length, at = uint64(binary.BigEndian.Uint16(p[2:])), 4
		if length < 126 {
			return h, errNotMinimal
		}
	case short == 127:
		if len(p) < 10 {
			return h, nil
		}
		length, at = binary.BigEndian.Uint64(p[2:]), 10
		if length>>63 != 0 {
			return h, errLengthSign
		}
		if length <= 0xFFFF {
			return h, errNotMinimal
		}
	}
	if !op.IsControl() && int64(length) > lim.maxWire(d.deflated || p[0]&rsv1Bit != 0)-int64(len(d.buf)) {
		return h, errTooBig
	}
	if len(p) < at+4 {
		return h, nil
	}
	h.fin, h.rsv1 = p[0]&finBit != 0, p[0]&rsv1Bit != 0
	h.op, h.length = op, int64(length)
	h.mask = [4]byte(p[at:])
	h.size = uint8(at + 4)
	return h, nil
}

// checkFirst judges the first octet of a frame, given the message under way.
func (d *Decoder) checkFirst(b0 byte, lim *Limits) error {
	op := Opcode(b0 & opBits)
	// Only permessage-deflate gives a reserved bit a meaning: RSV1, on the first frame of a
	// data message (RFC 7692 §6).
	if rsv := b0 & rsvBits; rsv != 0 &&
		(rsv != rsv1Bit || lim.Inflater == nil || op == OpContinuation || op.IsControl()) {
		return errReservedBit
	}
	switch {
	case op.IsReserved():
		return errReservedOpcode
	case op.IsControl():
		if b0&finBit == 0 {
			return errControlParted
		}
		return nil
	case op == OpContinuation && d.op == OpContinuation:
		return errNoMessage
	case op != OpContinuation && d.op != OpContinuation:
		return errInMessage
	case d.frames >= lim.MaxFragments && !(d.deflated && d.frames-lim.MaxFragments < len(d.buf)/64):
		return errFragments
	case lim.Only != 0 && op != OpContinuation && op != lim.Only:
		return errUnwanted
	}
	return nil
}
