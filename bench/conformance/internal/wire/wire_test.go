package wire

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestFrameBytes(t *testing.T) {
	for _, tc := range []struct {
		frame Frame
		want  string
	}{
		{Frame{Op: Text, Payload: []byte("Hello")}.MaskKey(0x37fa213d), "818537fa213d7f9f4d5158"}, // RFC 6455 section 5.7
		{Frame{Op: Text, Payload: []byte("Hello")}.NoMask(), "810548656c6c6f"},
		{Frame{Op: Text, Payload: []byte("Hel")}.NoMask().Part(), "010348656c"},
		{Frame{Op: Ping}.MaskKey(1), "898000000001"},
		{Frame{Op: Binary}.RSV(RSV1 | RSV3).NoMask(), "d200"},
		{Frame{Op: Binary, Payload: []byte("x")}.Len(16).NoMask(), "827e000178"},
		{Frame{Op: Binary, Payload: []byte("x")}.Len(64).NoMask(), "827f000000000000000178"},
		{Frame{Op: Binary}.Len(64).Declare(1 << 63).NoMask(), "827f8000000000000000"},
		{Frame{Op: Binary}.Declare(300).NoMask(), "827e012c"},
	} {
		if got := hex.EncodeToString(tc.frame.Bytes()); got != tc.want {
			t.Errorf("%+v: %s, want %s", tc.frame, got, tc.want)
		}
	}
}

func TestParseFrame(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		b := Frame{Op: Binary, Payload: bytes.Repeat([]byte{7}, n)}.NoMask().Bytes()
		f, used, err := ParseFrame(append(bytes.Clone(b), 0x81))
		if err != nil || used != len(b) || len(f.Payload) != n || !f.Fin || f.Op != Binary {
			t.Errorf("%d bytes: %d of %d, %v", n, used, len(b), err)
		}
		for i := range min(len(b), 20) {
			if _, used, err := ParseFrame(b[:i]); used != 0 || err != nil {
				t.Errorf("%d bytes, the first %d: %d, %v", n, i, used, err)
			}
		}
	}
	for _, bad := range []string{"818500000000", "817e0005", "817f000000000000ffff", "0900", "897e007e", "8300", "8b00", "827f8000000000000000"} {
		b, _ := hex.DecodeString(bad)
		if _, _, err := ParseFrame(b); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestCloseCode(t *testing.T) {
	f := Received{Op: Close, Payload: []byte("\x03\xe8bye")}
	if code, reason := f.CloseCode(); code != 1000 || reason != "bye" {
		t.Errorf("%d %q", code, reason)
	}
	if code, _ := (&Received{}).CloseCode(); code != 1005 {
		t.Errorf("%d without payload", code)
	}
}

func TestParseResponse(t *testing.T) {
	for _, tc := range []struct {
		text, body string
		used       int
		complete   bool
	}{
		{"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n\x81\x00", "", 38, true},
		{"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nnoX", "no", 41, true},
		{"HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nno", "no", 41, false},
		{"HTTP/1.0 400 \r\n\r\nno", "no", 19, false},
		{"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n1\r\n!\r\n0\r\n\r\nX", "no!", 66, true},
		{"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n", "no", 55, false},
	} {
		r, used, err := ParseResponse([]byte(tc.text))
		if err != nil || used != tc.used || string(r.Body) != tc.body || r.Complete != tc.complete {
			t.Errorf("%q: %d, %+v, %v", tc.text, used, r, err)
		}
		head := strings.Index(tc.text, "\r\n\r\n") + 4
		for i := range head {
			if r, used, err := ParseResponse([]byte(tc.text[:i])); r != nil || used != 0 || err != nil {
				t.Errorf("%q: %d, %v", tc.text[:i], used, err)
			}
		}
	}
	for _, bad := range []string{
		"SSH-2", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 200\r\n\r\n", "HTTP/1.1 400 Bad\r\nno colon\r\n\r\n", "HTTP/1.1 400 Bad\r\nX : 1\r\n\r\n",
		"HTTP/1.1 400 Bad\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 400 Bad\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
	} {
		if _, _, err := ParseResponse([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestAccept(t *testing.T) {
	if got := Accept("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Error(got)
	}
}

func TestParseDeflate(t *testing.T) {
	for value, want := range map[string]string{
		"permessage-deflate": "&{false false 0 0}",
		"permessage-deflate; server_no_context_takeover; client_max_window_bits=9":   "&{true false 0 9}",
		`permessage-deflate;client_no_context_takeover;server_max_window_bits="15"`:  "&{false true 15 0}",
		"permessage-deflate; client_max_window_bits":                                 "error",
		"permessage-deflate; client_max_window_bits=08":                              "error",
		"permessage-deflate; client_max_window_bits=16":                              "error",
		"permessage-deflate; server_no_context_takeover=1":                           "error",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover": "error",
		"permessage-deflate; x":                                                      "error",
		"permessage-deflate; ":                                                       "error",
		"a b":                                                                        "error",
	} {
		_, params, err := ParseExtension(value)
		got := "error"
		if err == nil {
			if d, err := ParseDeflate(params); err == nil {
				got = fmt.Sprint(d)
			}
		}
		if got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestDeflateRoundTrip(t *testing.T) {
	for _, d := range []*Deflate{{}, {ClientNoContext: true}, {ClientBits: 9}} {
		// Seen from the server: it inflates what the client sends.
		in, out := NewDeflater(d), &Inflater{Takeover: !d.ClientNoContext}
		for i := range 20 {
			p := []byte(strings.Repeat(fmt.Sprint("message ", i, " "), i*700))
			c := in.Message(p)
			got, err := out.Message(c)
			if err != nil || !bytes.Equal(got, p) {
				t.Fatalf("%+v, message %d: %v", d, i, err)
			}
		}
	}
	if _, err := (&Inflater{}).Message([]byte{0x06}); err == nil {
		t.Error("a reserved block type inflates")
	}
	stream := new(Bits).Stored(make([]byte, 600), false).Fixed(false).Match(513).End().Message()
	for _, takeover := range []bool{false, true} {
		if _, err := (&Inflater{Window: 512, Takeover: takeover}).Message(stream); err == nil {
			t.Error("a reference beyond the window inflates")
		}
		if got, err := (&Inflater{Window: 1024, Takeover: takeover}).Message(stream); err != nil || len(got) != 603 {
			t.Errorf("a reference within the window: %d bytes, %v", len(got), err)
		}
	}
}

// TestBits compares streams made bit by bit with what compress/flate reads.
func TestBits(t *testing.T) {
	inflate := func(stream []byte) string {
		in := io.MultiReader(bytes.NewReader(stream), bytes.NewReader(append(tail[:4:4], 1, 0, 0, 0xFF, 0xFF)))
		out, err := io.ReadAll(flate.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	var all []byte
	for i := range 256 {
		all = append(all, byte(i))
	}
	if got := inflate(new(Bits).Fixed(false).Literals(all).End().Message()); got != string(all) {
		t.Errorf("literals: %q", got)
	}
	if got := inflate(new(Bits).Stored([]byte("ab"), false).Fixed(false).Match(2).End().Stored(nil, false).Message()); got != "ababa" {
		t.Errorf("stored: %q", got)
	}
	long := make([]byte, 32768)
	for i := range long {
		long[i] = byte(i*7 + i>>8)
	}
	for d := 1; d <= 32768; d = d*5/4 + 1 {
		got := inflate(new(Bits).Stored(long, false).Fixed(false).Match(d).End().Message())
		want := append(bytes.Clone(long), 0, 0, 0)
		for i := range 3 {
			want[32768+i] = want[32768+i-d]
		}
		if got != string(want) {
			t.Errorf("distance %d: %x, want %x", d, got[32768:], want[32768:])
		}
	}
	inflate(new(Bits).Stored(long, false).Fixed(false).Match(32768).End().Message())
}
