package wsproto_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"wsgateway/wsproto"
)

func deflateLimits(most int64) wsproto.Limits {
	return wsproto.Limits{MaxMessage: most, MaxFragments: 1024, Inflater: wsproto.NewInflater()}
}

// deflate compresses with the standard library, which shares nothing with the package.
func deflate(tb testing.TB, p []byte, level int) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(p); err != nil {
		tb.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

func bomb(tb testing.TB, n int) string { return deflate(tb, make([]byte, n), 9) }

// Vectors of RFC 7692 §7.2.3, and what it forbids.
func TestInflate(t *testing.T) {
	const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	text := []byte(jsonText(5000))
	small := deflate(t, text, 1)
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"one frame", frame(fin|rsv1|opText, hello), `message 1 "Hello"` + "\n"},
		{"two frames", cat(frame(rsv1|opText, hello[:3]), frame(fin|opCont, hello[3:])), `message 1 "Hello"` + "\n"},
		{"a frame an octet", cat(frame(rsv1|opText, hello[:1]), frame(opCont, ""), frame(opCont, hello[1:6]), frame(fin|opCont, hello[6:])), `message 1 "Hello"` + "\n"},
		{"stored block", frame(fin|rsv1|opText, "\x00\x05\x00\xfa\xffHello\x00"), `message 1 "Hello"` + "\n"},
		{"final block", frame(fin|rsv1|opText, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), `message 1 "Hello"` + "\n"},
		{"final block, nothing behind", frame(fin|rsv1|opText, "\xf3\x48\xcd\xc9\xc9\x07\x00"), `message 1 "Hello"` + "\n"},
		{"two final blocks", frame(fin|rsv1|opText, "\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), `message 1 "HelloHello"` + "\n"},
		{"two blocks", frame(fin|rsv1|opText, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), `message 1 "Hello"` + "\n"},
		{"empty", frame(fin|rsv1|opBin, "\x00"), `message 2 ""` + "\n"},
		{"empty without a block", frame(fin|rsv1|opText, ""), `message 1 ""` + "\n"},
		{"not compressed", frame(fin|opText, "Hello"), `message 1 "Hello"` + "\n"},
		{"ping between", cat(frame(rsv1|opText, hello[:3]), frame(fin|opPing, "p"), frame(fin|opCont, hello[3:])), "ping \"p\"\n" + `message 1 "Hello"` + "\n"},
		{"compressed, plain, compressed", cat(frame(fin|rsv1|opText, hello), frame(opText, "a"), frame(fin|opCont, "b"), frame(fin|rsv1|opBin, hello)),
			"message 1 \"Hello\"\nmessage 1 \"ab\"\nmessage 2 \"Hello\"\n"},
		{"longer", frame(fin|rsv1|opText, small), "message 1 " + quote(text) + "\n"},

		{"RSV1 on a continuation", cat(frame(rsv1|opText, hello[:3]), frame(fin|rsv1|opCont, hello[3:])), "fail 1002 5.2\n"},
		{"RSV1 on a ping", frame(fin|rsv1|opPing, ""), "fail 1002 5.2\n"},
		{"RSV1 on a pong", frame(fin|rsv1|opPong, ""), "fail 1002 5.2\n"},
		{"RSV1 on a Close", frame(fin|rsv1|opClose, ""), "fail 1002 5.2\n"},
		{"RSV1 and RSV2", frame(fin|rsv1|rsv2|opText, hello), "fail 1002 5.2\n"},
		{"RSV3", frame(fin|rsv3|opText, "a"), "fail 1002 5.2\n"},
		{"RSV1 on a reserved opcode", frame(fin|rsv1|3, ""), "fail 1002 5.2\n"},

		{"not DEFLATE", frame(fin|rsv1|opBin, "\xff\xff\xff\xff"), "fail 1007 \n"},
		{"stored block cut short", frame(fin|rsv1|opBin, "\x00\x64\x00\x9b\xffHello"), "fail 1007 \n"},
		{"reference to before the start", frame(fin|rsv1|opBin, "\xf2\x00\x11\x00\x00"), "fail 1007 \n"},
		{"text that is not UTF-8", frame(fin|rsv1|opText, deflate(t, []byte("abc\xff"), 1)), "fail 1007 8.1\n"},
		{"text that ends in a code point", frame(fin|rsv1|opText, deflate(t, []byte("abc\xe2\x9c"), 1)), "fail 1007 8.1\n"},
		{"binary that is not UTF-8", frame(fin|rsv1|opBin, deflate(t, []byte("abc\xff"), 1)), `message 2 "abc\xff"` + "\n"},
		{"bomb", frame(fin|rsv1|opBin, bomb(t, 8<<20)), "fail 1009 \n"},
		{"empty blocks", frame(fin|rsv1|opBin, strings.Repeat("\x00\x00\x00\xff\xff", 20_000)+"\x00"), `message 2 ""` + "\n"},
		{"nothing but empty blocks", frame(fin|rsv1|opBin, strings.Repeat("\x00\x00\x00\xff\xff", 100_000)+"\x00"), "fail 1008 \n"},
		{"many streams", frame(fin|rsv1|opBin, strings.Repeat("\x03\x00", 2000)), "fail 1008 \n"},
	} {
		t.Run(c.name, func(t *testing.T) { checkTrace(t, c.in, deflateLimits(1<<20), c.want) })
	}
}

// A message right at the limit is taken, compressed or not, however badly it compresses; one more
// byte is not.
func TestInflateLimit(t *testing.T) {
	rnd := newRand(t)
	for _, most := range []int{1, 125, 65535, 65536, 65537, 131072, 200000} {
		noise, zeros := make([]byte, most+1), make([]byte, most+1)
		for i := range noise {
			noise[i] = byte(rnd.Uint32())
		}
		for _, p := range [][]byte{noise, zeros} {
			for _, level := range []int{0, 1, 9, flate.HuffmanOnly} {
				in := frame(fin|rsv1|opBin, deflate(t, p[:most], level))
				checkTrace(t, in, deflateLimits(int64(most)), "message 2 "+quote(p[:most])+"\n")
				in = frame(fin|rsv1|opBin, deflate(t, p, level))
				checkTrace(t, in, deflateLimits(int64(most)), "fail 1009 \n")
			}
		}
	}
	// On the wire, what cannot be a message within the limit is refused by its header.
	checkTrace(t, head(fin|rsv1|opBin, 1000+125+64+1), deflateLimits(1000), "fail 1009 \n")
	checkTrace(t, head(fin|rsv1|opBin, 1000+125+64), deflateLimits(1000), "")
	checkTrace(t, head(fin|rsv1|opBin, 1<<62), deflateLimits(1<<63-1), "")
}

// The window goes back beyond the segments in which a message is inflated, across streams too.
func TestInflateWindow(t *testing.T) {
	rnd := newRand(t)
	block := make([]byte, 32768)
	for i := range block {
		block[i] = byte(rnd.Uint32())
	}
	p := bytes.Repeat(block, 20)
	in := frame(fin|rsv1|opBin, deflate(t, p, 9))
	if len(in) > len(p)/10 {
		t.Fatalf("%d bytes: the compressor found no repetitions", len(in))
	}
	checkTrace(t, in, deflateLimits(1<<20), "message 2 "+quote(p)+"\n")

	for _, n := range []int{100, 40_000, 65_536, 100_000, 150_000} {
		// A stream of its own, then one that consists of a reference to its last bytes.
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, 1)
		_, _ = w.Write(p[:n])
		_ = w.Close()
		first := b.Len()
		b.Reset()
		w, _ = flate.NewWriterDict(&b, 9, p[:n])
		tail := p[max(0, n-100):n]
		_, _ = w.Write(tail)
		_ = w.Flush()
		second := strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
		if len(second) > 60 {
			t.Fatalf("%d bytes: not a reference", len(second))
		}
		b.Reset()
		w, _ = flate.NewWriter(&b, 1)
		_, _ = w.Write(p[:n])
		_ = w.Close()
		if b.Len() != first {
			t.Fatal("not deterministic")
		}
		want := slices.Concat(p[:n], tail)
		checkTrace(t, frame(fin|rsv1|opBin, b.String()+second), deflateLimits(1<<20), "message 2 "+quote(want)+"\n")
	}
}

// account counts what is lent, as the memory that a decoder and its message take.
type account struct {
	lent, peak int
	refuse     bool
}

func (a *account) Grow(b []byte, n int) ([]byte, error) {
	if a.refuse {
		return b, errBudget
	}
	p := append(make([]byte, 0, len(b)+n), b...)
	a.lent += cap(p)
	a.peak = max(a.peak, a.lent)
	a.Free(b)
	return p, nil
}

func (a *account) Free(b []byte) { a.lent -= cap(b) }

// A message that inflates a thousandfold stops at the limit, with no more memory than that and a
// segment.
func TestBombMemory(t *testing.T) {
	const most = 1 << 20
	in := frame(fin|rsv1|opBin, bomb(t, 64<<20))
	if ratio := 64 << 20 / len(in); ratio < 1000 {
		t.Fatalf("a bomb of only %d:1", ratio)
	}
	for _, chunk := range []int{len(in), 1000} {
		lim, acc, code := deflateLimits(most), &account{}, 0
		var d wsproto.Decoder
		for p := range slices.Chunk(bytes.Clone(in), chunk) {
			if _, _, err := d.Next(p, &lim, acc); err != nil {
				code = int(err.(*wsproto.ProtocolError).Code)
			}
		}
		wire := 0
		if chunk < len(in) {
			wire = 2 * len(in) // the compressed message had to be assembled
		}
		if code != 1009 || acc.lent != 0 || acc.peak > most+64<<10+wire {
			t.Errorf("in pieces of %d: code %d, %d bytes at the most, %d left", chunk, code, acc.peak, acc.lent)
		}
		// The heap agrees: what one bomb allocates beside the decompressor.
		p := bytes.Clone(in)
		var e wsproto.Decoder
		n := allocated(func() { _, _, _ = e.Next(p, &lim, acc) })
		if n > most+64<<10 {
			t.Errorf("%d bytes allocated", n)
		}
	}
}

func TestInflateBudgetRefused(t *testing.T) {
	lim, acc := deflateLimits(1<<20), &account{refuse: true}
	var d wsproto.Decoder
	if _, _, err := d.Next(frame(fin|rsv1|opBin, deflate(t, make([]byte, 60_000), 1)), &lim, acc); err != nil {
		t.Errorf("what fits into the inflater: %v", err)
	}
	if _, _, err := d.Next(frame(fin|rsv1|opBin, deflate(t, make([]byte, 70_000), 1)), &lim, acc); !errors.Is(err, errBudget) {
		t.Errorf("error %v", err)
	}
	if acc.lent != 0 {
		t.Errorf("%d bytes left", acc.lent)
	}
}

// Arbitrary compressed payloads: the result is that of the standard library, for any split,
// and every failure is one of the three that a peer may be told of.
func FuzzInflate(f *testing.F) {
	for _, p := range []string{"", "\x00", "\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "\x00\x05\x00\xfa\xffHello\x00",
		"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "\xf2\x00\x11\x00\x00", "\x03\x00\x03\x00"} {
		f.Add([]byte(p), uint64(1), true, uint16(100))
	}
	f.Add([]byte(deflate(f, []byte(jsonText(3000)), 9)), uint64(2), true, uint16(3000))
	f.Add([]byte(deflate(f, make([]byte, 1<<18), 9)), uint64(3), false, uint16(60000))
	in := wsproto.NewInflater()
	f.Fuzz(func(t *testing.T, p []byte, seed uint64, text bool, most uint16) {
		lim := wsproto.Limits{MaxMessage: int64(most)*4 + 1, MaxFragments: 64, Inflater: in}
		op := byte(opBin)
		if text {
			op = opText
		}
		whole := frame(fin|rsv1|op, string(p))
		want := trace(t, [][]byte{whole}, lim)
		k := 0
		if len(p) > 0 {
			k = int(seed % uint64(len(p)))
		}
		parts := cat(frame(rsv1|op, string(p[:k])), frame(fin|opCont, string(p[k:])))
		for _, in := range [][]byte{whole, parts} {
			for name, chunks := range splits(in, 1, rand.New(rand.NewPCG(seed, 3))) {
				if got := trace(t, chunks, lim); got != want {
					t.Fatalf("%s:\n%swhole:\n%s", name, got, want)
				}
			}
		}
		checkInflated(t, p, text, lim.MaxMessage, want)
	})
}

// checkInflated compares with the standard library, for payloads of one stream.
func checkInflated(t *testing.T, p []byte, text bool, most int64, got string) {
	for _, fail := range []string{"fail 1007 \n", "fail 1007 8.1\n", "fail 1008 \n", "fail 1009 \n"} {
		if got == fail && fail != "fail 1007 8.1\n" && len(p) > int(most) {
			return
		}
	}
	src := bytes.NewReader(slices.Concat(p, []byte("\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(src), most+1))
	kind := 2
	if text {
		kind = 1
	}
	want := fmt.Sprintf("message %d %s\n", kind, quote(out))
	switch {
	case len(p) == 0:
		want = fmt.Sprintf("message %d \"\"\n", kind)
	case err == nil && int64(len(out)) <= most && src.Len() > 9:
		return // a final block, and more behind it
	case text && !validSoFar(out, err == nil && int64(len(out)) <= most):
		want = "fail 1007 8.1\n"
	case int64(len(out)) > most:
		want = "fail 1009 \n"
	case err != nil:
		want = "fail 1007 \n"
	}
	// Which of several faults is found first depends on the size of the pieces.
	if got != want && !(strings.HasPrefix(got, "fail") && strings.HasPrefix(want, "fail")) {
		t.Fatalf("%sreference: %s", got, want)
	}
}

func validSoFar(p []byte, whole bool) bool {
	if whole {
		return utf8.Valid(p)
	}
	for i := 0; i <= 3 && i <= len(p); i++ {
		if utf8.Valid(p[:len(p)-i]) {
			return true
		}
	}
	return false
}

// Small pieces of a compressed message are allowed as long as they carry something.
func TestDeflatedFragments(t *testing.T) {
	noise := make([]byte, 40_000)
	for i, rnd := 0, newRand(t); i < len(noise); i++ {
		noise[i] = byte(rnd.Uint32())
	}
	wire := deflate(t, noise, 1)
	parts := func(p string, size int) []byte {
		in := frame(rsv1|opBin, p[:size])
		for p = p[size:]; len(p) > size; p = p[size:] {
			in = append(in, frame(opCont, p[:size])...)
		}
		return append(in, frame(fin|opCont, p)...)
	}
	lim := deflateLimits(1 << 20)
	lim.MaxFragments = 10
	checkTrace(t, parts(wire, 80), lim, "message 2 "+quote(noise)+"\n")
	checkTrace(t, parts(wire, 60), lim, "fail 1008 \n")
	checkTrace(t, cat(frame(rsv1|opBin, ""), bytes.Repeat(frame(opCont, ""), 9)), lim, "")
	checkTrace(t, cat(frame(rsv1|opBin, ""), bytes.Repeat(frame(opCont, ""), 10)), lim, "fail 1008 \n")
}
