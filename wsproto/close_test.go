package wsproto_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"wsgateway/wsproto"
)

// onTheWire says which codes a Close frame may carry, written down anew.
func onTheWire(code int) bool {
	return 1000 <= code && code <= 1003 || 1007 <= code && code <= 1014 || 3000 <= code && code <= 4999
}

func TestAllCloseCodes(t *testing.T) {
	bufs := newBuffers(t)
	for code := range 1 << 16 {
		c := wsproto.StatusCode(code)
		want := onTheWire(code)
		if c.Sendable() != want || c.Receivable() != want {
			t.Fatalf("%d: sendable %v, receivable %v", code, c.Sendable(), c.Receivable())
		}
		if c.Name() == "" {
			t.Fatalf("%d has no name", code)
		}
		var d wsproto.Decoder
		ev, _, err := d.Next(frame(fin|opClose, closePayload(code, "why")), &defaultLimits, bufs)
		var pe *wsproto.ProtocolError
		switch {
		case want && (err != nil || ev.Kind != wsproto.Close || ev.Code != c || string(ev.Payload) != "why"):
			t.Fatalf("%d: %v, %v", code, ev, err)
		case !want && (!errors.As(err, &pe) || pe.Code != wsproto.StatusProtocolError):
			t.Fatalf("%d: %v, %v", code, ev, err)
		}
		out := wsproto.AppendClose(nil, c, "why")
		if want && string(out) != "\x88\x05"+closePayload(code, "why") || !want && string(out) != "\x88\x00" {
			t.Fatalf("%d: sent %q", code, out)
		}
	}
}

func TestAppendClose(t *testing.T) {
	for _, c := range []struct {
		name, reason, want string
	}{
		{"empty", "", ""},
		{"short", "going away", "going away"},
		{"at_123_bytes", long125[:123], long125[:123]},
		{"over_123_bytes", long125[:124], long125[:123]},
		{"far_over", strings.Repeat("x", 1<<20), strings.Repeat("x", 123)},
		{"cut_before_2_byte_character", long125[:122] + "é", long125[:122]},
		{"cut_before_3_byte_character", long125[:121] + "✓", long125[:121]},
		{"cut_before_4_byte_character", long125[:120] + "💩", long125[:120]},
		{"4_byte_character_fits", long125[:119] + "💩!", long125[:119] + "💩"},
		{"invalid_octet", "a\xFFb", "a\uFFFDb"},
		{"replacement_does_not_fit", long125[:121] + "\xFF", long125[:121]},
		{"cut_code_point", "a\xE2\x9C", "a\uFFFD\uFFFD"},
	} {
		t.Run("RFC6455/5.5.1/"+c.name, func(t *testing.T) {
			out := wsproto.AppendClose([]byte("before"), wsproto.StatusGoingAway, c.reason)
			want := "before\x88" + string(rune(len(c.want)+2)) + "\x03\xE9" + c.want
			if string(out) != want {
				t.Errorf("%q, want %q", out, want)
			}
			if !utf8.ValidString(c.want) {
				t.Error("the table is wrong")
			}
		})
	}
}

func TestProtocolErrors(t *testing.T) {
	for _, v := range vectors {
		var d wsproto.Decoder
		bufs := newBuffers(t)
		var err error
		for p := append([]byte(nil), v.in...); len(p) > 0 && err == nil; {
			var n int
			_, n, err = d.Next(p, &defaultLimits, bufs)
			p = p[n:]
		}
		var pe *wsproto.ProtocolError
		if err == nil {
			continue
		}
		if !errors.As(fmt.Errorf("session 7: %w", err), &pe) {
			t.Fatalf("%s: %v", v.name, err)
		}
		if !pe.Code.Sendable() || len(pe.Reason) > wsproto.MaxCloseReason || !strings.Contains(err.Error(), pe.Reason) {
			t.Errorf("%s: %#v", v.name, pe)
		}
	}
}
