package suite

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"

	"wsgateway/bench/conformance/internal/engine"
	"wsgateway/bench/conformance/internal/wire"
)

// deflateCases are those of RFC 7692 section 7.2, on a compressed connection.
func deflateCases() []*testCase {
	all := slices.Concat(rsv1Cases(), roundTripCases(), vectorCases(), corruptCases(), inflatedCases(), plainCases())
	for _, c := range all {
		c.Steps = append([]step{supported}, c.Steps...)
	}
	return all
}

// packed is the first frame of a compressed message.
func packed(op byte, stream []byte) wire.Frame { return opcode(op, string(stream)).RSV(wire.RSV1) }

// deflated sends a message compressed, and wants it back.
func deflated(op byte, payload []byte) step {
	return func(s *session) {
		sequence(send(packed(op, s.Deflater.Message(payload))), echoes(op, payload))(s)
	}
}

// sendDeflated sends a message compressed.
func sendDeflated(op byte, payload []byte) step {
	return func(s *session) { send(packed(op, s.Deflater.Message(payload)))(s) }
}

// inParts cuts a compressed message into fragments.
func inParts(op byte, stream []byte, sizes ...int) (out []wire.Frame) {
	for i := 0; i < len(sizes) || len(stream) > 0; i++ {
		n := min(sizes[min(i, len(sizes)-1)], len(stream))
		f := cont(string(stream[:n])).Part()
		if i == 0 {
			f = packed(op, stream[:n]).Part()
		}
		out, stream = append(out, f), stream[n:]
	}
	out[len(out)-1].More = false
	return out
}

func rsv1Cases() []*testCase {
	f := family{"D1", "RFC 7692 6, 7.2.3.1", "RSV1 stands only on the first frame of a data message; on any other the connection must be failed."}
	hello := []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}
	frame := func(variant, title string, frames ...wire.Frame) *testCase {
		return f.add(variant, title, send(append(frames, text("behind"))...), fails(1002))
	}
	parts := inParts(wire.Text, hello, 3)
	parts[1].Rsv = wire.RSV1
	return []*testCase{
		frame("continuation", "RSV1 on each fragment", parts...),
		frame("continuation-only", "RSV1 only on the second fragment", text("a").Part(), cont("b").RSV(wire.RSV1)),
		frame("continuation-empty", "RSV1 on an empty last fragment", packed(wire.Text, hello).Part(), cont("").RSV(wire.RSV1)),
		frame("ping", "RSV1 on a ping", ping("a").RSV(wire.RSV1)),
		frame("ping-empty", "RSV1 on an empty ping", ping("").RSV(wire.RSV1)),
		frame("pong", "RSV1 on a pong", pong("a").RSV(wire.RSV1)),
		frame("close", "RSV1 on a Close", closeWith(1000, "").RSV(wire.RSV1)),
		frame("ping-inside", "RSV1 on a ping inside a compressed message", packed(wire.Text, hello[:3]).Part(), ping("").RSV(wire.RSV1)),
		frame("rsv2", "RSV2 beside RSV1", packed(wire.Text, hello).RSV(wire.RSV1|wire.RSV2)),
		frame("rsv3", "RSV3 beside RSV1", packed(wire.Text, hello).RSV(wire.RSV1|wire.RSV3)),
		frame("reserved-opcode", "RSV1 on a reserved opcode", opcode(3, "").RSV(wire.RSV1)),
	}
}

func roundTripCases() []*testCase {
	f := family{"D7", "RFC 7692 7.2.1, 7.2.2", "A compressed message is inflated and comes back as it was, compressed or not."}
	var out []*testCase
	for _, n := range []int{0, 1, 2, 5, 125, 126, 127, 1000, 16384, 32768, 65535, 65536, 100000} {
		t := f.add(fmt.Sprint("text-", n), fmt.Sprintf("text of %d bytes", n), deflated(wire.Text, filler(n)), deflated(wire.Text, filler(n)))
		b := f.add(fmt.Sprint("binary-", n), fmt.Sprintf("zeros, %d bytes", n), deflated(wire.Binary, make([]byte, n)), alive())
		t.Skip, b.Skip = needsMessage(n), needsMessage(n)
		out = append(out, t, b)
	}
	million := f.add("big", "1 MiB, which compresses well", deflated(wire.Text, bytes.Repeat([]byte("0123456789abcdef"), 65536)))
	million.Skip = needsMessage(1 << 20)
	out = append(out, million,
		f.add("utf8", "code points of all lengths", deflated(wire.Text, []byte("\u03ba\u20ac\U0001F600"))),
		f.add("alternating", "compressed and not, by turns", deflated(wire.Text, []byte(sample)), echo(text(sample)), deflated(wire.Text, []byte(sample)), alive()),
		f.add("order", "fifty messages behind each other", func(s *session) {
			for i := range 50 {
				if deflated(wire.Text, fmt.Append(nil, sample, i))(s); s.Done() {
					return
				}
			}
		}),
		f.add("pipelined", "twenty messages before the first is read", func(s *session) {
			var frames []wire.Frame
			for i := range 20 {
				frames = append(frames, packed(wire.Text, s.Deflater.Message(fmt.Append(nil, sample, i))))
			}
			send(frames...)(s)
			for i := range 20 {
				if echoes(wire.Text, fmt.Append(nil, sample, i))(s); s.Done() {
					return
				}
			}
		}),
		f.add("close", "the closing handshake behind a compressed message", deflated(wire.Text, []byte(sample)), send(closeWith(1000, "")), closes(1000)),
	)
	for _, v := range []struct {
		name  string
		sizes []int
	}{{"two", []int{10, 1 << 20}}, {"bytewise", []int{1}}, {"sevens", []int{7}}, {"empty-first", []int{0, 1 << 20}}, {"empty-inside", []int{5, 0, 0, 1 << 20}}, {"empty-last", []int{1 << 20, 0}}} {
		out = append(out, f.add("fragments-"+v.name, "fragments, "+v.name, func(s *session) {
			sequence(send(inParts(wire.Text, s.Deflater.Message([]byte(sample)), v.sizes...)...), echoes(wire.Text, []byte(sample)))(s)
		}, deflated(wire.Text, []byte(sample))))
		out = append(out, f.add("fragments-utf8-"+v.name, "code points in fragments, "+v.name, func(s *session) {
			p := []byte(strings.Repeat("\u03ba\u20ac\U0001F600", 30))
			sequence(send(inParts(wire.Text, s.Deflater.Message(p), v.sizes...)...), echoes(wire.Text, p))(s)
		}))
	}
	return append(out, f.add("control-between", "pings between the fragments of a compressed message", func(s *session) {
		for i, fr := range inParts(wire.Text, s.Deflater.Message([]byte(sample)), 9) {
			name := fmt.Sprint("ping ", i)
			if send(fr)(s); fr.More {
				sequence(send(ping(name)), pongs(name))(s)
			}
			if s.Done() {
				return
			}
		}
		echoes(wire.Text, []byte(sample))(s)
	}))
}

// vectorCases send streams bit by bit as they are.
func vectorCases() []*testCase {
	f := family{"D7", "RFC 7692 7.2.3, RFC 1951", "Every deflate stream is taken: any kind and number of blocks, and references as far back as the window."}
	vector := func(variant, title string, stream []byte, payload string) *testCase {
		return f.add("vector-"+variant, title, send(packed(wire.Text, stream)), echoes(wire.Text, []byte(payload)), alive())
	}
	all := filler(40000)
	out := []*testCase{
		vector("hello", "the example of 7.2.3.1", []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}, "Hello"),
		vector("stored", "the example of 7.2.3.3: a stored block", []byte{0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00}, "Hello"),
		vector("bfinal", "the example of 7.2.3.4: BFINAL is 1", bfinal, "Hello"),
		vector("two-blocks", "the example of 7.2.3.5: two blocks", []byte{0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00}, "Hello"),
		vector("empty", "an empty message of one byte", []byte{0x00}, ""),
		vector("empty-fixed", "an empty message as a fixed block", new(wire.Bits).Fixed(false).End().Message(), ""),
		vector("empty-blocks", "a message between empty blocks", new(wire.Bits).Stored(nil, false).Fixed(false).End().Stored([]byte("Hi"), false).Stored(nil, false).Message(), "Hi"),
		vector("many-blocks", "a block for each byte", manyBlocks("Hello, world"), "Hello, world"),
		vector("fixed-high", "bytes with codes of nine bits", new(wire.Bits).Fixed(false).Literals([]byte("\u20ac\U0001F600")).End().Message(), "\u20ac\U0001F600"),
		vector("match", "a reference within the message", new(wire.Bits).Fixed(false).Literals([]byte("abc")).Match(3).Match(1).End().Message(), "abcabcccc"),
		vector("stored-match", "a reference to a stored block", new(wire.Bits).Stored([]byte("xyz"), false).Fixed(false).Match(3).End().Message(), "xyzxyz"),
	}
	fixed := f.add("vector-window", "a reference over the whole window, 32768 bytes", fullWindow, func(s *session) {
		p := all[:32768]
		stream := new(wire.Bits).Stored(p, false).Fixed(false).Match(32768).End().Message()
		sequence(send(packed(wire.Text, stream)), echoes(wire.Text, append(bytes.Clone(p), p[:3]...)))(s)
	}, alive())
	far := f.add("vector-window-later", "the same behind more than a window", fullWindow, func(s *session) {
		stream := new(wire.Bits).Stored(all, false).Fixed(false).Match(32768).Match(24577).End().Message()
		want := append(bytes.Clone(all), all[len(all)-32768:][:3]...)
		want = append(want, want[len(want)-24577:][:3]...)
		sequence(send(packed(wire.Text, stream)), echoes(wire.Text, want))(s)
	}, alive())
	fixed.Skip, far.Skip = needsMessage(32771), needsMessage(40006)
	return append(out, fixed, far,
		f.add("vector-context", "the example of 7.2.3.2: a reference to the message before", contextAllowed,
			send(packed(wire.Text, []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00})), echoes(wire.Text, []byte("Hello")),
			send(packed(wire.Text, []byte{0xf2, 0x00, 0x11, 0x00, 0x00})), echoes(wire.Text, []byte("Hello"))),
		f.add("vector-context-plain", "what was sent without compression is not in the window", contextAllowed,
			send(packed(wire.Text, []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00})), echoes(wire.Text, []byte("Hello")), echo(text("world")),
			send(packed(wire.Text, []byte{0xf2, 0x00, 0x11, 0x00, 0x00})), echoes(wire.Text, []byte("Hello"))),
		f.add("vector-context-window", "a reference 32768 bytes back, over messages", contextAllowed, fullWindow, func(s *session) {
			p := filler(32768)
			sequence(send(packed(wire.Text, new(wire.Bits).Stored(p[:20000], false).Message())), echoes(wire.Text, p[:20000]),
				send(packed(wire.Text, new(wire.Bits).Stored(p[20000:], false).Message())), echoes(wire.Text, p[20000:]),
				send(packed(wire.Text, new(wire.Bits).Fixed(false).Match(32768).End().Message())), echoes(wire.Text, p[:3]))(s)
		}),
		f.add("vector-no-context", "a reference to the message before, where that was not agreed", contextForbidden,
			send(packed(wire.Text, []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00})), echoes(wire.Text, []byte("Hello")),
			send(packed(wire.Text, []byte{0xf2, 0x00, 0x11, 0x00, 0x00})), failsOrEchoes(nonStrict, "Hello")),
		f.add("vector-bfinal-twice", "messages behind one with BFINAL", send(packed(wire.Text, bfinal)), echoes(wire.Text, []byte("Hello")),
			send(packed(wire.Text, bfinal)), echoes(wire.Text, []byte("Hello")), deflated(wire.Text, []byte(sample))),
		f.add("vector-bfinal-more", "a block behind one with BFINAL: taken or refused, but not lost",
			send(packed(wire.Text, new(wire.Bits).Stored([]byte("Hello"), true).Stored([]byte(", world"), false).Message())), wholeOrRefused("Hello, world")),
		f.add("vector-empty-blocks-many", "100 KB of empty blocks", send(packed(wire.Text, append(bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 20000), 0))), failsOrEchoesExactly("")),
		f.add("vector-tail", "the last four bytes 00 00 FF FF left in", func(s *session) {
			send(packed(wire.Text, s.Deflater.Flushed([]byte("Hello"))))(s)
		}, failsOrEchoes(pass, "Hello")),
		f.add("vector-no-bytes", "a compressed message of no bytes", send(packed(wire.Text, nil)), failsOrEchoes(pass, "")),
	)
}

// bfinal is Hello with BFINAL, as in RFC 7692 section 7.2.3.4.
var bfinal = []byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00}

func manyBlocks(p string) []byte {
	b := new(wire.Bits)
	for i := range len(p) {
		b.Fixed(false).Literals([]byte{p[i]}).End()
	}
	return b.Message()
}

// fullWindow skips what a smaller window does not allow.
func fullWindow(s *session) {
	if b := s.Deflate.ClientBits; b != 0 && b < 15 {
		s.Judge(skip, "the server asks for a smaller window")
	}
}

func contextAllowed(s *session) {
	if s.Deflate.ClientNoContext {
		s.Judge(skip, "the server asks for client_no_context_takeover")
	}
}

func contextForbidden(s *session) {
	if !s.Deflate.ClientNoContext {
		s.Judge(skip, "the server does not ask for client_no_context_takeover")
	}
}

// failsOrEchoes wants the connection to be failed; v judges an echo instead.
func failsOrEchoes(v engine.Verdict, payload string) step {
	w := ending{codes: []int{1007}, other: nonStrict, none: nonStrict}
	return func(s *session) {
		e := s.Next(s.Cfg.Timeout)
		if e.Kind == engine.Message && string(e.Payload) == payload {
			s.Judge(v, w.String())
			return
		}
		w.judge(s, e)
	}
}

// failsOrEchoesExactly wants a message; to fail the connection is not strict.
func failsOrEchoesExactly(payload string) step {
	return func(s *session) {
		e := s.Next(s.Cfg.Timeout)
		switch {
		case e.Kind == engine.Message && string(e.Payload) == payload:
		case e.Kind == engine.Close:
			s.Judge(nonStrict, "an echo")
		default:
			s.Judge(fail, "an echo")
		}
	}
}

// wholeOrRefused wants the whole message or the connection failed; no rule says
// that a part of it would be wrong.
func wholeOrRefused(payload string) step {
	return func(s *session) {
		e := s.Next(s.Cfg.Timeout)
		switch {
		case e.Kind == engine.Message && string(e.Payload) == payload, e.Kind == engine.Close, e.Ended():
		case e.Kind == engine.Message:
			s.Judge(nonStrict, "the whole message, or Close(1007)")
		default:
			s.Judge(fail, "the whole message, or Close(1007)")
		}
	}
}

// failsOrAnything wants the connection to be failed; an echo of what there was is
// not strict, as no rule says how to treat it.
func failsOrAnything(s *session) {
	w := ending{codes: []int{1007}, other: nonStrict, none: nonStrict}
	e := s.Next(s.Cfg.Timeout)
	if e.Kind == engine.Message {
		s.Judge(nonStrict, w.String())
		return
	}
	w.judge(s, e)
}

func corruptCases() []*testCase {
	f := family{"D8", "RFC 7692 7.2.2, RFC 1951", "A message that does not inflate fails the connection; 1007 is the code for data that is not what it says."}
	long := new(wire.Bits).Stored([]byte(sample), false).Message()
	var out []*testCase
	cut := family{"D8", "RFC 7692 7.2.2, RFC 1951 3.2.3", "A deflate stream that ends inside a block is not complete, so the message is not either."}
	for _, v := range []struct {
		name, title string
		stream      []byte
	}{
		{"stored", "a stored block that ends early", long[:len(long)/2]},
		{"fixed", "a fixed block without its end", new(wire.Bits).Fixed(false).Literals([]byte("Hello, world")).Bytes()},
	} {
		out = append(out,
			cut.add("cut-"+v.name, v.title, send(packed(wire.Binary, v.stream)), failsOrAnything),
			cut.add("cut-"+v.name+"-fragments", v.title+", in fragments", send(inParts(wire.Binary, v.stream, 2)...), failsOrAnything))
	}
	for _, v := range []struct {
		name, title string
		stream      []byte
	}{
		{"block-type", "a block of the reserved type", []byte{0x06, 0, 0, 0}},
		{"stored-length", "a stored block whose lengths contradict each other", []byte{0x00, 0x05, 0x00, 0x00, 0x00, 'H', 'e', 'l', 'l', 'o', 0x00}},
		{"dynamic-lengths", "a dynamic block with impossible code lengths", []byte{0x04, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		{"too-far", "a reference before the beginning", new(wire.Bits).Fixed(false).Literals([]byte("ab")).Match(3).End().Message()},
		{"too-far-first", "a reference at the beginning", new(wire.Bits).Fixed(false).Match(1).End().Message()},
		{"too-far-32768", "a reference of a whole window at the beginning", new(wire.Bits).Fixed(false).Literals([]byte("ab")).Match(32768).End().Message()},
		{"text", "text that is not compressed", []byte("this is not compressed at all")},
		{"ones", "only ones", bytes.Repeat([]byte{0xff}, 100)},
	} {
		out = append(out,
			f.add("corrupt-"+v.name, v.title, send(packed(wire.Binary, v.stream), bin([]byte("behind"))), fails(1007)),
			f.add("corrupt-"+v.name+"-fragments", v.title+", in fragments", send(append(inParts(wire.Binary, v.stream, 2), bin([]byte("behind")))...), fails(1007)))
	}
	return out
}

func inflatedCases() []*testCase {
	f := family{"D8", "RFC 6455 8.1, RFC 7692 6", "UTF-8 and size are judged after inflation."}
	var out []*testCase
	for _, v := range invalidUTF8 {
		out = append(out, f.add("utf8-"+v.name, v.title, sendDeflated(wire.Text, []byte("a"+v.bytes+"b")), send(text("behind")), fails(1007)))
	}
	out = append(out,
		f.add("utf8-cut", "a message that ends inside a code point", sendDeflated(wire.Text, []byte("a\xe2\x82")), send(text("behind")), fails(1007)),
		f.add("utf8-fragments", "a wrong byte in the last of many fragments", func(s *session) {
			send(inParts(wire.Text, s.Deflater.Message([]byte(sample+"\xff")), 6)...)(s)
		}, fails(1007)),
		f.add("utf8-binary", "a binary message is any bytes", deflated(wire.Binary, []byte("\xff\xfe\xed\xa0\x80")), alive()),
		f.add("utf8-stream", "a compressed form that is not UTF-8 is no matter", deflated(wire.Text, []byte(strings.Repeat("\u20ac", 100))), alive()),
	)
	size := func(variant, title string, steps ...step) {
		c := f.add(variant, title, steps...)
		c.Slow = true
		c.Skip = func(c *config) string {
			if c.MaxMessage == 0 {
				return "needs -max-message"
			}
			return ""
		}
		out = append(out, c)
	}
	zeros := func(more int) func(s *session) []byte {
		return func(s *session) []byte { return s.Deflater.Message(make([]byte, s.Cfg.MaxMessage+more)) }
	}
	size("size-max", "exactly the largest message", func(s *session) {
		sequence(send(packed(wire.Binary, zeros(0)(s))), echoes(wire.Binary, make([]byte, s.Cfg.MaxMessage)))(s)
	}, alive())
	size("size-max-incompressible", "the largest message of random bytes, which is longer on the wire", func(s *session) {
		p := make([]byte, s.Cfg.MaxMessage)
		for i := range p {
			p[i] = byte(s.Rand.Uint32())
		}
		// A server may bound what is on the wire, too.
		sequence(send(packed(wire.Binary, s.Deflater.Message(p))), failsOrEchoesExactly(string(p)))(s)
	})
	size("size-max+1", "one byte more than the largest message", func(s *session) { send(packed(wire.Binary, zeros(1)(s)))(s) }, fails(1009))
	size("size-max+1-fragments", "the same in fragments", func(s *session) { send(inParts(wire.Binary, zeros(1)(s), 50)...)(s) }, fails(1009))
	size("bomb", "64 MiB of zeros, some 64 KiB on the wire", bomb(func(b []byte) []wire.Frame { return []wire.Frame{packed(wire.Binary, b)} }), fails(1009))
	size("bomb-text", "the same as text", bomb(func(b []byte) []wire.Frame { return []wire.Frame{packed(wire.Text, b)} }), fails(1009))
	size("bomb-fragments", "the same in fragments", bomb(func(b []byte) []wire.Frame { return inParts(wire.Binary, b, 1000) }), fails(1009))
	size("bomb-empty-last", "the same with an empty last fragment", bomb(func(b []byte) []wire.Frame {
		return []wire.Frame{packed(wire.Binary, b).Part(), cont("")}
	}), fails(1009))
	parts := f.add("fragments-max+1", "one fragment too many of a compressed message", func(s *session) {
		if s.Cfg.MaxFragments == 0 {
			s.Judge(skip, "needs -max-fragments")
			return
		}
		frames := repeat(cont("").Part(), s.Cfg.MaxFragments+1)
		frames[0] = packed(wire.Text, []byte{0}).Part()
		frames[len(frames)-1].More = false
		sequence(send(frames...), fails(1008, 1009))(s)
	})
	return append(out, parts)
}

// zeroBomb is 64 MiB of zeros, compressed.
var zeroBomb = sync.OnceValue(func() []byte {
	return wire.NewDeflater(&wire.Deflate{}).Message(make([]byte, 64<<20))
})

func bomb(frames func([]byte) []wire.Frame) step {
	return func(s *session) { send(frames(zeroBomb())...)(s) }
}

func plainCases() []*testCase {
	f := family{"D9", "RFC 7692 6", "A message without RSV1 on a compressed connection is not compressed."}
	return []*testCase{
		f.add("text", "a text", echo(text("plain")), alive()),
		f.add("binary", "a binary message", echo(bin([]byte{0, 1, 0xFE, 0xFF})), alive()),
		f.add("empty", "an empty message", echo(text("")), alive()),
		f.add("fragments", "a fragmented message", echo(text("a").Part(), cont("b").Part(), cont("c")), alive()),
		f.add("like-deflate", "bytes that would inflate", echo(bin([]byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00})), alive()),
		f.add("utf8", "a text that is not UTF-8", send(text("\xff")), fails(1007)),
		f.add("first-then-compressed", "a compressed one behind", echo(text("plain")), deflated(wire.Text, []byte(sample)), alive()),
	}
}

// Compresses is passed by a server that takes the offer of a run with -compress.
func Compresses() *testCase { return &testCase{ID: "D0.offer", Steps: []step{open()}} }
