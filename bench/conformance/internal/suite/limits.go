package suite

import (
	"fmt"
	"time"

	"wsgateway/bench/conformance/internal/wire"
)

// limitCases are those of RFC 6455 section 10.4. They need to know the limits.
func limitCases() []*testCase {
	f := family{"F25", "RFC 6455 10.4, 7.4.1", "A server bounds frames and reassembled messages; 1009 says that one is too big, and a header that crosses the limit says enough."}
	known := func(c *config) string {
		if c.MaxMessage == 0 {
			return "needs -max-message"
		}
		return ""
	}
	var out []*testCase
	add := func(variant, title string, steps ...step) {
		c := f.add(variant, title, append([]step{open()}, steps...)...)
		c.Skip = known
		c.Slow = true
		out = append(out, c)
	}
	for _, op := range []byte{wire.Text, wire.Binary} {
		name := map[byte]string{wire.Text: "text", wire.Binary: "binary"}[op]
		add("max-"+name, "exactly the largest message, "+name, echoSize(op, 0), alive())
		add("max-1-"+name, "one byte less than the largest message, "+name, echoSize(op, -1))
		add("max+1-"+name, "one byte more than the largest message, "+name, tooBig(op))
	}
	add("max-fragments", "exactly the largest message in three fragments", func(s *session) {
		all := filler(s.Cfg.MaxMessage)
		a, b := len(all)/3, 2*len(all)/3
		sequence(send(bin(all[:a]).Part(), cont(string(all[a:b])).Part(), cont(string(all[b:]))), echoes(wire.Binary, all))(s)
	}, alive())
	add("max+1-second-fragment", "the header of a second fragment that crosses the limit", func(s *session) {
		half := s.Cfg.MaxMessage / 2
		last := cont(string(filler(s.Cfg.MaxMessage - half + 1)))
		head := last.Header()
		sequence(send(bin(filler(half)).Part()), sendRaw(head), failsQuickly(1009, 400*time.Millisecond, last.Bytes()[len(head):]))(s)
	})
	add("max+1-third-fragment", "a third fragment of one byte that crosses the limit", func(s *session) {
		half := s.Cfg.MaxMessage / 2
		sequence(send(bin(filler(half)).Part(), cont(string(filler(s.Cfg.MaxMessage-half))).Part(), cont("x")), fails(1009))(s)
	})
	add("max+1-behind", "a message behind one that is too big", func(s *session) {
		send(bin(filler(s.Cfg.MaxMessage+1)), text("behind"))(s)
	}, fails(1009))
	add("max-twice", "the limit counts for each message", echoSize(wire.Binary, 0), echoSize(wire.Binary, 0))
	for _, v := range []struct {
		name string
		n    uint64
	}{
		{"2^31-1", 1<<31 - 1}, {"2^31", 1 << 31}, {"2^31+1", 1<<31 + 1}, {"2^32-1", 1<<32 - 1}, {"2^32", 1 << 32}, {"2^32+1", 1<<32 + 1}, {"2^62", 1 << 62}, {"2^63-1", 1<<63 - 1},
	} {
		add("declared-"+v.name, "the header of a frame of "+v.name+" bytes",
			send(wire.Frame{Op: wire.Binary}.Len(64).Declare(v.n)), failsQuickly(1009, time.Second, nil))
		add("declared-"+v.name+"-continuation", "the header of a continuation of "+v.name+" bytes",
			send(text("a").Part(), wire.Frame{Op: wire.Continuation}.Len(64).Declare(v.n)), failsQuickly(1009, time.Second, nil))
	}
	return append(out, fragmentLimitCases()...)
}

// echoSize echoes a message of the size of the limit and some more.
func echoSize(op byte, more int) step {
	return func(s *session) { echo(opcode(op, string(filler(s.Cfg.MaxMessage+more))))(s) }
}

// tooBig sends the header of a message over the limit, and its payload only if
// the server waits for it.
func tooBig(op byte) step {
	return func(s *session) {
		f := opcode(op, string(filler(s.Cfg.MaxMessage+1)))
		head := f.Header()
		sequence(sendRaw(head), failsQuickly(1009, 400*time.Millisecond, f.Bytes()[len(head):]))(s)
	}
}

func fragmentLimitCases() []*testCase {
	f := family{"F25", "RFC 6455 7.4.1", "A server may bound the fragments of a message; 1008 says that its policy was violated."}
	known := func(c *config) string {
		if c.MaxFragments == 0 {
			return "needs -max-fragments"
		}
		return ""
	}
	many := func(n int, payload string, last bool) []wire.Frame {
		frames := repeat(cont(payload).Part(), n)
		frames[0].Op = wire.Binary
		frames[n-1].More = !last
		return frames
	}
	var out []*testCase
	for _, p := range []struct{ variant, payload string }{{"one-byte", "x"}, {"empty", ""}} {
		for _, r := range []struct {
			variant, title string
			run            func(*session)
		}{
			{"max", "as many fragments as allowed", func(s *session) { echo(many(s.Cfg.MaxFragments, p.payload, true)...)(s) }},
			{"max+1", "one fragment too many", func(s *session) {
				sequence(send(many(s.Cfg.MaxFragments+1, p.payload, true)...), fails(1008, 1009))(s)
			}},
			{"flood", "fragments without an end", func(s *session) {
				sequence(send(many(s.Cfg.MaxFragments*4, p.payload, false)...), fails(1008, 1009))(s)
			}},
		} {
			c := f.add("fragments-"+r.variant+"-"+p.variant, fmt.Sprintf("%s, %s each", r.title, p.variant), open(), r.run)
			c.Skip = known
			out = append(out, c)
		}
	}
	control := f.add("fragments-max-pings", "control frames do not count as fragments", open(), func(s *session) {
		frames := many(s.Cfg.MaxFragments, "x", true)
		every := max(8, len(frames)/128) // a server may take more for a flood
		var mixed []wire.Frame
		for i, fr := range frames {
			if i > 0 && i%every == 0 {
				mixed = append(mixed, pong(""))
			}
			mixed = append(mixed, fr)
		}
		var all []byte
		for _, fr := range frames {
			all = append(all, fr.Payload...)
		}
		sequence(send(mixed...), echoes(wire.Binary, all))(s)
	})
	control.Skip = known
	return append(out, control)
}
