package webpubsub

import (
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how many arrays and objects may lie in one another in a message, its own object
// included: what many parsers of the receivers take by default.
const MaxDepth = 64

var (
	errSyntax = errors.New("not one JSON object")
	errDepth  = errors.New("nested too deeply")
)

// scanner reads JSON text (RFC 8259) that is valid UTF-8. It judges all of it and allocates nothing;
// what it returns are views into the text.
type scanner struct {
	p []byte
	i int
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.i < len(s.p); s.i++ {
		switch c := s.p[s.i]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// accept skips white space and then c, if it is next.
func (s *scanner) accept(c byte) bool {
	if s.peek() != c || s.i == len(s.p) {
		return false
	}
	s.i++
	return true
}

// str returns a string as it is written, without its quotes.
func (s *scanner) str() ([]byte, error) {
	if !s.accept('"') {
		return nil, errSyntax
	}
	start := s.i
	for s.i < len(s.p) {
		c := s.p[s.i]
		s.i++
		switch {
		case c == '"':
			return s.p[start : s.i-1], nil
		case c == '\\':
			if !s.escape() {
				return nil, errSyntax
			}
		case c < 0x20:
			return nil, errSyntax
		}
	}
	return nil, errSyntax
}

// escape skips what follows a backslash.
func (s *scanner) escape() bool {
	if s.i == len(s.p) {
		return false
	}
	c := s.p[s.i]
	s.i++
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		_, ok := hex4(s.p[s.i:])
		s.i += 4
		return ok
	}
	return false
}

// value returns a value of any type as it is written. depth is how many arrays and objects it lies
// in. They are walked without recursion; the bits of objects tell which of the open ones are such.
func (s *scanner) value(depth int) ([]byte, error) {
	s.peek()
	start, outside := s.i, depth
	var objects uint64 // a bit for each level, up to MaxDepth
	for {
		switch c := s.peek(); c {
		case '{', '[':
			s.i++
			if depth++; depth > MaxDepth {
				return nil, errDepth
			}
			if objects <<= 1; c == '{' {
				objects |= 1
			}
			if s.accept(c + 2) { // ] and } stand two behind [ and {
				depth, objects = depth-1, objects>>1
				break
			}
			if err := s.key(objects); err != nil {
				return nil, err
			}
			continue
		case '"':
			if _, err := s.str(); err != nil {
				return nil, err
			}
		case 't', 'f', 'n':
			if !s.word("true") && !s.word("false") && !s.word("null") {
				return nil, errSyntax
			}
		default:
			if !s.number() {
				return nil, errSyntax
			}
		}
		// A value is complete: the arrays and objects that end behind it are too.
		for depth > outside && !s.accept(',') {
			if end := byte(']' + objects&1<<5); !s.accept(end) { // } stands 32 behind ]
				return nil, errSyntax
			}
			depth, objects = depth-1, objects>>1
		}
		if depth == outside {
			return s.p[start:s.i], nil
		}
		if err := s.key(objects); err != nil {
			return nil, err
		}
	}
}

// key skips the name of a member and its colon, if the innermost level is an object.
func (s *scanner) key(objects uint64) error {
	if objects&1 == 0 {
		return nil
	}
	if _, err := s.str(); err != nil || !s.accept(':') {
		return errSyntax
	}
	return nil
}

func (s *scanner) word(w string) bool {
	if len(s.p)-s.i < len(w) || string(s.p[s.i:s.i+len(w)]) != w {
		return false
	}
	s.i += len(w)
	return true
}

func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.p) && '0' <= s.p[s.i] && s.p[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}

func (s *scanner) one(a, b byte) bool {
	if s.i < len(s.p) && (s.p[s.i] == a || s.p[s.i] == b) {
		s.i++
		return true
	}
	return false
}

// number skips a number (RFC 8259 §6).
func (s *scanner) number() bool {
	s.one('-', '-')
	if !s.one('0', '0') && !s.digits() {
		return false
	}
	if s.one('.', '.') && !s.digits() {
		return false
	}
	if s.one('e', 'E') {
		s.one('+', '-')
		return s.digits()
	}
	return true
}

func hex4(p []byte) (r rune, ok bool) {
	if len(p) < 4 {
		return 0, false
	}
	for _, c := range p[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unquote appends what a string that str has returned stands for. It reports false for an escaped
// surrogate without its other half, which is no character.
func unquote(dst, raw []byte) ([]byte, bool) {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			continue
		}
		i++
		switch c = raw[i]; c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, _ := hex4(raw[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				if len(raw) < i+7 || raw[i+1] != '\\' || raw[i+2] != 'u' {
					return dst, false
				}
				low, _ := hex4(raw[i+3:])
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					return dst, false
				}
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst, true
}

// quote appends s, which is valid UTF-8, as a string with its quotes.
func quote[T string | []byte](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
