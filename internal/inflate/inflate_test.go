package inflate_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"wsgateway/internal/inflate"
)

func deflate(tb testing.TB, p []byte, level int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		tb.Fatal(err)
	}
	_, _ = w.Write(p)
	_ = w.Flush()
	return b.Bytes()
}

func mixed(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda")
	var b []byte
	for len(b) < n {
		b = append(b, words[rnd.IntN(len(words))]...)
		if rnd.IntN(20) == 0 {
			b = append(b, byte(rnd.Uint32()), byte(rnd.Uint32()))
		}
	}
	return b[:n]
}

// What the standard library has compressed comes back, for every kind of block.
func TestRoundTrip(t *testing.T) {
	for _, p := range [][]byte{nil, []byte("a"), mixed(300), mixed(40_000), mixed(200_000), make([]byte, 100_000)} {
		for _, level := range []int{flate.NoCompression, flate.HuffmanOnly, 1, 6, 9} {
			got, err := inflate.Stream(deflate(t, p, level), nil, 32<<10)
			if err != nil || !bytes.Equal(got, p) {
				t.Errorf("%d bytes, level %d: %d bytes came back, %v", len(p), level, len(got), err)
			}
		}
	}
}

// A reference is taken up to the size of the window, and no farther.
func TestWindow(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, distance := range []int{256, 257, 1024, 32768} {
		p := make([]byte, distance)
		for i := range p {
			p[i] = byte(rnd.Uint32())
		}
		p = append(p, p[:100]...)
		in := deflate(t, p, 9)
		if got, err := inflate.Stream(in, nil, distance); err != nil || !bytes.Equal(got, p) {
			t.Errorf("a window of %d: %v", distance, err)
		}
		var e *inflate.WindowError
		if _, err := inflate.Stream(in, nil, distance-1); !errors.As(err, &e) || e.Distance != distance || e.Window != distance-1 {
			t.Errorf("a reference %d bytes back in a window of one byte less: %v", distance, err)
		}
	}
}

// A reference into the history is one into the window.
func TestHistory(t *testing.T) {
	history := mixed(1000)
	var b bytes.Buffer
	w, _ := flate.NewWriterDict(&b, 9, history)
	_, _ = w.Write(history[:500])
	_ = w.Flush()
	if got, err := inflate.Stream(b.Bytes(), history, 1000); err != nil || !bytes.Equal(got, history[:500]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := inflate.Stream(b.Bytes(), history[500:], 1000); err == nil {
		t.Error("a reference to what was never sent")
	}
	var e *inflate.WindowError
	if _, err := inflate.Stream(b.Bytes(), history, 900); !errors.As(err, &e) {
		t.Errorf("a reference 1000 bytes back in a window of 900: %v", err)
	}
}

// Arbitrary bytes: the content and the verdict are those of the standard library.
func FuzzStream(f *testing.F) {
	for _, level := range []int{0, flate.HuffmanOnly, 1, 9} {
		f.Add(deflate(f, mixed(500), level))
	}
	f.Add([]byte("\x00\x05\x00\xfa\xffHello\x01\x00\x00\xff\xff"))
	f.Fuzz(func(t *testing.T, p []byte) {
		got, err := inflate.Stream(p, nil, 32<<10)
		if err != nil {
			return // which of two faults counts is not the same for all
		}
		// Without a final block the standard library waits for more.
		want, err := io.ReadAll(flate.NewReader(bytes.NewReader(p)))
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && len(want) < len(got) {
			var corrupt flate.CorruptInputError
			if errors.As(err, &corrupt) {
				t.Skip() // it demands complete codes, which RFC 1951 does not
			}
		}
		if !bytes.HasPrefix(got, want) {
			t.Fatalf("% x: got %q, want %q", p, got, want)
		}
	})
}
