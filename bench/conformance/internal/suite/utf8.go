package suite

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"wsgateway/bench/conformance/internal/engine"
	"wsgateway/bench/conformance/internal/wire"
)

// invalidUTF8 has a sequence of every way to be wrong (RFC 3629 sections 3, 4).
// Followed by an ASCII character each is wrong for good.
var invalidUTF8 = []struct {
	name, title, bytes string
	decided            int // bytes after which it cannot become right; 0 is at the byte behind it
}{
	{"lone-80", "a lone continuation 80", "\x80", 1},
	{"lone-bf", "a lone continuation BF", "\xbf", 1},
	{"overlong2-c0", "an overlong form C0 80", "\xc0\x80", 1},
	{"overlong2-c1", "an overlong form C1 BF", "\xc1\xbf", 1},
	{"overlong3", "an overlong form E0 80 80", "\xe0\x80\x80", 2},
	{"overlong3-last", "an overlong form E0 9F BF", "\xe0\x9f\xbf", 2},
	{"overlong4", "an overlong form F0 80 80 80", "\xf0\x80\x80\x80", 2},
	{"overlong4-last", "an overlong form F0 8F BF BF", "\xf0\x8f\xbf\xbf", 2},
	{"surrogate-d800", "the surrogate D800", "\xed\xa0\x80", 2},
	{"surrogate-dbff", "the surrogate DBFF", "\xed\xaf\xbf", 2},
	{"surrogate-dc00", "the surrogate DC00", "\xed\xb0\x80", 2},
	{"surrogate-dfff", "the surrogate DFFF", "\xed\xbf\xbf", 2},
	{"surrogate-pair", "a pair of surrogates", "\xed\xa0\x80\xed\xb0\x80", 2},
	{"over-110000", "the code point 110000", "\xf4\x90\x80\x80", 2},
	{"over-13ffff", "the code point 13FFFF", "\xf4\xbf\xbf\xbf", 2},
	{"f5", "the byte F5", "\xf5\x80\x80\x80", 1},
	{"f7", "the byte F7", "\xf7\xbf\xbf\xbf", 1},
	{"f8", "a form of five bytes", "\xf8\x88\x80\x80\x80", 1},
	{"fc", "a form of six bytes", "\xfc\x84\x80\x80\x80\x80", 1},
	{"fe", "the byte FE", "\xfe", 1},
	{"ff", "the byte FF", "\xff", 1},
	{"missing2", "a form of two bytes without its second", "\xc3", 0},
	{"missing3-2", "a form of three bytes without its second", "\xe2", 0},
	{"missing3-3", "a form of three bytes without its third", "\xe2\x82", 0},
	{"missing4-2", "a form of four bytes without its second", "\xf0", 0},
	{"missing4-3", "a form of four bytes without its third", "\xf0\x9f", 0},
	{"missing4-4", "a form of four bytes without its fourth", "\xf0\x9f\x98", 0},
	{"lead-lead", "two first bytes behind each other", "\xc3\xc3\xa9", 2},
	{"late", "a wrong byte behind right ones", "\u20ac\U0001F600\xff", 8},
}

// validUTF8 has the first and the last code point of each length and range.
var validUTF8 = []struct{ name, text string }{
	{"u0000", "\u0000"}, {"u007f", "\u007f"}, {"u0080", "\u0080"}, {"u07ff", "\u07ff"}, {"u0800", "\u0800"}, {"u0fff", "\u0fff"}, {"u1000", "\u1000"},
	{"ucfff", "\ucfff"}, {"ud7ff", "\ud7ff"}, {"ue000", "\ue000"}, {"ufeff", "\ufeff"}, {"ufffd", "\ufffd"}, {"ufffe", "\ufffe"}, {"uffff", "\uffff"},
	{"u10000", "\U00010000"}, {"u3ffff", "\U0003ffff"}, {"u40000", "\U00040000"}, {"ufffff", "\U000fffff"}, {"u100000", "\U00100000"}, {"u10ffff", "\U0010ffff"},
}

// utf8Cases are those of RFC 6455 section 8.1.
func utf8Cases() []*testCase {
	return slices.Concat(validTextCases(), failFastCases(), invalidTextCases(), textOnlyCases())
}

func validTextCases() []*testCase {
	f := family{"F21", "RFC 6455 5.6, 8.1", "A text message as a whole is UTF-8; its fragments may end inside a code point."}
	var out []*testCase
	for _, v := range validUTF8 {
		steps := []step{open(), echo(text(v.text)), echo(text("a" + v.text + "b")), echo(text(strings.Repeat(v.text, 50)))}
		for i := 1; i < len(v.text); i++ {
			steps = append(steps, echo(text("a"+v.text[:i]).Part(), cont(v.text[i:]+"b")))
		}
		out = append(out, f.add(v.name, "code point "+strings.ToUpper(v.name[1:]), steps...))
	}
	mixed := "\u03ba\u1f79\u03c3\u03bc\u03b5 \u20ac \U0001F600 end"
	bytewise := []wire.Frame{}
	for i := range len(mixed) {
		fr := cont(mixed[i : i+1])
		if i == 0 {
			fr.Op = wire.Text
		}
		fr.More = i < len(mixed)-1
		bytewise = append(bytewise, fr)
	}
	f2 := family{"F21", "RFC 6455 5.6", "Binary messages are any bytes."}
	out = append(out,
		f.add("mixed", "code points of all lengths", open(), echo(text(mixed))),
		f.add("mixed-bytewise", "one byte a fragment", open(), echo(bytewise...), alive()),
		f.add("mixed-empty-inside", "empty fragments inside a code point", open(), echo(text("\xf0").Part(), cont("").Part(), cont("\x9f\x98").Part(), cont("").Part(), cont("\x80")), alive()),
		f.add("long", "60 KB of three-byte code points", open(), echo(text(strings.Repeat("\u20ac", 20000)))),
		f.add("noncharacters", "noncharacters are valid", open(), echo(text("\ufdd0\ufdef\U0001fffe\U0010ffff"))),
		f.add("state-after-message", "nothing is left over from one message to the next", open(), echo(text("\u20ac")), echo(text("a")), echo(text("\U0001F600")), alive()),
		f.add("binary-then-text", "a binary message that ends inside a code point, and a text", open(), echo(bin([]byte("\xe2\x82"))), echo(text("\u20ac"))),
	)
	for _, v := range []struct{ name, bytes string }{{"ff", "\xff"}, {"surrogate", "\xed\xa0\x80"}, {"cut", "\xe2\x82"}, {"overlong", "\xc0\x80"}} {
		out = append(out, f2.add("binary-"+v.name, "a binary message that is not UTF-8", open(), echo(bin([]byte(v.bytes))), echo(bin([]byte("a")).Part(), cont(v.bytes)), alive()))
	}
	return out
}

func invalidTextCases() []*testCase {
	f := family{"F23", "RFC 6455 8.1, RFC 3629 3", "A text message that is not UTF-8 must fail the connection; its code is 1007."}
	var out []*testCase
	for _, v := range invalidUTF8 {
		bad := "a" + v.bytes + "b"
		out = append(out,
			f.add(v.name, v.title, open(), send(text(bad), text("behind")), fails(1007)),
			f.add(v.name+"-at-end", v.title+" at the end", open(), send(text("a"+v.bytes), text("behind")), fails(1007)),
			f.add(v.name+"-fragments", v.title+" over two fragments", open(), send(text("a"+v.bytes[:1]).Part(), cont(v.bytes[1:]+"b"), text("behind")), fails(1007)),
		)
	}
	long := strings.Repeat("x", 60000)
	return append(out,
		f.add("in-continuation", "in the second fragment", open(), send(text("good").Part(), cont("\xff")), fails(1007)),
		f.add("in-third", "in the third fragment", open(), send(text("good").Part(), cont("good").Part(), cont("\xc0\x80")), fails(1007)),
		f.add("cut-fragments", "a fragmented message that ends inside a code point", open(), send(text("a").Part(), cont("\xe2\x82"), text("behind")), fails(1007)),
		f.add("cut-empty-last", "an empty last fragment inside a code point", open(), send(text("a\xe2\x82").Part(), cont(""), text("behind")), fails(1007)),
		f.add("cut-then-completed", "a code point is not completed by the next message", open(), send(text("\xe2\x82"), text("\xac")), fails(1007)),
		f.add("long-first", "60 KB, the first byte wrong", open(), send(text("\xff"+long)), fails(1007)),
		f.add("long-last", "60 KB, the last byte wrong", open(), send(text(long+"\xff")), fails(1007)),
		f.add("long-middle", "60 KB, a byte in the middle wrong", open(), send(text(long[:30001]+"\xc1"+long[30001:])), fails(1007)),
		f.add("ping-between", "a ping inside a code point that goes wrong", open(), send(text("a\xe2").Part(), ping("p")), pongs("p"), send(cont("b")), fails(1007)),
		f.add("after-valid", "behind a correct message", open(), echo(text("\u20ac")), send(text("\xe2\x82")), fails(1007)),
	)
}

// atOnce is how soon a server has to fail a connection whose fate is decided, while
// the rest of the frame or message is withheld. Who is late only because the machine
// was busy is judged again at the end of the run.
const atOnce = 100 * time.Millisecond

// failFastCases withhold the rest of a message whose beginning is wrong.
func failFastCases() []*testCase {
	f := family{"F22", "RFC 6455 8.1", "A server that finds bytes that are not UTF-8 must fail the connection; at once is the exact answer, at the end of the message is not strict."}
	const size = 100
	quick := func(first []byte, rest []byte) step { return sequence(sendRaw(first), failsFast(rest)) }
	var out []*testCase
	for _, v := range invalidUTF8 {
		bad := v.bytes
		if v.decided > 0 {
			bad = bad[:v.decided]
		} else {
			bad += "b"
		}
		whole := text("good " + bad + strings.Repeat("z", size-5-len(bad)))
		sent := len(whole.Header()) + 5 + len(bad)
		out = append(out, f.add(v.name, v.title+", the rest of the frame withheld", open(), quick(whole.Bytes()[:sent], whole.Bytes()[sent:])))
		part := text("good " + bad).Part()
		out = append(out, f.add(v.name+"-fragment", v.title+" in a first fragment, the rest of the message withheld", open(),
			quick(part.Bytes(), cont("rest").Bytes())))
		second := cont("good " + bad + strings.Repeat("z", size-5-len(bad)))
		out = append(out, f.add(v.name+"-second", v.title+" in the second fragment, the rest of it withheld", open(),
			send(text("first").Part()), quick(second.Bytes()[:sent], second.Bytes()[sent:])))
		if n := len(bad); n > 1 {
			out = append(out, f.add(v.name+"-across", v.title+" across two fragments, the rest withheld", open(),
				quick(slices.Concat(text(bad[:n-1]).Part().Bytes(), cont(bad[n-1:]).Part().Bytes()), cont("rest").Bytes())))
		}
	}
	big := text(strings.Repeat("x", 3000) + "\xff" + strings.Repeat("x", 57000)).Bytes()
	return append(out,
		f.add("big", "3 KB of a frame of 60 KB", open(), quick(big[:3100], big[3100:])),
		f.add("not-yet", "an incomplete code point is not an error yet", open(), func(s *session) {
			b := text("a\u20ac").Bytes()
			sequence(sendRaw(b[:len(b)-1]), quiet(150*time.Millisecond), sendRaw(b[len(b)-1:]), echoes(wire.Text, []byte("a\u20ac")))(s)
		}, alive()),
		f.add("not-yet-fragment", "a fragment that ends inside a code point is not an error", open(),
			send(text("a\xe2\x82").Part()), quiet(150*time.Millisecond), send(cont("\xac")), echoes(wire.Text, []byte("a\u20ac")), alive()),
	)
}

func failsFast(rest []byte) step { return failsQuickly(1007, atOnce, bytes.Clone(rest)) }

// textOnlyCases need a route that takes only text.
func textOnlyCases() []*testCase {
	f := family{"F24", "RFC 6455 7.4.1", "An endpoint that cannot accept a type of data closes with 1003."}
	at := func(s *session) { openAt(s, s.Cfg.TextOnly) }
	var out []*testCase
	for _, r := range []struct {
		variant, title string
		steps          []step
	}{
		{"binary", "a binary message", []step{send(bin([]byte("x"))), fails(1003)}},
		{"binary-empty", "an empty binary message", []step{send(bin(nil)), fails(1003)}},
		{"binary-fragments", "a fragmented binary message", []step{send(bin([]byte("x")).Part(), cont("y")), fails(1003)}},
		{"text-then-binary", "a text is taken, a binary message is not", []step{send(text("x")), anyMessage, send(bin([]byte("x"))), fails(1003)}},
	} {
		c := f.add(r.variant, r.title, append([]step{at}, r.steps...)...)
		c.Skip = func(c *config) string {
			if c.TextOnly == nil {
				return "needs -text-url"
			}
			return ""
		}
		out = append(out, c)
	}
	return out
}

// anyMessage passes over answers to a text: what the route does with it is its own.
func anyMessage(s *session) {
	e := s.Next(s.Cfg.Soon(200 * time.Millisecond))
	if e.Kind != engine.Message && e.Kind != engine.Timeout {
		s.Judge(fail, fmt.Sprintf("a message, or nothing, but %v", e))
	}
}
