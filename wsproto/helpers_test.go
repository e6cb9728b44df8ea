package wsproto_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"wsgateway/wsproto"
)

const (
	fin  = 0x80
	rsv1 = 0x40
	rsv2 = 0x20
	rsv3 = 0x10
)

var testMask = [4]byte{0x37, 0xFA, 0x21, 0x3D}

// frame encodes a client's frame by itself, without the package under test: b0
// is its first octet, the length takes its shortest form.
func frame(b0 byte, payload string) []byte { return frameMask(b0, testMask, []byte(payload)) }

func frameMask(b0 byte, mask [4]byte, payload []byte) []byte {
	p := head(b0, uint64(len(payload)))
	copy(p[len(p)-4:], mask[:])
	for i, c := range payload {
		p = append(p, c^mask[i%4])
	}
	return p
}

// head encodes the header of a masked frame that declares n bytes.
func head(b0 byte, n uint64) []byte {
	p := []byte{b0}
	switch {
	case n < 126:
		p = append(p, 0x80|byte(n))
	case n < 1<<16:
		p = binary.BigEndian.AppendUint16(append(p, 0x80|126), uint16(n))
	default:
		p = binary.BigEndian.AppendUint64(append(p, 0x80|127), n)
	}
	return append(p, testMask[:]...)
}

func closePayload(code int, reason string) string {
	return string([]byte{byte(code >> 8), byte(code)}) + reason
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

var defaultLimits = wsproto.Limits{MaxMessage: 1 << 20, MaxFragments: 1024}

var errBudget = errors.New("memory budget spent")

// buffers is a wsproto.Buffers that keeps account, and spoils what is freed, so
// that a view used too late shows.
type buffers struct {
	tb     testing.TB
	live   map[*byte]bool
	copied int // bytes copied by Grow
	peak   int // largest capacity lent
	grows  int
	refuse int // capacity from which on Grow refuses; 0 is never
	exact  bool
}

func newBuffers(tb testing.TB) *buffers { return &buffers{tb: tb, live: map[*byte]bool{}} }

func (m *buffers) Grow(b []byte, n int) ([]byte, error) {
	m.grows++
	if n <= 0 {
		m.tb.Errorf("Grow(%d bytes, %d)", len(b), n)
	}
	size := len(b) + n
	if m.refuse > 0 && size >= m.refuse {
		return b, errBudget
	}
	if !m.exact {
		size = max(size, 64)
	}
	nb := make([]byte, len(b), size)
	copy(nb, b)
	m.copied += len(b)
	m.peak = max(m.peak, size)
	if b != nil {
		m.Free(b)
	}
	m.live[&nb[:1][0]] = true
	return nb, nil
}

func (m *buffers) Free(b []byte) {
	key := &b[:1][0]
	if !m.live[key] {
		m.tb.Errorf("freed a buffer that is not lent")
	}
	delete(m.live, key)
	for i := range b[:cap(b)] {
		b[:cap(b)][i] = 0xEE
	}
}

// trace feeds the chunks to a new decoder and returns its events as text, one a
// line, the error last. It checks the promises that hold for every input.
func trace(tb testing.TB, chunks [][]byte, lim wsproto.Limits) string {
	tb.Helper()
	var d wsproto.Decoder
	bufs := newBuffers(tb)
	var out strings.Builder
	ended := false
	for _, chunk := range chunks {
		p := bytes.Clone(chunk)
		for rest := p; ; {
			ev, n, err := d.Next(rest, &lim, bufs)
			if n < 0 || n > len(rest) {
				tb.Fatalf("consumed %d of %d", n, len(rest))
			}
			if (ev.Kind == wsproto.NeedMore || err != nil) && n != len(rest) {
				tb.Fatalf("left %d bytes with kind %d, error %v", len(rest)-n, ev.Kind, err)
			}
			if ended && (ev.Kind != wsproto.NeedMore || err != nil) {
				tb.Fatalf("event %v, error %v after the end", ev, err)
			}
			if err != nil {
				var pe *wsproto.ProtocolError
				if !errors.As(err, &pe) {
					tb.Fatalf("error %v of type %T", err, err)
				}
				fmt.Fprintf(&out, "fail %d %s\n", pe.Code, pe.Section)
				ended = true
			}
			switch ev.Kind {
			case wsproto.Message:
				fmt.Fprintf(&out, "message %d %s\n", ev.Opcode, quote(ev.Payload))
			case wsproto.Ping:
				fmt.Fprintf(&out, "ping %s\n", quote(ev.Payload))
			case wsproto.Pong:
				fmt.Fprintf(&out, "pong %s\n", quote(ev.Payload))
			case wsproto.Close:
				fmt.Fprintf(&out, "close %d %s\n", ev.Code, quote(ev.Payload))
				ended = true
			}
			if most := 2*lim.MaxMessage + 64; int64(d.Held()) > most {
				tb.Fatalf("holds %d bytes with a limit of %d", d.Held(), lim.MaxMessage)
			}
			if d.AtRest() && (d.MidFrame() || d.MidMessage() || d.Held() > 0 || ended) {
				tb.Fatal("at rest, and not")
			}
			rest = rest[n:]
			if ev.Kind == wsproto.NeedMore {
				break
			}
		}
		for i := range p { // the caller's buffer is its own again
			p[i] = 0xDD
		}
	}
	if ended && d.Held() > 0 {
		tb.Fatal("holds memory after the end")
	}
	d.Release(bufs)
	if !reflect.ValueOf(d).IsZero() {
		tb.Fatal("not the zero value after Release")
	}
	if !d.AtRest() || len(bufs.live) > 0 {
		tb.Fatalf("%d buffers lent after Release", len(bufs.live))
	}
	return out.String()
}

// quote shortens long payloads to what tells them apart.
func quote(p []byte) string {
	if len(p) <= 200 {
		return fmt.Sprintf("%q", p)
	}
	sum := uint64(14695981039346656037)
	for _, c := range p {
		sum = (sum ^ uint64(c)) * 1099511628211
	}
	return fmt.Sprintf("%d bytes, sum %x", len(p), sum)
}

// splits returns the input whole, byte by byte, and cut at random in n ways.
func splits(p []byte, n int, rnd *rand.Rand) map[string][][]byte {
	m := map[string][][]byte{"whole": {p}}
	if len(p) <= 1<<17 {
		m["bytes"] = slices.Collect(slices.Chunk(p, 1))
	}
	for i := range n {
		m[fmt.Sprint("random", i)] = cutRandomly(p, rnd)
	}
	return m
}

func cutRandomly(p []byte, rnd *rand.Rand) (chunks [][]byte) {
	for len(p) > 0 {
		n := 1 + rnd.IntN(min(len(p), 1+rnd.IntN(len(p))))
		chunks, p = append(chunks, p[:n]), p[n:]
	}
	return chunks
}

func newRand(tb testing.TB) *rand.Rand {
	h := uint64(1)
	for _, c := range []byte(tb.Name()) {
		h = h*31 + uint64(c)
	}
	return rand.New(rand.NewPCG(h, 1))
}

// checkTrace feeds the input in all splits and compares the events.
func checkTrace(t *testing.T, in []byte, lim wsproto.Limits, want string) {
	t.Helper()
	for name, chunks := range splits(in, 3, newRand(t)) {
		if got := trace(t, chunks, lim); got != want {
			t.Errorf("%s:\n%swant:\n%s", name, got, want)
		}
	}
}

// readFrame reads a frame with gobwas's own reader. A length beyond what is there is an error.
func readFrame(r *bytes.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	if h.Length > int64(r.Len()) {
		return ws.Frame{Header: h}, io.ErrUnexpectedEOF
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}
