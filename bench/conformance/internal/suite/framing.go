package suite

import (
	"fmt"

	"wsgateway/bench/conformance/internal/engine"
	"wsgateway/bench/conformance/internal/wire"
)

// kinds are the opcodes in use, with a payload each may have.
var kinds = []struct {
	name  string
	frame wire.Frame
}{
	{"text", text("hello")}, {"binary", bin([]byte("hello"))}, {"ping", ping("hello")}, {"pong", pong("hello")}, {"close", closeWith(1000, "")},
}

// reserved are the opcodes without a meaning.
var reserved = []byte{3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF}

// framingCases are those of RFC 6455 sections 5.1 and 5.2.
func framingCases() []*testCase {
	var all []*testCase
	for _, f := range []func() []*testCase{maskCases, rsvCases, opcodeCases, lengthCases, msbCases, controlHeaderCases, headerCases, echoCases, afterFailureCases} {
		all = append(all, f()...)
	}
	return all
}

// violates makes the case that a frame fails the connection, with a message behind
// it that must not be taken.
func (f family) violates(variant, title string, frames ...wire.Frame) *testCase {
	return f.add(variant, title, open(), send(append(frames, text("behind"))...), fails(1002))
}

func maskCases() []*testCase {
	f := family{"F1", "RFC 6455 5.1", "A server must close the connection when it receives a frame that is not masked; it may use 1002."}
	var out []*testCase
	for _, k := range kinds {
		out = append(out, f.violates(k.name, k.name+" without a mask", k.frame.NoMask()))
	}
	out = append(out,
		f.violates("empty", "an empty message without a mask", text("").NoMask()),
		f.violates("continuation", "a second fragment without a mask", text("a").Part(), cont("b").NoMask()),
		f.violates("len16", "200 bytes without a mask", bin(filler(200)).NoMask()),
		f.violates("len64", "70000 bytes without a mask", bin(filler(70000)).NoMask()),
		f.add("second", "a frame without a mask behind one with", open(), echo(text("a")), send(text("b").NoMask(), text("behind")), fails(1002)),
	)
	good := family{"F1", "RFC 6455 5.3", "The masking key is any value; the payload is unmasked with it, byte by byte."}
	for _, key := range []uint32{0, 0xFFFFFFFF, 1, 0x80000000, 0x00FF00FF} {
		out = append(out, good.add(fmt.Sprintf("key-%08x", key), fmt.Sprintf("masking key %08x", key), open(),
			echo(bin(filler(1000)).MaskKey(key)), echo(text("x").MaskKey(key)), echo(bin(filler(13)).MaskKey(key))))
	}
	return append(out, good.add("key-changes", "a new key for each fragment", open(),
		echo(text("abc").Part().MaskKey(0x01020304), cont("defgh").Part().MaskKey(0xFF00AA55), cont("ijk").MaskKey(0))))
}

func rsvCases() []*testCase {
	f := family{"F2", "RFC 6455 5.2", "Reserved bits are 0 unless an extension was negotiated that gives them a meaning; else the connection must be failed."}
	meant := func(bits byte) func(*config) string {
		return func(c *config) string {
			if c.Compress && bits == wire.RSV1 {
				return "RSV1 has a meaning with permessage-deflate"
			}
			return ""
		}
	}
	var out []*testCase
	for bits := byte(1); bits <= 7; bits++ {
		for _, k := range kinds {
			c := f.violates(fmt.Sprintf("rsv%d-%s", bits, k.name), fmt.Sprintf("reserved bits %03b on %s", bits, k.name), k.frame.RSV(bits))
			if k.name == "text" || k.name == "binary" {
				c.Skip = meant(bits)
			}
			out = append(out, c)
		}
		out = append(out,
			f.violates(fmt.Sprintf("rsv%d-continuation", bits), fmt.Sprintf("reserved bits %03b on a continuation", bits), text("a").Part(), cont("b").RSV(bits)))
	}
	empty := f.violates("rsv4-empty-text", "RSV1 on an empty message", text("").RSV(wire.RSV1))
	empty.Skip = meant(wire.RSV1)
	return append(out, empty,
		f.violates("rsv2-first-fragment", "RSV2 on a first fragment", text("a").Part().RSV(wire.RSV2)),
		f.add("rsv1-second-message", "RSV3 on the second message", open(), echo(text("a")), send(text("b").RSV(wire.RSV3), text("behind")), fails(1002)))
}

func opcodeCases() []*testCase {
	f := family{"F3", "RFC 6455 5.2", "When an opcode is received that has no meaning, the connection must be failed."}
	var out []*testCase
	for _, op := range reserved {
		name := fmt.Sprintf("%x", op)
		out = append(out,
			f.violates(name, "opcode "+name+" without payload", opcode(op, "")),
			f.violates(name+"-payload", "opcode "+name+" with payload", opcode(op, "payload")),
			f.violates(name+"-inside", "opcode "+name+" inside a fragmented message", text("a").Part(), opcode(op, ""), cont("b")),
			f.violates(name+"-nofin", "opcode "+name+" without FIN", opcode(op, "a").Part()),
		)
	}
	return out
}

func lengthCases() []*testCase {
	f := family{"F4", "RFC 6455 5.2", "The length must be told in the fewest bytes possible."}
	var out []*testCase
	for _, v := range []struct{ form, n int }{
		{16, 0}, {16, 1}, {16, 5}, {16, 124}, {16, 125}, {64, 0}, {64, 1}, {64, 125}, {64, 126}, {64, 127}, {64, 65534}, {64, 65535},
	} {
		id := fmt.Sprintf("len%d-for-%d", v.form, v.n)
		title := fmt.Sprintf("length %d in %d bits", v.n, v.form)
		out = append(out, f.violates(id, title, bin(filler(v.n)).Len(v.form)))
		if v.n <= 5 {
			out = append(out, f.violates(id+"-text", title+", text", text(string(filler(v.n))).Len(v.form)))
		}
		if v.n <= 125 {
			out = append(out, f.violates(id+"-ping", title+", ping", ping(string(filler(v.n))).Len(v.form)))
		}
	}
	return append(out,
		f.violates("len16-continuation", "a continuation of 3 bytes in 16 bits", text("a").Part(), cont("bcd").Len(16)),
		f.violates("len64-continuation", "a continuation of 3 bytes in 64 bits", text("a").Part(), cont("bcd").Len(64)),
		f.violates("len16-close", "a Close frame in 16 bits", closeWith(1000, "").Len(16)),
		f.violates("len64-close", "a Close frame in 64 bits", closeWith(1000, "").Len(64)),
	)
}

func msbCases() []*testCase {
	f := family{"F5", "RFC 6455 5.2", "The most significant bit of a 64-bit length must be 0."}
	var out []*testCase
	for _, v := range []struct {
		name string
		n    uint64
	}{
		{"2^63", 1 << 63}, {"2^64-1", 1<<64 - 1}, {"2^63+5", 1<<63 + 5}, {"minus-125", 1<<64 - 125},
	} {
		for _, k := range kinds[:2] {
			fr := k.frame.Len(64).Declare(v.n)
			fr.Payload = nil
			out = append(out, f.add(v.name+"-"+k.name, "length "+v.name+" on "+k.name, open(), send(fr), fails(1002, 1009)))
		}
	}
	return append(out,
		f.add("continuation", "length 2^63 on a continuation", open(), send(text("a").Part(), cont("").Len(64).Declare(1<<63)), fails(1002, 1009)),
		f.add("behind", "length 2^63+5 with payload and a message behind", open(), send(text("hello").Len(64).Declare(1<<63+5), text("behind")), fails(1002, 1009)),
		f.add("ping", "length 2^63 on a ping", open(), send(ping("").Len(64).Declare(1<<63)), fails(1002)),
	)
}

func controlHeaderCases() []*testCase {
	f := family{"F6", "RFC 6455 5.5", "A control frame has at most 125 bytes of payload and is not fragmented."}
	early := family{"F6", "RFC 6455 5.5", "The header shows that the control frame is wrong: a server need not wait for its payload."}
	var out []*testCase
	for _, k := range kinds[2:] {
		for _, n := range []int{126, 127, 1000, 65535, 65536} {
			big := k.frame
			big.Payload = filler(n)
			if k.name == "close" {
				big.Payload = append([]byte{3, 232}, big.Payload[2:]...)
			}
			out = append(out, f.violates(fmt.Sprintf("%s-%d", k.name, n), fmt.Sprintf("%s of %d bytes", k.name, n), big))
			out = append(out, early.add(fmt.Sprintf("%s-%d-header", k.name, n), fmt.Sprintf("the header of a %s of %d bytes", k.name, n),
				open(), sendRaw(big.Header()), failsQuickly(1002, atOnce, big.Bytes()[len(big.Header()):])))
		}
		out = append(out,
			f.violates(k.name+"-nofin", k.name+" without FIN", k.frame.Part()),
			f.violates(k.name+"-nofin-continued", k.name+" in two frames", k.frame.Part(), cont("b")),
			f.violates(k.name+"-nofin-inside", k.name+" without FIN inside a fragmented message", text("a").Part(), k.frame.Part(), cont("b")),
			early.add(k.name+"-nofin-header", "the header of a "+k.name+" without FIN", open(), sendRaw(k.frame.Part().Header()),
				failsQuickly(1002, atOnce, k.frame.Bytes()[len(k.frame.Header()):])))
	}
	return out
}

// headerCases send the header of a frame that is wrong, and its payload only if the
// server waits for it.
func headerCases() []*testCase {
	section, rule := "RFC 6455 5.2, 7.1.7", "The header shows that the frame is wrong: a server need not wait for its payload."
	var out []*testCase
	add := func(id, variant, title string, f wire.Frame, before ...wire.Frame) {
		head := f.Header()
		out = append(out, family{id, section, rule}.add(variant, title, open(), send(before...), sendRaw(head),
			failsQuickly(1002, atOnce, f.Bytes()[len(head):])))
	}
	big := string(filler(5000))
	add("F1", "header", "the header of a frame without a mask", text(big).NoMask())
	add("F1", "header-fragment", "the header of a second fragment without a mask", cont(big).NoMask(), text("a").Part())
	add("F2", "header", "the header of a frame with RSV3", text(big).RSV(wire.RSV3))
	add("F2", "header-control", "the header of a ping with RSV1", ping("payload").RSV(wire.RSV1))
	add("F3", "header", "the header of a frame with a reserved opcode", opcode(3, big))
	add("F3", "header-control", "the header of a control frame with a reserved opcode", opcode(0xB, "payload"))
	add("F4", "header-16", "the header of 100 bytes in 16 bits", text(big[:100]).Len(16))
	add("F4", "header-64", "the header of 5000 bytes in 64 bits", text(big).Len(64))
	add("F8", "header-continuation", "the header of a continuation of nothing", cont(big))
	add("F8", "header-text", "the header of a text inside a fragmented message", text(big), text("a").Part())
	return out
}

// echoCases send messages of lengths around the boundaries.
func echoCases() []*testCase {
	f := family{"F9", "RFC 6455 5.2, 5.6", "Every length is taken in its shortest form, and the message comes back as it was."}
	var out []*testCase
	for _, n := range []int{0, 1, 2, 3, 4, 5, 7, 8, 124, 125, 126, 127, 128, 255, 256, 1023, 1024, 4095, 4096, 4097, 8191, 16384, 32768, 65534, 65535, 65536, 65537, 131072, 262143} {
		for _, op := range []byte{wire.Text, wire.Binary} {
			name := map[byte]string{wire.Text: "text", wire.Binary: "binary"}[op]
			c := f.add(fmt.Sprintf("%s-%d", name, n), fmt.Sprintf("%s of %d bytes", name, n),
				open(), echo(opcode(op, string(filler(n)))), alive())
			c.Skip = needsMessage(n)
			out = append(out, c)
		}
	}
	order := f.add("order", "a hundred messages behind each other come back in order", open(), func(s *session) {
		var frames []wire.Frame
		for i := range 100 {
			frames = append(frames, text(fmt.Sprint("message ", i)))
		}
		send(frames...)(s)
		for _, f := range frames {
			if echoes(f.Op, f.Payload)(s); s.Done() {
				return
			}
		}
	})
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return append(out, order,
		f.add("all-bytes", "every byte in a binary message", open(), echo(bin(all)), alive()),
		f.add("types-mixed", "text and binary by turns", open(), echo(text("a")), echo(bin([]byte{0xFF})), echo(text("")), echo(bin(nil)), echo(text("b"))))
}

// needsMessage skips cases with messages over the server's limit.
func needsMessage(n int) func(*config) string {
	return func(c *config) string {
		if c.MaxMessage != 0 && n > c.MaxMessage {
			return fmt.Sprintf("needs -max-message %d", n)
		}
		return ""
	}
}

// afterFailureCases look at what a server does with what stands behind a bad frame.
func afterFailureCases() []*testCase {
	f := family{"F26", "RFC 6455 7.1.7", "After failing the connection an endpoint must not continue to process data."}
	behind := []wire.Frame{text("one"), bin([]byte("two")), ping("three"), closeWith(1000, "four")}
	var out []*testCase
	for _, b := range []struct {
		name  string
		frame wire.Frame
		code  int
	}{
		{"rsv", text("x").RSV(wire.RSV3), 1002}, {"opcode", opcode(3, "x"), 1002}, {"unmasked", text("x").NoMask(), 1002},
		{"utf8", text("\xff"), 1007}, {"continuation", cont("x"), 1002}, {"close-code", closeWith(999, ""), 1002},
		{"ping-nofin", ping("x").Part(), 1002},
	} {
		out = append(out, f.add(b.name, "messages, a ping and a Close behind a bad frame", open(),
			send(append([]wire.Frame{b.frame}, behind...)...), failsSilently(b.code)))
		out = append(out, f.add(b.name+"-before", "a message before the bad frame is echoed, one behind is not", open(),
			send(text("before"), b.frame, text("behind")), echoes(wire.Text, []byte("before")), ending{codes: []int{b.code}, other: nonStrict, none: nonStrict}.step()))
	}
	drain := family{"F18", "RFC 6455 7.1.1", "The Close frame reaches a client that is still sending: the server closes so that it is not destroyed by a reset."}
	for _, b := range []struct {
		name  string
		frame wire.Frame
		code  int
	}{
		{"bad-frame", opcode(3, "x"), 1002}, {"bad-text", text("\xff"), 1007}, {"close", closeWith(1000, "bye"), 1000},
	} {
		out = append(out, drain.add(b.name, "1 MiB of input behind it, sent before anything is read", open(), send(b.frame),
			push(1<<20), ending{codes: []int{b.code}, other: nonStrict, none: nonStrict, noReset: true}.step()))
	}
	return out
}

// push writes n bytes of messages without reading.
func push(n int) step {
	return func(s *session) {
		b := bin(filler(4000)).Bytes()
		for sent := 0; sent < n; sent += len(b) {
			if !s.WriteWhole(b) {
				return
			}
		}
	}
}

// failsSilently is fails, with no pong before the Close frame.
func failsSilently(code int) step {
	w := ending{codes: []int{code}, other: nonStrict, none: nonStrict}
	return func(s *session) {
		e := s.Next(s.Cfg.Timeout)
		if e.Kind == engine.Pong {
			s.Judge(fail, w.String())
			return
		}
		w.judge(s, e)
	}
}
