package wsproto_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"pgregory.net/rapid"

	"wsgateway/wsproto"
)

func TestAppendHeader(t *testing.T) {
	lengths := []int{0, 1, 125, 126, 127, 255, 256, 65535, 65536, 65537, math.MaxInt32, math.MaxInt}
	for _, n := range []int64{math.MaxInt32 + 1, math.MaxUint32, math.MaxUint32 + 1} {
		if n <= math.MaxInt { // an int has 32 bits on some systems
			lengths = append(lengths, int(n))
		}
	}
	for _, n := range lengths {
		for _, op := range []wsproto.Opcode{wsproto.OpText, wsproto.OpBinary, wsproto.OpContinuation, wsproto.OpPing, wsproto.OpPong} {
			for _, final := range []bool{true, false} {
				if op.IsControl() && (n > 125 || !final) {
					continue
				}
				t.Run(fmt.Sprintf("RFC6455/5.2/opcode_%v/fin_%v/%d", op, final, n), func(t *testing.T) {
					got := wsproto.AppendHeader([]byte("x"), final, op, n)
					var want bytes.Buffer
					want.WriteByte('x')
					if err := ws.WriteHeader(&want, ws.Header{Fin: final, OpCode: ws.OpCode(op), Length: int64(n)}); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(got, want.Bytes()) {
						t.Errorf("% x, want % x", got, want.Bytes())
					}
					if wsproto.HeaderLen(n) != len(got)-1 {
						t.Errorf("HeaderLen is %d", wsproto.HeaderLen(n))
					}
				})
			}
		}
	}
}

func TestAppendHeaderRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"long_control", func() { wsproto.AppendFrame(nil, wsproto.OpPing, make([]byte, 126)) }},
		{"fragmented_control", func() { wsproto.AppendHeader(nil, false, wsproto.OpClose, 0) }},
		{"negative", func() { wsproto.AppendHeader(nil, true, wsproto.OpText, -1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			c.f()
		})
	}
}

func TestAppendFrame(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		payload := strings.Repeat("p", n)
		got := wsproto.AppendFrame(nil, wsproto.OpBinary, []byte(payload))
		f, err := readFrame(bytes.NewReader(got))
		if err != nil || f.Header.Masked || !f.Header.Fin || f.Header.Rsv != 0 || string(f.Payload) != payload {
			t.Errorf("%d: %+v, %v", n, f.Header, err)
		}
	}
}

// step is a message or a control frame that a generated client sends.
type step struct {
	op      byte
	payload []byte
	parts   int
	pings   [][]byte // between its fragments
}

func genStep(t *rapid.T) step {
	s := step{op: rapid.SampledFrom([]byte{opText, opBin, opPing, opPong}).Draw(t, "opcode")}
	switch s.op {
	case opText:
		s.payload = []byte(rapid.StringN(0, 300, -1).Draw(t, "text"))
	case opBin:
		s.payload = rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "binary")
	default:
		s.payload = rapid.SliceOfN(rapid.Byte(), 0, 125).Draw(t, "control")
		return s
	}
	if rapid.IntRange(0, 9).Draw(t, "big") == 0 {
		s.payload = bytes.Repeat(s.payload, 400)
	}
	s.parts = rapid.IntRange(1, 4).Draw(t, "fragments")
	s.pings = rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 20), 0, s.parts-1).Draw(t, "pings")
	return s
}

// encode masks like a client, with gobwas/ws.
func (s step) encode(t *rapid.T, wire []byte, want *strings.Builder) []byte {
	add := func(final bool, op byte, p []byte) {
		f := ws.NewFrame(ws.OpCode(op), final, bytes.Clone(p))
		f = ws.MaskFrameInPlaceWith(f, [4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "mask")))
		var b bytes.Buffer
		if err := ws.WriteFrame(&b, f); err != nil {
			t.Fatal(err)
		}
		wire = append(wire, b.Bytes()...)
	}
	switch s.op {
	case opPing:
		add(true, s.op, s.payload)
		fmt.Fprintf(want, "ping %s\n", quote(s.payload))
		return wire
	case opPong:
		add(true, s.op, s.payload)
		fmt.Fprintf(want, "pong %s\n", quote(s.payload))
		return wire
	}
	op, rest, pings := s.op, s.payload, s.pings
	for i := range s.parts - 1 {
		n := rapid.IntRange(0, len(rest)).Draw(t, "cut")
		add(false, op, rest[:n])
		op, rest = opCont, rest[n:]
		if i < len(pings) {
			add(true, opPing, pings[i])
			fmt.Fprintf(want, "ping %s\n", quote(pings[i]))
		}
	}
	add(true, op, rest)
	fmt.Fprintf(want, "message %d %s\n", s.op, quote(s.payload))
	return wire
}

// What a client encodes, however it is fragmented and split, is decoded.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var wire []byte
		var want strings.Builder
		for _, s := range rapid.SliceOfN(rapid.Custom(genStep), 1, 6).Draw(rt, "steps") {
			wire = s.encode(rt, wire, &want)
		}
		var chunks [][]byte
		for rest := wire; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "chunk")
			chunks, rest = append(chunks, rest[:n]), rest[n:]
		}
		if got := trace(t, chunks, defaultLimits); got != want.String() {
			rt.Fatalf("%s\nwant:\n%s", got, want.String())
		}
	})
}
