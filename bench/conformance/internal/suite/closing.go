package suite

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"wsgateway/bench/conformance/internal/engine"
	"wsgateway/bench/conformance/internal/wire"
)

// closingCases are those of the closing handshake.
func closingCases() []*testCase {
	return slices.Concat(closeCases(), codeCases(), reasonCases(), afterCloseCases(), endCases())
}

func closeCases() []*testCase {
	empty := family{"F11", "RFC 6455 5.5.1, 7.4.1", "A Close frame may be empty, and must be answered with a Close frame; 1005 is never on the wire."}
	short := family{"F12", "RFC 6455 5.5.1", "The payload of a Close frame, if any, begins with a code of two bytes."}
	once := family{"F13", "RFC 6455 5.5.1", "A Close frame must be answered with one, typically of the same code; nothing is sent behind it."}
	return []*testCase{
		empty.add("empty", "an empty Close frame", open(), send(closeRaw("")), closes(1005)),
		empty.add("empty-after-message", "an empty Close frame behind a message", open(), echo(text("a")), send(closeRaw("")), closes(1005)),
		short.add("one-byte", "a Close frame with one byte", open(), send(closeRaw("\x03")), fails(1002)),
		short.add("one-byte-zero", "a Close frame with a zero byte", open(), send(closeRaw("\x00")), fails(1002)),
		short.add("one-byte-behind", "a message behind a Close frame with one byte", open(), send(closeRaw("\x03"), text("behind")), fails(1002)),
		once.add("normal", "1000", open(), send(closeWith(1000, "")), closes(1000)),
		once.add("after-echo", "1000 behind a message, which is echoed before", open(), send(text("a"), closeWith(1000, "")), echoes(wire.Text, []byte("a")), closes(1000)),
		once.add("after-messages", "1000 behind ten messages", open(), send(append(repeat(text("a"), 10), closeWith(1000, ""))...), echoTimes(10, "a"), closes(1000)),
		once.add("after-ping", "1000 behind a ping", open(), send(ping("p"), closeWith(1000, "")), closes(1000)),
		once.add("twice", "two Close frames", open(), send(closeWith(1000, ""), closeWith(1000, "")), closes(1000)),
		once.add("twice-other", "two Close frames of different codes: the first counts", open(), send(closeWith(1000, ""), closeWith(1001, "")), closes(1000)),
		once.add("bad-second", "a wrong Close frame behind a correct one", open(), send(closeWith(1000, ""), closeRaw("\x03")), closes(1000)),
		once.add("half-closed", "1000, and our side of the connection ended", open(), send(closeWith(1000, "")), func(s *session) { s.CloseWrite() }, closes(1000)),
	}
}

func echoTimes(n int, payload string) step {
	all := make([]step, n)
	for i := range all {
		all[i] = echoes(wire.Text, []byte(payload))
	}
	return sequence(all...)
}

func codeCases() []*testCase {
	good := family{"F15", "RFC 6455 7.4, IANA", "A code that has a meaning, or is for libraries and applications (3000-4999), is answered in kind."}
	bad := family{"F14", "RFC 6455 7.4", "Codes below 1000 are not used, 1004-1006 and 1015 must not be on the wire, 1016-2999 have no meaning yet, 5000 and up are not defined."}
	var out []*testCase
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3999, 4000, 4001, 4400, 4998, 4999} {
		out = append(out, good.add(fmt.Sprint(code), fmt.Sprintf("Close with %d", code), open(), send(closeWith(code, "")), closes(code)))
	}
	for _, code := range []int{0, 1, 100, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 5001, 10000, 32768, 65535} {
		out = append(out, bad.add(fmt.Sprint(code), fmt.Sprintf("Close with %d", code), open(), send(closeWith(code, "")), fails(1002)))
	}
	return append(out,
		bad.add("1005-reason", "1005 with a reason", open(), send(closeWith(1005, "reason")), fails(1002)),
		bad.add("999-behind", "a message behind a Close with 999", open(), send(closeWith(999, ""), text("behind")), fails(1002)))
}

func reasonCases() []*testCase {
	good := family{"F16", "RFC 6455 5.5.1", "The reason is UTF-8 of up to 123 bytes."}
	bad := family{"F16", "RFC 6455 5.5.1, 8.1", "A reason that is not UTF-8 fails the connection."}
	var out []*testCase
	for _, r := range []struct{ variant, reason string }{
		{"ascii", "going away"}, {"utf8", "gr\u00fc\u00dfe \u20ac \U0001F600"}, {"nul", "a\x00b"},
		{"123", strings.Repeat("r", 123)}, {"122", strings.Repeat("r", 122)}, {"123-utf8", strings.Repeat("\u20ac", 41)}, {"one", "r"},
	} {
		out = append(out, good.add("reason-"+r.variant, fmt.Sprintf("a reason of %d bytes", len(r.reason)), open(), send(closeWith(1000, r.reason)), closes(1000)))
	}
	for _, r := range invalidUTF8 {
		out = append(out, bad.add("invalid-"+r.name, "a reason with "+r.title, open(), send(closeWith(1000, "a"+r.bytes+"b")), fails(1007, 1002)))
	}
	return append(out,
		bad.add("invalid-cut", "a reason that ends inside a code point", open(), send(closeWith(1000, "a\xe2\x82")), fails(1007, 1002)),
		bad.add("invalid-123", "123 bytes that end inside a code point", open(), send(closeWith(1000, strings.Repeat("r", 122)+"\xc3")), fails(1007, 1002)))
}

func afterCloseCases() []*testCase {
	f := family{"F17", "RFC 6455 5.5.1", "After a Close frame no data is sent or processed."}
	bye := closeWith(1000, "")
	return []*testCase{
		f.add("text", "a message behind our Close frame", open(), send(bye, text("behind")), closesSilently()),
		f.add("binary", "a binary message behind our Close frame", open(), send(bye, bin([]byte("behind"))), closesSilently()),
		f.add("ping", "a ping behind our Close frame", open(), send(bye, ping("behind")), closesSilently()),
		f.add("pong", "a pong behind our Close frame", open(), send(bye, pong("behind")), closesSilently()),
		f.add("bad-frame", "a bad frame behind our Close frame", open(), send(bye, opcode(3, "x")), closesSilently()),
		f.add("garbage", "no frame at all behind our Close frame", open(), send(bye), sendRaw([]byte("GET / HTTP/1.1\r\n\r\n")), closesSilently()),
		f.add("fragment", "the rest of a fragmented message behind our Close frame", open(), send(text("a").Part(), bye, cont("b")), closesSilently()),
		f.add("incomplete", "a header without its payload behind our Close frame", open(), send(bye), sendRaw(text("hello").Header()), closesSilently()),
		f.add("reply-after-failure", "our Close frame behind the server's", open(), send(opcode(3, "")), func(s *session) {
			if e := s.Next(s.Cfg.Timeout); e.Kind == engine.Close {
				s.Write(closeWith(1002, "").Bytes())
			}
		}, endsWithin(time.Second)),
		f.add("input-after-failure", "messages behind the server's Close frame", open(), send(opcode(3, "")), func(s *session) {
			if e := s.Next(s.Cfg.Timeout); e.Kind == engine.Close {
				s.Write(append(text("more").Bytes(), ping("more").Bytes()...))
			}
		}, endsWithin(time.Second)),
	}
}

// closesSilently is closes(1000), with no pong before the Close frame.
func closesSilently() step {
	w := ending{codes: []int{1000}, other: nonStrict, none: fail, noReply: true}
	return func(s *session) {
		e := s.Next(s.Cfg.Timeout)
		if e.Kind == engine.Pong {
			s.Judge(fail, w.String())
			return
		}
		w.judge(s, e)
	}
}

// endsWithin wants the connection to end, with nothing more before.
func endsWithin(d time.Duration) step {
	return func(s *session) {
		e := s.Next(s.Cfg.Soon(d))
		if e.Kind == engine.Timeout {
			s.Judge(nonStrict, fmt.Sprintf("EOF within %v", d))
			e = s.Next(s.Cfg.Timeout)
		}
		if !e.Ended() {
			s.Judge(fail, "EOF")
		}
	}
}

// endCases are about the TCP connection.
func endCases() []*testCase {
	f := family{"F19", "RFC 6455 7.1.1", "The server closes the TCP connection, also when the client never answers its Close frame."}
	cut := family{"F20", "RFC 6455 7.1.5", "A connection cut without a Close frame is over; nothing is echoed of an incomplete message."}
	gone := f.add("silent-client", "we never answer the server's Close frame, and keep our side open", open(), send(opcode(3, "")), func(s *session) {
		if e := s.Next(s.Cfg.Timeout); e.Kind == engine.Timeout {
			s.Judge(fail, "Close(1002)")
		} else if !s.Gone(s.Cfg.Soon(6500 * time.Millisecond)) {
			s.Saw("writes still taken after 6.5s")
			s.Judge(fail, "the TCP connection closed within 6s")
		}
	})
	gone.Slow = true
	fullClose := f.add("after-handshake", "behind the closing handshake the connection is gone", open(), send(closeWith(1000, "")), closes(1000))
	fullClose.Steps = append(fullClose.Steps[:2], func(s *session) {
		if e := s.Next(s.Cfg.Timeout); e.Kind != engine.Close {
			s.Judge(fail, "Close(1000)")
		} else if !s.Gone(s.Cfg.Soon(6500 * time.Millisecond)) {
			s.Judge(fail, "the TCP connection closed within 6s")
		}
	})
	half := func(variant, title string, b []byte) *testCase {
		return cut.add(variant, title, open(), sendRaw(b), func(s *session) { s.CloseWrite() }, cutShort())
	}
	whole := text("hello world").Bytes()
	return []*testCase{gone, fullClose,
		half("idle", "FIN on an idle connection", nil),
		half("header", "FIN inside a header", whole[:1]),
		half("mask", "FIN inside the masking key", whole[:4]),
		half("payload", "FIN inside a payload", whole[:10]),
		half("fragment", "FIN inside a fragmented message", text("a").Part().Bytes()),
	}
}

// cutShort wants the end, at most with a Close frame before.
func cutShort() step {
	return func(s *session) {
		e := s.Next(s.Cfg.Timeout)
		if e.Kind == engine.Close {
			e = s.Next(s.Cfg.Timeout)
		}
		if !e.Ended() {
			s.Judge(fail, "EOF")
		}
	}
}
