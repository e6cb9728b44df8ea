package suite

import (
	"fmt"
	"slices"

	"wsgateway/bench/conformance/internal/wire"
)

// fragmentCases are those of RFC 6455 section 5.4.
func fragmentCases() []*testCase {
	return slices.Concat(interleaveCases(), orderCases(), reassemblyCases())
}

func interleaveCases() []*testCase {
	f := family{"F7", "RFC 6455 5.4, 5.5.2", "Control frames may stand between fragments, and are answered as soon as practical; the message completes all the same."}
	between := func(variant, title string, op byte, parts ...string) *testCase {
		return f.add(variant, title, open(), func(s *session) {
			all := ""
			for i, p := range parts {
				fr := opcode(op, p)
				if i > 0 {
					fr = cont(p)
				}
				fr.More = i < len(parts)-1
				all += p
				if send(fr)(s); fr.More {
					name := fmt.Sprint("ping ", i)
					sequence(send(ping(name)), pongs(name))(s)
				}
				if s.Done() {
					return
				}
			}
			echoes(op, []byte(all))(s)
		}, alive())
	}
	return []*testCase{
		between("ping-text", "a ping between the fragments of a text", wire.Text, "hello ", "world"),
		between("ping-binary", "a ping between the fragments of a binary message", wire.Binary, "\x00\xFF", "\x80"),
		between("ping-each", "a ping behind each of ten fragments", wire.Text, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
		between("ping-empty", "pings between empty fragments", wire.Text, "", "", ""),
		between("ping-code-point", "a ping inside a code point", wire.Text, "\xe2", "\x82", "\xac"),
		f.add("pong", "an unsolicited pong between fragments", open(), send(text("a").Part(), pong("x"), cont("b")), echoes(wire.Text, []byte("ab")), alive()),
		f.add("pings-together", "fragments and pings in one write", open(),
			send(text("a").Part(), ping("1"), cont("b").Part(), ping("2"), cont("c")), messagesAndPong("2", "abc"), alive()),
		f.add("close", "a Close frame inside a fragmented message is answered", open(), send(text("a").Part(), closeWith(1000, "")), closes(1000)),
		f.add("close-behind", "a Close frame inside a fragmented message, the rest behind it", open(),
			send(text("a").Part(), closeWith(1000, ""), cont("b")), closes(1000)),
	}
}

func orderCases() []*testCase {
	f := family{"F8", "RFC 6455 5.4", "A fragmented message is a frame with an opcode, continuations, and a continuation with FIN; messages are not interleaved."}
	return []*testCase{
		f.violates("lone-continuation", "a final continuation of nothing", cont("a")),
		f.violates("lone-continuation-nofin", "a continuation of nothing", cont("a").Part()),
		f.violates("lone-continuation-empty", "an empty continuation of nothing", cont("")),
		f.add("continuation-after-message", "a continuation behind a complete message", open(), echo(text("a")), send(cont("b"), text("behind")), fails(1002)),
		f.add("continuation-after-fragments", "a continuation behind a complete fragmented message", open(), echo(text("a").Part(), cont("b")), send(cont("c"), text("behind")), fails(1002)),
		f.violates("text-in-text", "a text inside a fragmented text", text("a").Part(), text("b")),
		f.violates("binary-in-binary", "a binary message inside a fragmented one", bin([]byte("a")).Part(), bin([]byte("b"))),
		f.violates("text-in-binary", "a text inside a fragmented binary message", bin([]byte("a")).Part(), text("b")),
		f.violates("binary-in-text", "a binary message inside a fragmented text", text("a").Part(), bin([]byte("b"))),
		f.violates("start-in-start", "the beginning of another message", text("a").Part(), text("b").Part(), cont("c")),
		f.violates("text-in-empty", "a text behind an empty first fragment", text("").Part(), text("b")),
		f.violates("text-after-continuation", "a text behind a second fragment", text("a").Part(), cont("b").Part(), text("c")),
		f.violates("text-after-ping", "a text behind a ping inside a fragmented message", text("a").Part(), pong(""), text("c")),
		f.add("after-ping", "a ping does not end a fragmented message", open(), send(text("a").Part(), ping("x")), pongs("x"), send(text("b"), text("behind")), fails(1002)),
	}
}

func reassemblyCases() []*testCase {
	f := family{"F9", "RFC 6455 5.4", "A message is the concatenation of its fragments; any may be empty."}
	var out []*testCase
	add := func(variant, title string, frames ...wire.Frame) {
		out = append(out, f.add("fragments-"+variant, title, open(), echo(frames...), alive()))
	}
	add("two", "two fragments", text("hello ").Part(), cont("world"))
	add("three", "three fragments", text("a").Part(), cont("b").Part(), cont("c"))
	add("binary", "binary", bin([]byte{0, 1}).Part(), cont("\xFE\xFF"))
	add("empty-first", "an empty first fragment", text("").Part(), cont("a"))
	add("empty-middle", "an empty middle fragment", text("a").Part(), cont("").Part(), cont("b"))
	add("empty-last", "an empty last fragment", text("a").Part(), cont(""))
	add("all-empty", "only empty fragments", text("").Part(), cont("").Part(), cont("").Part(), cont(""))
	add("all-empty-binary", "only empty fragments, binary", bin(nil).Part(), cont(""))
	for _, n := range []int{125, 126, 65535, 65536} {
		half := string(filler(n))
		c := f.add(fmt.Sprintf("fragments-%d", n), fmt.Sprintf("two fragments of %d bytes", n), open(), echo(bin([]byte(half)).Part(), cont(half)), alive())
		c.Skip = needsMessage(2 * n)
		out = append(out, c)
	}
	many := []wire.Frame{text("x").Part()}
	for i := range 100 {
		many = append(many, cont(fmt.Sprint(i)).Part())
	}
	add("hundred", "a hundred fragments", append(many, cont("end"))...)
	for _, size := range []int{1, 7, 64, 1000} {
		out = append(out, f.add(fmt.Sprintf("fragments-of-%d", size), fmt.Sprintf("200 fragments of %d bytes", size), open(), func(s *session) {
			all := filler(200 * size)
			var frames []wire.Frame
			for i := range 200 {
				fr := cont(string(all[i*size : (i+1)*size]))
				if i == 0 {
					fr.Op = wire.Binary
				}
				fr.More = i < 199
				frames = append(frames, fr)
			}
			echo(frames...)(s)
		}, alive()))
	}
	return append(out, f.add("fragments-twice", "two fragmented messages", open(), echo(text("a").Part(), cont("b")), echo(bin([]byte("c")).Part(), cont("d"))))
}
