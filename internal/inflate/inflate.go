// Package inflate decompresses DEFLATE (RFC 1951) as a peer with a small window does. The inflaters
// of the standard library and of klauspost/compress always have a window of 32 KiB, and so cannot
// show that a sender keeps to less.
//
// It is for tests and the conformance runner. It is written for clarity, not for speed.
package inflate

import (
	"errors"
	"fmt"
	"slices"
)

// Errors of Stream. A stream that ends inside a block is ErrShort.
var (
	ErrShort   = errors.New("inflate: the stream ends inside a block")
	ErrCorrupt = errors.New("inflate: corrupt stream")
)

// WindowError says that a stream refers back farther than the window reaches.
type WindowError struct{ Distance, Window int }

// Error names the distance and the window.
func (e *WindowError) Error() string {
	return fmt.Sprintf("inflate: a reference %d bytes back, the window has %d", e.Distance, e.Window)
}

// Stream decompresses the blocks of p, up to a final block or the end of p, and returns their
// content. History is what came before, and may be referred to. The window is its size in bytes. A
// reference beyond it is a *WindowError, one beyond the beginning ErrCorrupt.
func Stream(p, history []byte, window int) ([]byte, error) {
	s := &stream{in: p, out: slices.Clone(history), window: window}
	for !s.atEnd() {
		final, err := s.block()
		if err != nil {
			return nil, err
		}
		if final {
			break
		}
	}
	return s.out[len(history):], nil
}

// stream is the state of one call of Stream.
type stream struct {
	in     []byte
	at     int // in bits
	out    []byte
	window int
	err    error // the first failure of bits
}

func (s *stream) atEnd() bool { return s.at >= 8*len(s.in) }

// bits takes n bits, the lowest first. After the end it returns 0 and notes ErrShort.
func (s *stream) bits(n int) (v int) {
	for i := range n {
		if s.atEnd() {
			s.err = ErrShort
			return 0
		}
		v |= int(s.in[s.at/8]>>(s.at%8)&1) << i
		s.at++
	}
	return v
}

// block takes one block (RFC 1951 §3.2.3).
func (s *stream) block() (final bool, err error) {
	final = s.bits(1) == 1
	switch s.bits(2) {
	case 0:
		err = s.stored()
	case 1:
		err = s.coded(fixedLiterals, fixedDistances)
	case 2:
		var literals, distances *code
		if literals, distances, err = s.codes(); err == nil {
			err = s.coded(literals, distances)
		}
	default:
		err = ErrCorrupt
	}
	if s.err != nil {
		err = s.err
	}
	return final, err
}

// stored takes the content of a block without compression (§3.2.4).
func (s *stream) stored() error {
	s.at = (s.at + 7) / 8 * 8
	n, inverse := s.bits(16), s.bits(16)
	switch begin := s.at / 8; {
	case s.err != nil:
		return s.err
	case n != ^inverse&0xFFFF:
		return ErrCorrupt
	case len(s.in)-begin < n:
		return ErrShort
	default:
		s.out = append(s.out, s.in[begin:begin+n]...)
		s.at += 8 * n
		return nil
	}
}

// coded takes the content of a block with Huffman codes (§3.2.5).
func (s *stream) coded(literals, distances *code) error {
	for {
		symbol := s.symbol(literals)
		switch {
		case s.err != nil:
			return s.err
		case symbol < 256:
			s.out = append(s.out, byte(symbol))
			continue
		case symbol == endOfBlock:
			return nil
		case symbol > 285:
			return ErrCorrupt
		}
		length := lengthBase[symbol-257] + s.bits(lengthExtra[symbol-257])
		d := s.symbol(distances)
		if s.err != nil {
			return s.err
		}
		if d > 29 {
			return ErrCorrupt
		}
		if err := s.copy(length, distanceBase[d]+s.bits(distanceExtra[d])); err != nil {
			return err
		}
	}
}

// copy appends length bytes from a distance back. They may overlap with what is appended.
func (s *stream) copy(length, distance int) error {
	switch {
	case s.err != nil:
		return s.err
	case distance > len(s.out):
		return ErrCorrupt
	case distance > s.window:
		return &WindowError{distance, s.window}
	}
	for range length {
		s.out = append(s.out, s.out[len(s.out)-distance])
	}
	return nil
}
