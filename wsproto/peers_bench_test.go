package wsproto_test

import (
	"bytes"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"wsgateway/wsproto"
)

// The decoder beside the readers of gobwas/ws. Every variant does the same work:
// read the header and check it, unmask, check the UTF-8 of texts, give out the
// payload.

// sizeClasses is a wsproto.Buffers that lends powers of two and keeps one of each
// that came back, as a server's pool would. It counts.
type sizeClasses struct {
	free                [48][]byte
	grows, copied, held int
	peak                int // of held: bytes lent at once, both buffers of a copy included
}

func (s *sizeClasses) Grow(b []byte, n int) ([]byte, error) {
	class := bits.Len(uint(max(len(b)+n, 64) - 1))
	nb := s.free[class]
	s.free[class] = nil
	if nb == nil {
		nb = make([]byte, 0, 1<<class)
	}
	nb = append(nb[:0], b...)
	s.grows++
	s.copied += len(b)
	s.held += cap(nb)
	s.peak = max(s.peak, s.held)
	if b != nil {
		s.Free(b)
	}
	return nb, nil
}

func (s *sizeClasses) Free(b []byte) {
	s.held -= cap(b)
	s.free[bits.Len(uint(cap(b)-1))] = b[:0]
}

// variant is one way to do a piece of work on n bytes.
type variant struct {
	name string
	run  func()
}

func (v variant) bench(b *testing.B, bytes int) {
	b.Run(v.name, func(b *testing.B) {
		v.run() // the first round fills the pools
		b.ReportAllocs()
		b.SetBytes(int64(bytes))
		for b.Loop() {
			v.run()
		}
	})
}

// mixedText returns n bytes of characters of one to four octets.
func mixedText(n int) string {
	const sample = "Grüße, κόσμε! 你好，世界 — привет 💩 and some ASCII in between. "
	s := strings.Repeat(sample, n/len(sample)+1)[:n]
	for len(s) > 0 && !utf8.ValidString(s) { // a character cut in two at the end
		s = s[:len(s)-1]
	}
	return s + strings.Repeat(".", n-len(s))
}

// kinds are the kinds of payloads; the suffix goes behind the size in the names.
var kinds = []struct {
	suffix string
	op     byte
	fill   func(n int) string
}{
	{"", opText, jsonText},
	{"-utf8", opText, mixedText},
	{"-binary", opBin, jsonText},
}

var peerSizes = []int{0, 16, 64, 125, 1 << 10, 16 << 10, 64 << 10, 1 << 20}

func sizeName(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%dMiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%dKiB", n>>10)
	}
	return fmt.Sprintf("%dB", n)
}

// must fails the test unless err is nil and the payload has the size wanted.
func must(tb testing.TB, payload []byte, size int, err error) {
	if err != nil || len(payload) != size {
		tb.Fatal(len(payload), err)
	}
}

// oneFrame decodes the wire bytes of a message of one frame.
//
// Unmasking in place leaves the input spoilt for the next round, so that each
// round starts with a copy of the wire bytes. The readers of gobwas/ws, which
// copy the payload out, would not need it; they get it all the same, since it
// stands for the read from the socket, which both have.
func oneFrame(tb testing.TB, wire []byte, size int) variant {
	var d wsproto.Decoder
	in, bufs := make([]byte, len(wire)), new(sizeClasses)
	return variant{"wsgateway", func() {
		copy(in, wire)
		ev, n, err := d.Next(in, &defaultLimits, bufs)
		must(tb, ev.Payload, size, err)
		if ev.Kind != wsproto.Message || n != len(in) {
			tb.Fatal(ev.Kind, n)
		}
	}}
}

func oneFrameReadFrame(tb testing.TB, wire []byte, size int) variant {
	in, r := make([]byte, len(wire)), new(bytes.Reader)
	return variant{"gobwas-ReadFrame", func() {
		copy(in, wire)
		r.Reset(in)
		//lint:ignore SA1019 what is compared is what users of it call
		f, err := ws.ReadFrame(r)
		if err == nil {
			err = ws.CheckHeader(f.Header, ws.StateServerSide)
		}
		must(tb, f.Payload, size, err)
		f = ws.UnmaskFrameInPlace(f)
		if f.Header.OpCode == ws.OpText && !utf8.Valid(f.Payload) {
			tb.Fatal("not UTF-8")
		}
	}}
}

func readClientData(tb testing.TB, wire []byte, size int) variant {
	in, r := make([]byte, len(wire)), new(bytes.Reader)
	rw := struct {
		io.Reader
		io.Writer
	}{r, io.Discard}
	return variant{"gobwas-wsutil", func() {
		copy(in, wire)
		r.Reset(in)
		payload, _, err := wsutil.ReadClientData(rw)
		must(tb, payload, size, err)
	}}
}

func BenchmarkFrame(b *testing.B) {
	for _, kind := range kinds {
		for _, size := range peerSizes {
			wire := frame(fin|kind.op, kind.fill(size))
			b.Run(sizeName(size)+kind.suffix, func(b *testing.B) {
				oneFrame(b, wire, size).bench(b, len(wire))
				oneFrameReadFrame(b, wire, size).bench(b, len(wire))
				readClientData(b, wire, size).bench(b, len(wire))
			})
		}
	}
}

// onlyHeader gives the decoder the header of a frame whose payload has not come.
// It includes what it costs to forget the frame again.
func onlyHeader(tb testing.TB, wire []byte) variant {
	var d wsproto.Decoder
	bufs := new(sizeClasses)
	return variant{"wsgateway", func() {
		ev, n, err := d.Next(wire, &defaultLimits, bufs)
		if ev.Kind != wsproto.NeedMore || n != len(wire) || err != nil || !d.MidFrame() {
			tb.Fatal(ev, n, err)
		}
		d.Release(bufs)
	}}
}

func BenchmarkFrameHeader(b *testing.B) {
	for _, size := range []int{64, 1 << 10, 1 << 20} {
		wire := head(fin|opBin, uint64(size))
		b.Run(fmt.Sprintf("%d_of_header", len(wire)), func(b *testing.B) {
			onlyHeader(b, wire).bench(b, len(wire))
			r := new(bytes.Reader)
			read := func() {
				r.Reset(wire)
				h, err := ws.ReadHeader(r)
				if err == nil {
					err = ws.CheckHeader(h, ws.StateServerSide)
				}
				if err != nil || h.Length != int64(size) {
					b.Fatal(h, err)
				}
			}
			variant{"gobwas-ReadHeader", read}.bench(b, len(wire))
		})
	}
}

// The decoder unmasks with ws.Cipher. The plain loop is there for scale.
func BenchmarkFrameUnmask(b *testing.B) {
	for _, size := range peerSizes[1:] {
		p := make([]byte, size)
		b.Run(sizeName(size), func(b *testing.B) {
			variant{"ws.Cipher", func() { ws.Cipher(p, testMask, 0) }}.bench(b, size)
			variant{"bytewise", func() {
				for i := range p {
					p[i] ^= testMask[i%4]
				}
			}}.bench(b, size)
		})
	}
}

// feedText checks a text in parts with the decoder's own validator.
func feedText(tb testing.TB, name string, text []byte, part int) variant {
	parts := slices.Collect(slices.Chunk(text, part))
	return variant{name, func() {
		var s wsproto.TextState
		for _, p := range parts {
			if !s.Feed(p) {
				tb.Fatal("not UTF-8")
			}
		}
		if !s.Complete() {
			tb.Fatal("cut off")
		}
	}}
}

func readText(tb testing.TB, text []byte) variant {
	src, r, buf := new(bytes.Reader), new(wsutil.UTF8Reader), make([]byte, 4096)
	return variant{"gobwas-UTF8Reader", func() {
		src.Reset(text)
		r.Reset(src)
		var err error
		for err == nil {
			_, err = r.Read(buf)
		}
		if err != io.EOF || !r.Valid() {
			tb.Fatal(err)
		}
	}}
}

func BenchmarkFrameUTF8(b *testing.B) {
	for _, kind := range kinds[:2] {
		for _, size := range []int{16, 64, 125, 1 << 10, 16 << 10, 64 << 10, 1 << 20} {
			text := []byte(kind.fill(size))
			b.Run(sizeName(size)+kind.suffix, func(b *testing.B) {
				feedText(b, "wsgateway", text, size).bench(b, size)
				if size > 1<<10 {
					feedText(b, "wsgateway-1KiB-parts", text, 1<<10).bench(b, size)
				}
				readText(b, text).bench(b, size)
				variant{"utf8.Valid", func() {
					if !utf8.Valid(text) {
						b.Fatal("not UTF-8")
					}
				}}.bench(b, size)
			})
		}
	}
}

// inFragments returns the frames of a message that comes in n fragments.
func inFragments(op byte, payload string, n int) []byte {
	size := len(payload) / n
	wire := make([]byte, 0, len(payload)+14*n)
	for i := range n {
		b0, part := byte(opCont), payload[i*size:(i+1)*size]
		if i == 0 {
			b0 = op
		}
		if i == n-1 {
			b0, part = b0|fin, payload[i*size:]
		}
		wire = append(wire, frame(b0, part)...)
	}
	return wire
}

// assemble decodes a fragmented message that lies complete in the input.
func assemble(tb testing.TB, wire []byte, size int) variant {
	var d wsproto.Decoder
	in, bufs := make([]byte, len(wire)), new(sizeClasses)
	return variant{"wsgateway", func() {
		copy(in, wire)
		ev, n, err := d.Next(in, &defaultLimits, bufs)
		must(tb, ev.Payload, size, err)
		if n != len(in) {
			tb.Fatal(n)
		}
	}}
}

// assembleReader reads it with a wsutil.Reader that is used again, into memory
// that is there already: the least that gobwas/ws can spend on it.
func assembleReader(tb testing.TB, wire []byte, size int) variant {
	in, src, buf := make([]byte, len(wire)), new(bytes.Reader), make([]byte, size+1)
	r := wsutil.NewServerSideReader(src)
	r.CheckUTF8 = true
	return variant{"gobwas-Reader", func() {
		copy(in, wire)
		src.Reset(in)
		_, err := r.NextFrame()
		n := 0
		for err == nil {
			var m int
			m, err = r.Read(buf[n:])
			n += m
		}
		if err == io.EOF {
			err = nil
		}
		must(tb, buf[:n], size, err)
	}}
}

func BenchmarkFrameAssemble(b *testing.B) {
	const fragments = 64
	for _, kind := range kinds {
		for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
			wire := inFragments(kind.op, kind.fill(size), fragments)
			b.Run(fmt.Sprintf("%s%s_in_%d", sizeName(size), kind.suffix, fragments), func(b *testing.B) {
				assemble(b, wire, size).bench(b, len(wire))
				assembleReader(b, wire, size).bench(b, len(wire))
				readClientData(b, wire, size).bench(b, len(wire))
			})
		}
	}
}

// What the benchmarks show of the decoder holds in every run of the tests: no
// allocation, whatever the size and the kind.
func TestPeersBenchNoAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector adds allocations of its own")
	}
	check := func(name string, v variant) {
		if n := testing.AllocsPerRun(20, v.run); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	for _, kind := range kinds {
		for _, size := range peerSizes {
			name, payload := sizeName(size)+kind.suffix, kind.fill(size)
			check("frame of "+name, oneFrame(t, frame(fin|kind.op, payload), size))
			check("fragments of "+name, assemble(t, inFragments(kind.op, payload, 64), size))
			if kind.op == opText && size > 0 {
				check("text of "+name, feedText(t, "", []byte(payload), 1<<10))
			}
		}
	}
	for _, size := range []int{64, 1 << 10, 1 << 20} {
		check("header", onlyHeader(t, head(fin|opBin, uint64(size))))
	}
}

// The peers must give out the same payload, or the comparison is worth nothing.
func TestPeersAgree(t *testing.T) {
	for _, kind := range kinds {
		for _, size := range peerSizes {
			payload := kind.fill(size)
			if len(payload) != size || !utf8.ValidString(payload) {
				t.Fatalf("%s%s: bad sample", sizeName(size), kind.suffix)
			}
			for _, wire := range [][]byte{frame(fin|kind.op, payload), inFragments(kind.op, payload, 64)} {
				want := fmt.Sprintf("message %d %s\n", kind.op, quote([]byte(payload)))
				if got := trace(t, [][]byte{wire}, defaultLimits); got != want {
					t.Errorf("%s%s:\n%swant:\n%s", sizeName(size), kind.suffix, got, want)
				}
				got, _, err := wsutil.ReadClientData(struct {
					io.Reader
					io.Writer
				}{bytes.NewReader(wire), io.Discard})
				if err != nil || string(got) != payload {
					t.Errorf("%s%s: gobwas: %d bytes, %v", sizeName(size), kind.suffix, len(got), err)
				}
			}
		}
	}
}
