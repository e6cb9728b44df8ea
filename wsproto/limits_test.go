package wsproto_test

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"wsgateway/wsproto"
)

// allocated returns how many bytes of heap f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Declared lengths: judged by the header, and paid for only by what has come.
func TestDeclaredLength(t *testing.T) {
	const limit = 1 << 20
	lengths := []uint64{
		0, 1, 125, 126, 127, 65535, 65536, limit - 1, limit, limit + 1,
		1<<31 - 1, 1 << 31, 1<<31 + 1, 1<<32 - 1, 1 << 32, 1<<32 + 1,
		math.MaxInt64 - 1, math.MaxInt64, 1 << 63, 1<<63 + 1, math.MaxUint64,
	}
	for _, n := range lengths {
		for _, op := range []byte{fin | opBin, opText, fin | opCont} {
			t.Run(fmt.Sprintf("RFC6455/5.2/%#x/length_%d", op, n), func(t *testing.T) {
				want := wsproto.StatusCode(0)
				switch {
				case n > math.MaxInt64:
					want = wsproto.StatusProtocolError
				case n > limit:
					want = wsproto.StatusTooBig
				}
				lim := wsproto.Limits{MaxMessage: limit, MaxFragments: 16}
				bufs := newBuffers(t)
				var d wsproto.Decoder
				if op&0xF == opCont {
					if _, _, err := d.Next(frame(opText, ""), &lim, bufs); err != nil {
						t.Fatal(err)
					}
				}
				in := head(op, n)
				in = append(in, "some"[:min(n, 4)]...)
				for i := range 4 { // valid text once unmasked
					if i < len(in)-len(head(op, n)) {
						in[len(head(op, n))+i] ^= testMask[i]
					}
				}
				spent := allocated(func() {
					_, _, err := d.Next(in, &lim, bufs)
					var pe *wsproto.ProtocolError
					switch {
					case want == 0 && err != nil:
						t.Error(err)
					case want != 0 && (!errors.As(err, &pe) || pe.Code != want):
						t.Errorf("%v, want status %d", err, want)
					}
				})
				if spent >= 64<<10 || bufs.peak >= 1024 {
					t.Errorf("%d bytes allocated, %d lent", spent, bufs.peak)
				}
			})
		}
	}
}

// The limit holds for the sum of the fragments, on the header that crosses it.
func TestMessageLimit(t *testing.T) {
	lim := wsproto.Limits{MaxMessage: 1000, MaxFragments: 100}
	a, b, c := strings.Repeat("a", 400), strings.Repeat("b", 600), strings.Repeat("c", 601)
	t.Run("RFC6455/10.4/at_limit", func(t *testing.T) {
		checkTrace(t, cat(frame(opBin, a), frame(fin|opCont, b)), lim, "message 2 "+quote([]byte(a+b))+"\n")
	})
	t.Run("RFC6455/10.4/single_frame_at_limit", func(t *testing.T) {
		checkTrace(t, frame(fin|opBin, a+b), lim, "message 2 "+quote([]byte(a+b))+"\n")
	})
	t.Run("RFC6455/10.4/over_limit", func(t *testing.T) {
		checkTrace(t, cat(frame(opBin, a), head(fin|opCont, uint64(len(c)))), lim, "fail 1009 \n")
	})
	t.Run("RFC6455/10.4/empty_fragment_at_limit", func(t *testing.T) {
		checkTrace(t, cat(frame(opBin, a), frame(opCont, b), frame(fin|opCont, "")), lim, "message 2 "+quote([]byte(a+b))+"\n")
	})
	t.Run("RFC6455/10.4/byte_over_limit", func(t *testing.T) {
		checkTrace(t, cat(frame(opBin, a), frame(opCont, b), head(fin|opCont, 1)), lim, "fail 1009 \n")
	})
	t.Run("RFC6455/10.4/control_frames_do_not_count", func(t *testing.T) {
		checkTrace(t, cat(frame(opBin, a), frame(fin|opPing, long125[:125]), frame(fin|opCont, b)), lim,
			"ping \""+long125[:125]+"\"\nmessage 2 "+quote([]byte(a+b))+"\n")
	})
	t.Run("RFC6455/10.4/limit_of_one_byte", func(t *testing.T) {
		checkTrace(t, cat(frame(fin|opBin, "a"), frame(fin|opBin, "bc")), wsproto.Limits{MaxMessage: 1, MaxFragments: 1}, "message 2 \"a\"\nfail 1009 \n")
	})
}

func TestFragmentLimit(t *testing.T) {
	lim := wsproto.Limits{MaxMessage: 1000, MaxFragments: 3}
	for _, c := range []struct {
		name, want string
		in         []byte
	}{
		{"at_limit", "message 2 \"abc\"\n", cat(frame(opBin, "a"), frame(opCont, "b"), frame(fin|opCont, "c"))},
		{"over_limit", "fail 1008 \n", cat(frame(opBin, "a"), frame(opCont, "b"), frame(opCont, "c"), []byte{fin | opCont})},
		{"empty_ones_count", "fail 1008 \n", cat(frame(opBin, ""), frame(opCont, ""), frame(opCont, ""), []byte{opCont})},
		{"pings_do_not_count", "ping \"\"\nping \"\"\nmessage 2 \"abc\"\n", cat(frame(opBin, "a"), frame(fin|opPing, ""), frame(opCont, "b"), frame(fin|opPing, ""), frame(fin|opCont, "c"))},
		{"count_ends_with_the_message", "message 2 \"abc\"\nmessage 2 \"abc\"\n", cat(
			frame(opBin, "a"), frame(opCont, "b"), frame(fin|opCont, "c"), frame(opBin, "a"), frame(opCont, "b"), frame(fin|opCont, "c"))},
	} {
		t.Run(c.name, func(t *testing.T) { checkTrace(t, c.in, lim, c.want) })
	}
}

// A 16 MiB message in pieces is assembled with copies that add up to no more
// than a few times its size, even from buffers that give exactly what is asked.
func TestAssemblyIsLinear(t *testing.T) {
	const size = 16 << 20
	lim := wsproto.Limits{MaxMessage: size, MaxFragments: size}
	payload := make([]byte, size)
	one := frameMask(fin|opBin, testMask, payload)
	var many []byte
	for i := 0; i < size; i += 1024 {
		b0 := byte(opCont)
		if i == 0 {
			b0 = opBin
		}
		if i+1024 == size {
			b0 |= fin
		}
		many = append(many, frameMask(b0, testMask, payload[i:i+1024])...)
	}
	for _, c := range []struct {
		name  string
		in    []byte
		piece int
	}{{"one frame in 1 KiB pieces", one, 1024}, {"fragments of 1 KiB in pieces", many, 700}, {"fragments of 1 KiB at once", many, len(many)}} {
		var d wsproto.Decoder
		bufs := newBuffers(t)
		bufs.exact = true
		got := 0
		for p := c.in; len(p) > 0; {
			chunk := p[:min(c.piece, len(p))]
			p = p[len(chunk):]
			for len(chunk) > 0 {
				ev, n, err := d.Next(chunk, &lim, bufs)
				if err != nil || bufs.copied > 2*size {
					t.Fatalf("%s: %d bytes copied, %v", c.name, bufs.copied, err)
				}
				if ev.Kind == wsproto.Message {
					got = len(ev.Payload)
				}
				chunk = chunk[n:]
			}
		}
		if got != size {
			t.Fatalf("%s: message of %d bytes", c.name, got)
		}
		if bufs.grows > 40 || bufs.peak > size {
			t.Errorf("%s: %d bytes copied in %d steps, %d lent", c.name, bufs.copied, bufs.grows, bufs.peak)
		}
		d.Release(bufs)
	}
}
