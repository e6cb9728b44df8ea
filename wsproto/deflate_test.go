package wsproto_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"wsgateway/wsproto"
)

func deflateLimits(most int64) wsproto.Limits {
	return wsproto.Limits{MaxMessage: most, MaxFragments: 1024, Inflater: wsproto.NewInflater()}
}

const (
	answerPlain  = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	answerWindow = answerPlain + "; server_max_window_bits=15"
)

var offers = []struct{ offer, want string }{ // several lines are parted by |
	{"permessage-deflate", answerPlain},
	{"permessage-deflate; client_max_window_bits", answerPlain},
	{"permessage-deflate;client_max_window_bits=8", answerPlain},
	{"permessage-deflate ; client_max_window_bits = 15", answerPlain},
	{`permessage-deflate; client_max_window_bits="10"`, answerPlain},
	{`permessage-deflate; client_max_window_bits="\1\0"`, answerPlain},
	{"permessage-deflate; server_no_context_takeover; client_no_context_takeover", answerPlain},
	{"permessage-deflate; server_max_window_bits=15", answerWindow},
	{`permessage-deflate; server_max_window_bits="15"; client_max_window_bits`, answerWindow},

	{"", ""},
	{"permessage-deflat", ""},
	{"permessage-deflate2", ""},
	{"x-webkit-deflate-frame", ""},
	{"permessage-deflate; unknown", ""},
	{"permessage-deflate; unknown=1", ""},
	{"permessage-deflate; client_no_context_takeover=1", ""},
	{"permessage-deflate; server_no_context_takeover=true", ""},
	{"permessage-deflate; server_max_window_bits", ""},
	{"permessage-deflate; server_max_window_bits=14", ""},
	{"permessage-deflate; server_max_window_bits=8", ""},
	{"permessage-deflate; server_max_window_bits=16", ""},
	{"permessage-deflate; server_max_window_bits=015", ""},
	{"permessage-deflate; client_max_window_bits=7", ""},
	{"permessage-deflate; client_max_window_bits=16", ""},
	{"permessage-deflate; client_max_window_bits=08", ""},
	{"permessage-deflate; client_max_window_bits=1", ""},
	{"permessage-deflate; client_max_window_bits=150", ""},
	{"permessage-deflate; client_max_window_bits=x", ""},
	{"permessage-deflate; client_max_window_bits; client_max_window_bits", ""},
	{"permessage-deflate; client_no_context_takeover; client_no_context_takeover", ""},
	{"permessage-deflate; server_no_context_takeover; server_no_context_takeover", ""},
	{"permessage-deflate; server_max_window_bits=15; server_max_window_bits=15", ""},

	// The first offer that can be met is taken, wherever it stands.
	{"permessage-deflate; server_max_window_bits=10, permessage-deflate", answerPlain},
	{"permessage-deflate; server_max_window_bits=15, permessage-deflate", answerWindow},
	{"foo, bar; x=\"y\", , permessage-deflate; client_max_window_bits, baz", answerPlain},
	{"permessage-deflate; unknown|permessage-deflate; server_max_window_bits=15", answerWindow},
	{"foo|bar|permessage-deflate", answerPlain},
}

func TestDeflateNegotiation(t *testing.T) {
	for _, c := range offers {
		var lines []string
		if c.offer != "" {
			for line := range strings.SplitSeq(c.offer, "|") {
				lines = append(lines, "Sec-WebSocket-Extensions: "+line)
			}
		}
		head := []byte(with("", lines...))
		for _, on := range []bool{true, false} {
			want := c.want
			if !on {
				want = ""
			}
			out, agreed, _, err := shake(t, bytes.Clone(head), &wsproto.Accept{Deflate: on})
			if err != nil {
				t.Errorf("%s: %v", c.offer, err)
				continue
			}
			got := parseResponse(t, string(out)).Header.Values("Sec-WebSocket-Extensions")
			if strings.Join(got, "|") != want || agreed.Deflate != (want != "") {
				t.Errorf("%s, deflate %v: answered %q, agreed %v, want %q", c.offer, on, got, agreed.Deflate, want)
			}
		}
	}
}

// What a malformed list is refused for does not depend on whether compression is on.
func TestDeflateMalformedOffer(t *testing.T) {
	for _, offer := range []string{"permessage-deflate;", "permessage-deflate; =15", `permessage-deflate; server_max_window_bits="1 5"`, "permessage-deflate, ;", `permessage-deflate; a="`, "permessage-deflate foo"} {
		_, _, _, err := shake(t, []byte(with("", "Sec-WebSocket-Extensions: "+offer)), &wsproto.Accept{Deflate: true})
		var re *wsproto.RequestError
		if !errors.As(err, &re) || re.Status != 400 {
			t.Errorf("%s: %v", offer, err)
		}
	}
}

// referenceOffer judges one offer as RFC 7692 §7.1 is written, over strings.
func referenceOffer(e string) string {
	parts := strings.Split(e, ";")
	if strings.TrimSpace(parts[0]) != "permessage-deflate" {
		return ""
	}
	seen := map[string]bool{}
	for _, p := range parts[1:] {
		name, value, has := strings.Cut(p, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if strings.HasPrefix(value, `"`) {
			value = strings.ReplaceAll(value[1:len(value)-1], `\`, "")
		}
		if seen[name] {
			return ""
		}
		seen[name] = true
		bits, err := strconv.Atoi(value)
		valid := err == nil && bits >= 8 && bits <= 15 && strconv.Itoa(bits) == value
		switch {
		case strings.HasSuffix(name, "_no_context_takeover") && (name[:6] == "client" || name[:6] == "server") && len(name) == 26:
			if has {
				return ""
			}
		case name == "client_max_window_bits":
			if has && !valid {
				return ""
			}
		case name == "server_max_window_bits":
			if !valid || bits != 15 {
				return ""
			}
		default:
			return ""
		}
	}
	if seen["server_max_window_bits"] {
		return answerWindow
	}
	return answerPlain
}

// Every offer is a 101 with the answer of the reference, or a 400 for what is no list.
func FuzzDeflateOffer(f *testing.F) {
	for _, c := range offers {
		f.Add(c.offer)
	}
	f.Add(`permessage-deflate; client_max_window_bits="1,0"`)
	f.Fuzz(func(t *testing.T, offer string) {
		if strings.ContainsAny(offer, "|\r\n") || len(offer) > 2000 || strings.Trim(offer, " \t") == "" {
			return
		}
		head := []byte(with("", "Sec-WebSocket-Extensions: "+offer))
		out, agreed, _, err := shake(t, head, &wsproto.Accept{Deflate: true})
		if err != nil {
			var re *wsproto.RequestError
			if !errors.As(err, &re) || re.Status != 400 {
				t.Fatal(err)
			}
			return
		}
		want := ""
		for e := range strings.SplitSeq(offer, ",") { // a token holds neither comma nor semicolon
			if want = referenceOffer(e); want != "" {
				break
			}
		}
		if got := parseResponse(t, string(out)).Header.Get("Sec-WebSocket-Extensions"); got != want || agreed.Deflate != (want != "") {
			t.Fatalf("%q: answered %q, want %q", offer, got, want)
		}
	})
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

// decompress inflates a payload as a client does, with the standard library.
func decompress(tb testing.TB, p []byte) []byte {
	out, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func TestCompress(t *testing.T) {
	rnd := newRand(t)
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	for _, level := range []int{1, 6, 9} {
		d := wsproto.NewDeflater(1, level)
		for _, p := range [][]byte{[]byte(jsonText(200)), []byte(jsonText(70_000)), make([]byte, 1<<20), []byte(jsonText(600))} {
			c := d.Take()
			z := c.Compress(p)
			if len(z) == 0 || len(z) >= len(p) {
				t.Errorf("level %d: %d bytes became %d", level, len(p), len(z))
			}
			if !bytes.Equal(decompress(t, z), p) {
				t.Errorf("level %d: %d bytes differ", level, len(p))
			}
			d.Put(c)
		}
		for _, p := range [][]byte{nil, []byte("a"), []byte("Hello"), noise} {
			c := d.Take()
			if z := c.Compress(p); z != nil && len(z) >= len(p) {
				t.Errorf("level %d: %d bytes became %d", level, len(p), len(z))
			}
			d.Put(c)
		}
	}
}

// There are never more compressors than allowed, and none is lost.
func TestDeflaterBound(t *testing.T) {
	d := wsproto.NewDeflater(2, 1)
	for range 3 {
		a, b := d.Take(), d.Take()
		if a == nil || b == nil || a == b {
			t.Fatal("two should be there")
		}
		if d.Take() != nil {
			t.Fatal("a third one")
		}
		d.Put(a)
		d.Put(b)
	}
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
		c := d.Take()
		if c.Compress(p) == nil {
			t.Fatal("not smaller")
		}
		d.Put(c)
	}); n != 0 {
		t.Errorf("compress: %v allocations", n)
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
