package suite

import (
	"bytes"
	"regexp"
	"testing"
	"unicode/utf8"

	"wsgateway/bench/conformance/internal/wire"
)

func TestCases(t *testing.T) {
	form := regexp.MustCompile(`^(H([1-9]|1[0-6])|F([1-9]|1[0-9]|2[0-6])|D[1-9])\.[A-Za-z0-9^+.-]+$`)
	seen := make(map[string]bool)
	rules := make(map[string]bool)
	all := All()
	for i, c := range all {
		switch {
		case !form.MatchString(c.ID):
			t.Errorf("id %q", c.ID)
		case seen[c.ID]:
			t.Errorf("%s twice", c.ID)
		case c.Section == "" || c.Title == "" || c.Rule == "" || len(c.Steps) == 0:
			t.Errorf("%s lacks something", c.ID)
		case i > 0 && order(all[i-1].ID) > order(c.ID):
			t.Errorf("%s behind %s", c.ID, all[i-1].ID)
		}
		seen[c.ID] = true
		rules[regexp.MustCompile(`^\w+`).FindString(c.ID)] = true
	}
	if len(all) < 330 {
		t.Errorf("%d cases", len(all))
	}
	if len(rules) != 16+26+9 {
		t.Errorf("%d rules: %v", len(rules), rules)
	}
}

// TestUTF8Tables holds the tables against package utf8.
func TestUTF8Tables(t *testing.T) {
	for _, v := range validUTF8 {
		if !utf8.ValidString(v.text) || utf8.RuneCountInString(v.text) != 1 {
			t.Errorf("%s is no code point", v.name)
		}
	}
	for _, v := range invalidUTF8 {
		bad := v.bytes
		if utf8.ValidString(bad) || utf8.ValidString(bad+"b") {
			t.Errorf("%s is valid", v.name)
		}
		if v.decided == 0 {
			bad += "b"
		} else {
			bad = bad[:v.decided]
		}
		// Decided means: no continuation makes it right, and one byte less can be made right.
		if completable(bad) {
			t.Errorf("%s is not decided by %x", v.name, bad)
		}
		if v.name != "late" && !completable(bad[:len(bad)-1]) {
			t.Errorf("%s is decided before %x", v.name, bad)
		}
	}
}

// completable tells whether s is the beginning of something valid.
func completable(s string) bool {
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			return !utf8.FullRuneInString(s)
		}
		s = s[n:]
	}
	return true
}

func TestInParts(t *testing.T) {
	stream := filler(100)
	for _, sizes := range [][]int{{1}, {7}, {0, 1000}, {5, 0, 0, 1000}, {1000, 0}, {1000}} {
		var got []byte
		frames := inParts(wire.Text, stream, sizes...)
		for i, f := range frames {
			got = append(got, f.Payload...)
			if first := i == 0; (f.Op == wire.Text) != first || (f.Rsv != 0) != first || f.More != (i < len(frames)-1) {
				t.Errorf("%v: frame %d is %+v", sizes, i, f)
			}
		}
		if !bytes.Equal(got, stream) {
			t.Errorf("%v: %d bytes", sizes, len(got))
		}
	}
}
