package wsproto

import "unicode/utf8"

// textState checks UTF-8 (RFC 3629) that arrives in parts, and finds the first
// octet that cannot belong to any valid text, even if its code point is not
// complete. The zero value is at the start of a text.
type textState struct {
	want   uint8 // continuation octets the code point still lacks
	lo, hi byte  // the range of the next of them
}

// complete reports whether the text may end here.
func (s *textState) complete() bool { return s.want == 0 }

// feed takes the next part of the text and reports whether what came so far can
// still become valid UTF-8.
func (s *textState) feed(p []byte) bool {
	for s.want > 0 && len(p) > 0 {
		if !s.step(p[0]) {
			return false
		}
		p = p[1:]
	}
	// What is left starts at a code point. All of it but a code point cut off
	// at the end goes through the fast check of the standard library.
	cut := len(p) - cutOff(p)
	if !utf8.Valid(p[:cut]) {
		return false
	}
	for _, c := range p[cut:] {
		if !s.step(c) {
			return false
		}
	}
	return true
}

// step takes one octet. The ranges are those of the syntax in RFC 3629 §4,
// which leaves out overlong forms, surrogates and what is above U+10FFFF.
func (s *textState) step(c byte) bool {
	if s.want > 0 {
		if c < s.lo || c > s.hi {
			return false
		}
		s.want--
		s.lo, s.hi = 0x80, 0xBF
		return true
	}
	s.lo, s.hi = 0x80, 0xBF
	switch {
	case c < 0x80:
	case c < 0xC2: // a continuation, or the start of an overlong form
		return false
	case c < 0xE0:
		s.want = 1
	case c < 0xF0:
		s.want = 2
		if c == 0xE0 { // overlong
			s.lo = 0xA0
		} else if c == 0xED { // surrogates
			s.hi = 0x9F
		}
	case c < 0xF5:
		s.want = 3
		if c == 0xF0 { // overlong
			s.lo = 0x90
		} else if c == 0xF4 { // above U+10FFFF
			s.hi = 0x8F
		}
	default:
		return false
	}
	return true
}

// cutOff returns how many octets at the end of p, at most 3, are the beginning
// of a code point that is longer than what is there.
func cutOff(p []byte) int {
	for i := 1; i <= 3 && i <= len(p); i++ {
		switch c := p[len(p)-i]; {
		case c < 0x80:
			return 0
		case c >= 0xC0:
			size := 2
			if c >= 0xF0 {
				size = 4
			} else if c >= 0xE0 {
				size = 3
			}
			if size > i {
				return i
			}
			return 0
		}
	}
	return 0
}
