package suite

import (
	"fmt"
	"strconv"
	"time"

	"wsgateway/bench/conformance/internal/engine"
	"wsgateway/bench/conformance/internal/wire"
)

// controlCases are those of pings and pongs.
func controlCases() []*testCase {
	f := family{"F10", "RFC 6455 5.5.2, 5.5.3", "A ping is answered by a pong with the same payload; of several pings only the latest need be answered; an unsolicited pong gets no answer."}
	var out []*testCase
	for _, n := range []int{0, 1, 2, 3, 4, 5, 64, 124, 125} {
		p := string(filler(n))
		out = append(out, f.add(fmt.Sprintf("ping-%d", n), fmt.Sprintf("ping of %d bytes", n), open(), send(ping(p)), pongs(p), alive()))
	}
	return append(out,
		f.add("ping-binary", "a ping with bytes that are not UTF-8", open(), send(ping("\x00\xff\xfe\x80")), pongs("\x00\xff\xfe\x80"), alive()),
		f.add("ping-close-payload", "a ping whose payload looks like a Close", open(), send(ping("\x03\xe8bye")), pongs("\x03\xe8bye"), alive()),
		f.add("ping-sequence", "ten pings, each answered before the next", open(), pingSequence(10), alive()),
		f.add("ping-burst-10", "ten pings at once", open(), pingBurst(10), alive()),
		f.add("ping-burst-100", "a hundred pings at once", open(), pingBurst(100), alive()),
		f.add("ping-message", "a ping between two messages", open(), send(text("a"), ping("p"), text("b")), messagesAndPong("p", "a", "b"), alive()),
		f.add("pong", "an unsolicited pong", open(), send(pong("")), alive()),
		f.add("pong-payload", "an unsolicited pong with payload", open(), send(pong("payload")), alive()),
		f.add("pong-125", "an unsolicited pong of 125 bytes", open(), send(pong(string(filler(125)))), alive()),
		f.add("pong-silent", "an unsolicited pong gets no answer", open(), send(pong("x")), quiet(150*time.Millisecond), alive()),
		f.add("pongs-100", "a hundred unsolicited pongs", open(), send(repeat(pong("x"), 100)...), alive()),
		f.add("pong-then-ping", "a pong and a ping with the same payload", open(), send(pong("x"), ping("x")), pongs("x"), quiet(100*time.Millisecond)),
		f.add("ping-once", "a ping gets no second pong", open(), send(ping("x")), pongs("x"), quiet(150*time.Millisecond)),
	)
}

func repeat(f wire.Frame, n int) []wire.Frame {
	out := make([]wire.Frame, n)
	for i := range out {
		out[i] = f
	}
	return out
}

func pingSequence(n int) step {
	return func(s *session) {
		for i := range n {
			if sequence(send(ping(fmt.Sprint(i))), pongs(fmt.Sprint(i)))(s); s.Done() {
				return
			}
		}
	}
}

// pingBurst sends n pings in one write. The pongs must answer some of them in
// their order, the last one among them.
func pingBurst(n int) step {
	return func(s *session) {
		var frames []wire.Frame
		for i := range n {
			frames = append(frames, ping(fmt.Sprint(i)))
		}
		send(frames...)(s)
		for last := -1; last < n-1; {
			e := s.Next(s.Cfg.Timeout)
			i, err := strconv.Atoi(string(e.Payload))
			if e.Kind != engine.Pong || err != nil || i <= last || i >= n {
				s.Judge(fail, fmt.Sprintf("pongs in order up to that of ping %d", n-1))
				return
			}
			last = i
		}
	}
}

// messagesAndPong wants the messages in their order, and the pong among them.
func messagesAndPong(payload string, messages ...string) step {
	return func(s *session) {
		seen, messages := false, messages // a step runs more than once
		for len(messages) > 0 || !seen {
			e := s.Next(s.Cfg.Timeout)
			switch {
			case e.Kind == engine.Pong:
				seen = seen || string(e.Payload) == payload
			case e.Kind == engine.Message && len(messages) > 0 && string(e.Payload) == messages[0]:
				messages = messages[1:]
			default:
				s.Judge(fail, fmt.Sprintf("messages in order and the pong %q", payload))
				return
			}
		}
	}
}
