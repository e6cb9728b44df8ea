package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"wsgateway/bench/internal/frame"
)

func TestParse(t *testing.T) {
	long := func(first byte, n uint64) []byte {
		return binary.BigEndian.AppendUint64([]byte{first, 127}, n)
	}
	tests := []struct {
		name     string
		in       []byte
		want     frame.Header
		complete bool
		err      error
	}{
		{"empty", nil, frame.Header{}, false, nil},
		{"one byte", []byte{0x82}, frame.Header{}, false, nil},
		{"binary 0", []byte{0x82, 0}, frame.Header{Fin: true, Opcode: frame.Binary, Size: 2}, true, nil},
		{"text 125", []byte{0x81, 125}, frame.Header{Fin: true, Opcode: frame.Text, Size: 2, Length: 125}, true, nil},
		{"126 short", []byte{0x82, 126, 0}, frame.Header{}, false, nil},
		{"126", []byte{0x82, 126, 0, 126}, frame.Header{Fin: true, Opcode: frame.Binary, Size: 4, Length: 126}, true, nil},
		{"126 not minimal", []byte{0x82, 126, 0, 125}, frame.Header{}, false, frame.ErrLength},
		{"65535", []byte{0x82, 126, 255, 255}, frame.Header{Fin: true, Opcode: frame.Binary, Size: 4, Length: 65535}, true, nil},
		{"65536", long(0x82, 65536), frame.Header{Fin: true, Opcode: frame.Binary, Size: 10, Length: 65536}, true, nil},
		{"127 not minimal", long(0x82, 65535), frame.Header{}, false, frame.ErrLength},
		{"127 top bit", long(0x82, 1<<63), frame.Header{}, false, frame.ErrLength},
		{"fragment", []byte{0x02, 3}, frame.Header{Opcode: frame.Binary, Size: 2, Length: 3}, true, nil},
		{"ping", []byte{0x89, 4}, frame.Header{Fin: true, Opcode: frame.Ping, Size: 2, Length: 4}, true, nil},
		{"masked", []byte{0x82, 0x85}, frame.Header{}, false, frame.ErrMasked},
		{"rsv1", []byte{0xC2, 0}, frame.Header{}, false, frame.ErrReserved},
		{"rsv3", []byte{0x92, 0}, frame.Header{}, false, frame.ErrReserved},
		{"opcode 3", []byte{0x83, 0}, frame.Header{}, false, frame.ErrOpcode},
		{"opcode B", []byte{0x8B, 0}, frame.Header{}, false, frame.ErrOpcode},
		{"long ping", []byte{0x89, 126, 0, 126}, frame.Header{}, false, frame.ErrControl},
		{"fragmented close", []byte{0x08, 2}, frame.Header{}, false, frame.ErrControl},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, complete, err := frame.Parse(tt.in)
			if !errors.Is(err, tt.err) || complete != tt.complete {
				t.Fatalf("Parse = %v, %v; want %v, %v", complete, err, tt.complete, tt.err)
			}
			if complete && h != tt.want {
				t.Errorf("header = %+v, want %+v", h, tt.want)
			}
		})
	}
}

// TestAppend reads the written frames back by the letter of RFC 6455 §5.2 and
// §5.3, byte by byte.
func TestAppend(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 125, 126, 127, 65535, 65536, 70001} {
		payload := []byte(strings.Repeat("abcdefghijk", n/11+1))[:n]
		got := frame.Append([]byte("x"), frame.Binary, payload, 0x89abcdef)[1:]
		size := 2
		switch {
		case n >= 1<<16:
			size = 10
		case n >= 126:
			size = 4
		}
		if got[0] != 0x82 || got[1]&0x80 == 0 {
			t.Fatalf("%d: first bytes %x", n, got[:2])
		}
		if len(got) != size+4+n || len(got)-n > frame.MaxHeader {
			t.Fatalf("%d: %d bytes", n, len(got))
		}
		key, body := got[size:size+4], bytes.Clone(got[size+4:])
		for i := range body {
			body[i] ^= key[i%4]
		}
		if !bytes.Equal(body, payload) {
			t.Errorf("%d: payload differs", n)
		}
		unmasked := append([]byte{got[0], got[1] & 0x7f}, got[2:size]...)
		h, complete, err := frame.Parse(unmasked)
		if err != nil || !complete || h.Length != int64(n) || h.Size != size {
			t.Errorf("%d: header %+v, %v, %v", n, h, complete, err)
		}
	}
}

func TestCloseCode(t *testing.T) {
	tests := []struct {
		in   string
		want int
		ok   bool
	}{
		{"", frame.NoStatus, true},
		{"\x03", 0, false},
		{"\x03\xe8", 1000, true},
		{"\x03\xe9going", 1001, true},
		{"\x03\xec", 1004, false},
		{"\x03\xed", 1005, false},
		{"\x03\xee", 1006, false},
		{"\x03\xf5", 1013, true},
		{"\x03\xf7", 1015, false},
		{"\x0b\xb8", 3000, true},
		{"\x13\x87", 4999, true},
		{"\x13\x88", 5000, false},
		{"\x03\xe8\xff", 1000, false},
	}
	for _, tt := range tests {
		got, err := frame.CloseCode([]byte(tt.in))
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("CloseCode(%q) = %d, %v", tt.in, got, err)
		}
	}
}
