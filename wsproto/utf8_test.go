package wsproto_test

import (
	"testing"
	"unicode/utf8"

	"wsgateway/wsproto"
)

// beginnings holds the octet sequences that are no code point but begin one,
// found by encoding all code points.
var beginnings = func() map[string]bool {
	m := map[string]bool{"": true}
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		s := string(r)
		for i := 1; i < len(s); i++ {
			m[s[:i]] = true
		}
	}
	return m
}()

// viable reports whether p can still become valid text.
func viable(p []byte) bool {
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 {
			break
		}
		p = p[n:]
	}
	return beginnings[string(p)]
}

// checkText feeds p cut at the places whose bits are set in cuts.
func checkText(t testing.TB, p []byte, cuts uint) {
	var s wsproto.TextState
	start, ok := 0, true
	for i := 1; i <= len(p) && ok; i++ {
		if i == len(p) || cuts>>(i-1)&1 != 0 {
			if ok = s.Feed(p[start:i]); ok != viable(p[:i]) {
				t.Fatalf("%q of %q, cut by %b: %v", p[:i], p, cuts, ok)
			}
			start = i
		}
	}
	if valid := ok && s.Complete(); valid != utf8.Valid(p) {
		t.Fatalf("%q, cut by %b: %v", p, cuts, valid)
	}
}

func TestTextUpTo2(t *testing.T) {
	for a := range 256 {
		checkText(t, []byte{byte(a)}, 0)
		for b := range 256 {
			for cuts := range uint(2) {
				checkText(t, []byte{byte(a), byte(b)}, cuts)
			}
		}
	}
}

// All sequences of three octets, as one piece and octet by octet; the validator
// is copied at each fork, so that the common beginning is fed once.
func TestText3(t *testing.T) {
	var p [3]byte
	for a := range 256 {
		var s1 wsproto.TextState
		p[0] = byte(a)
		ok1 := s1.Feed(p[:1])
		for b := range 256 {
			s2 := s1
			p[1] = byte(b)
			ok2 := ok1 && s2.Feed(p[1:2])
			for c := range 256 {
				s3 := s2
				p[2] = byte(c)
				want := utf8.Valid(p[:])
				if got := ok2 && s3.Feed(p[2:]) && s3.Complete(); got != want {
					t.Fatalf("%q octet by octet: %v", p, got)
				}
				var s wsproto.TextState
				if got := s.Feed(p[:]) && s.Complete(); got != want {
					t.Fatalf("%q at once: %v", p, got)
				}
			}
		}
	}
}

// Four octets around every boundary of the syntax, in all eight ways to cut them.
func TestText4(t *testing.T) {
	edges := []byte{0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF}
	for _, a := range edges {
		for _, b := range edges {
			for _, c := range edges {
				for _, d := range edges {
					for cuts := range uint(8) {
						checkText(t, []byte{a, b, c, d}, cuts)
					}
				}
			}
		}
	}
}

// Every code point, cut everywhere, between two others.
func TestTextAllCodePoints(t *testing.T) {
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		p := append(utf8.AppendRune([]byte{'a'}, r), 0xC3, 0xA9)
		for i := range len(p) + 1 {
			var s wsproto.TextState
			if !s.Feed(p[:i]) || !s.Feed(p[i:]) || !s.Complete() {
				t.Fatalf("%q cut at %d", p, i)
			}
		}
	}
}

// The same through the decoder: each text as one frame, cut at one place, and as
// two fragments.
func TestTextInFrames(t *testing.T) {
	texts := []string{
		"\x7F", "\u0080", "\u07FF", "\u0800", "\uD7FF", "\uE000", "\uFFFD", "\uFFFF", "\U00010000", "\U0010FFFF",
		"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xED\xBF\xBF",
		"\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xF8\x88\x80\x80\x80", "\xFF",
		"\xC3", "\xE2\x9C", "\xF0\x9F\x92", "ab\xC3", "\xC3é", "κ\xED\xA0\x80edited", "\u2713\xE2\x9C",
	}
	for _, text := range texts {
		want := "fail 1007 8.1\n"
		if utf8.ValidString(text) {
			want = "message 1 " + quote([]byte(text)) + "\n"
		}
		for i := range len(text) + 1 {
			in := cat(frame(opText, text[:i]), frame(fin|opCont, text[i:]))
			checkTrace(t, in, defaultLimits, want)
			checkTrace(t, frame(fin|opText, text), defaultLimits, want)
		}
	}
}
