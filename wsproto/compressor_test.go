package wsproto_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"wsgateway/internal/inflate"
	"wsgateway/wsproto"
)

// decompress inflates a payload as a client does, with the standard library.
func decompress(tb testing.TB, p []byte) []byte {
	out, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// windows are all sizes of windows, as powers of two.
var windows = []int{8, 9, 10, 11, 12, 13, 14, 15}

// repetitive returns n bytes in which much is repeated, at distances of all sizes.
func repetitive(tb testing.TB, n int) []byte {
	rnd := newRand(tb)
	b := []byte(jsonText(300))
	for len(b) < n {
		back := 1 + rnd.IntN(len(b))
		b = append(b, b[len(b)-back:][:min(back, 3+rnd.IntN(200))]...)
		b = append(b, byte(rnd.Uint32()))
	}
	return b[:n]
}

// What a compressor sends can be read with a window of exactly its size, and comes back as it was.
func TestCompress(t *testing.T) {
	for _, level := range []int{1, 6, 7, 9} {
		for _, bits := range windows {
			d := wsproto.NewDeflater(1, level)
			for _, p := range [][]byte{
				[]byte(jsonText(200)), []byte(jsonText(70_000)), make([]byte, 1<<20), []byte(jsonText(600)),
				repetitive(t, 5000), repetitive(t, 300_000), bytes.Repeat([]byte(jsonText(1<<bits+500)), 3),
			} {
				c := d.Take(bits)
				z := c.Compress(p)
				if len(z) == 0 || len(z) >= len(p) {
					t.Errorf("level %d, %d window bits: %d bytes became %d", level, bits, len(p), len(z))
				}
				got, err := inflate.Stream(append(bytes.Clone(z), 0, 0, 0xFF, 0xFF), nil, 1<<bits)
				if err != nil || !bytes.Equal(got, p) {
					t.Errorf("level %d, %d window bits: %d bytes came back as %d, %v", level, bits, len(p), len(got), err)
				}
				if !bytes.Equal(decompress(t, z), p) {
					t.Errorf("level %d, %d window bits: %d bytes differ", level, bits, len(p))
				}
				d.Put(c)
			}
		}
	}
}

// The check above would notice a larger window: the largest one does not fit into any other.
func TestCompressUsesTheWindow(t *testing.T) {
	p := repetitive(t, 300_000)
	for _, bits := range windows[:len(windows)-1] {
		larger := wsproto.NewDeflater(1, 1).Take(bits + 1).Compress(p)
		var e *inflate.WindowError
		if _, err := inflate.Stream(larger, nil, 1<<bits); !errors.As(err, &e) {
			t.Errorf("%d window bits, read with %d: %v", bits+1, bits, err)
		}
	}
}

// What does not become shorter is not worth sending compressed.
func TestCompressDoesNotPay(t *testing.T) {
	rnd := newRand(t)
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	for _, bits := range windows {
		d := wsproto.NewDeflater(1, 1)
		for _, p := range [][]byte{nil, []byte("a"), []byte("Hello"), noise} {
			c := d.Take(bits)
			if z := c.Compress(p); z != nil && len(z) >= len(p) {
				t.Errorf("%d window bits: %d bytes became %d", bits, len(p), len(z))
			}
			d.Put(c)
		}
	}
}

// There are never more compressors than allowed, for all windows together, and none is lost.
func TestDeflaterBound(t *testing.T) {
	d := wsproto.NewDeflater(2, 1)
	for i := range 3 * len(windows) {
		bits := windows[len(windows)-1-i/3] // from the largest down: a smaller one would do for a larger
		a := d.Take(bits)
		if i == 0 && a == nil {
			t.Fatal("the first one should be there")
		}
		if a == nil {
			continue
		}
		b := d.Take(bits)
		if a == b || a.WindowBits() > bits || b != nil && b.WindowBits() > bits {
			t.Fatalf("%d window bits: took %v and %v", bits, a, b)
		}
		if c := d.Take(8); c != nil {
			t.Fatal("a third one")
		}
		d.Put(a)
		if b != nil {
			d.Put(b)
		}
	}
}

// A compressor for another window is made in place of one that is out of use. Two kinds of clients
// that are both active do not replace each other's.
func TestDeflaterReplaces(t *testing.T) {
	take := func(d *wsproto.Deflater, bits int) int {
		c := d.Take(bits)
		if c == nil {
			return 0
		}
		defer d.Put(c)
		return c.WindowBits()
	}
	d := wsproto.NewDeflater(1, 1)
	if got := take(d, 15); got != 15 {
		t.Fatalf("took a window of %d bits, want 15", got)
	}
	made := map[int]int{}
	for range 1000 { // both active: the one there is stays
		made[take(d, 15)]++
		made[take(d, 9)]++
	}
	if made[15] != 1000 || made[0] != 1000 {
		t.Errorf("took %v, want 15 bits 1000 times and none 1000 times", made)
	}
	got := 0
	for range 100 { // now the large one is out of use
		got = take(d, 9)
	}
	if got != 9 {
		t.Errorf("took a window of %d bits, want 9", got)
	}
	if got := take(d, 15); got != 9 {
		t.Errorf("took a window of %d bits, want the 9 that are there", got)
	}
	for range 100 { // a small one lent to large windows is out of use all the same
		got = take(d, 15)
	}
	if got != 15 {
		t.Errorf("took a window of %d bits, want 15", got)
	}
}

// Any number of goroutines may take and put at once.
func TestDeflaterConcurrently(t *testing.T) {
	d := wsproto.NewDeflater(3, 1)
	var taken atomic.Int32
	var wg sync.WaitGroup
	for _, bits := range windows {
		wg.Go(func() {
			p := []byte(jsonText(2000))
			for range 100 {
				c := d.Take(bits)
				if c == nil {
					continue
				}
				if n := taken.Add(1); n > 3 {
					t.Errorf("%d at once", n)
				}
				if z := c.Compress(p); !bytes.Equal(decompress(t, z), p) {
					t.Errorf("%d window bits: %d bytes differ", bits, len(p))
				}
				taken.Add(-1)
				d.Put(c)
			}
		})
	}
	wg.Wait()
}

func TestAppendDeflatedHeader(t *testing.T) {
	if got := wsproto.AppendDeflatedHeader([]byte("x"), wsproto.OpBinary, 126); string(got) != "x\xC2\x7E\x00\x7E" {
		t.Errorf("%x", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("RSV1 on a ping")
		}
	}()
	wsproto.AppendDeflatedHeader(nil, wsproto.OpPing, 0)
}

func TestDeflateNoAllocation(t *testing.T) {
	lim, acc := deflateLimits(1<<20), &keep{b: make([]byte, 0, 1<<20)}
	in := frameMask(fin|rsv1|opText, [4]byte{}, []byte(deflate(t, []byte(jsonText(372)), 1)))
	var dec wsproto.Decoder
	if n := testing.AllocsPerRun(100, func() {
		if ev, _, err := dec.Next(in, &lim, acc); err != nil || len(ev.Payload) != 372 || ev.Deflated != len(in)-8 && ev.Deflated != len(in)-6 {
			t.Fatal(ev, err)
		}
	}); n != 0 {
		t.Errorf("inflate: %v allocations", n)
	}
	d, p := wsproto.NewDeflater(1, 1), []byte(jsonText(372))
	if n := testing.AllocsPerRun(100, func() {
		c := d.Take(wsproto.MaxWindowBits)
		if c.Compress(p) == nil {
			t.Fatal("not smaller")
		}
		d.Put(c)
	}); n != 0 {
		t.Errorf("compress: %v allocations", n)
	}
}
