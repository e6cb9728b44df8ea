package suite

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"wsgateway/bench/conformance/internal/engine"
	"wsgateway/bench/conformance/internal/wire"
)

// Frames.

func text(s string) wire.Frame            { return wire.Frame{Op: wire.Text, Payload: []byte(s)} }
func bin(p []byte) wire.Frame             { return wire.Frame{Op: wire.Binary, Payload: p} }
func cont(s string) wire.Frame            { return wire.Frame{Op: wire.Continuation, Payload: []byte(s)} }
func ping(s string) wire.Frame            { return wire.Frame{Op: wire.Ping, Payload: []byte(s)} }
func pong(s string) wire.Frame            { return wire.Frame{Op: wire.Pong, Payload: []byte(s)} }
func closeRaw(p string) wire.Frame        { return wire.Frame{Op: wire.Close, Payload: []byte(p)} }
func opcode(op byte, s string) wire.Frame { return wire.Frame{Op: op, Payload: []byte(s)} }

func closeWith(code int, reason string) wire.Frame {
	return closeRaw(string(binary.BigEndian.AppendUint16(nil, uint16(code))) + reason)
}

// filler makes n bytes of text without a pattern that a shift would keep.
func filler(n int) []byte {
	b := make([]byte, n)
	x := uint32(n)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = 'a' + byte(x>>24)%26
	}
	return b
}

// sequence makes one step of several.
func sequence(all ...step) step {
	return func(s *session) {
		for _, st := range all {
			if st(s); s.Done() {
				return
			}
		}
	}
}

// open opens a WebSocket connection, a compressed one if the run asks for it.
func open() step {
	return func(s *session) {
		var offer []edit
		if s.Cfg.Compress {
			offer = []edit{add("Sec-WebSocket-Extensions", plainOffer)}
		}
		openAt(s, &s.Cfg.Target, offer...)
		if s.Cfg.Compress && s.Deflate == nil && !s.Done() {
			s.Judge(fail, "101 with permessage-deflate")
		}
	}
}

// openAt opens a connection to t. The verdicts are those of [upgraded].
func openAt(s *session, t *engine.Target, all ...edit) {
	if sendHead(s, t, all...); !s.Done() {
		upgraded(func(s *session, r *wire.Response) { takeDeflate(s, r) })(s)
	}
}

// send writes frames, one behind the other.
func send(frames ...wire.Frame) step {
	return func(s *session) {
		var b []byte
		for _, f := range frames {
			b = append(b, f.Bytes()...)
		}
		s.Write(b)
	}
}

// sendRaw writes bytes.
func sendRaw(b []byte) step { return func(s *session) { s.Write(b) } }

// echoes wants a message back as it was.
func echoes(op byte, payload []byte) step {
	want := fmt.Sprintf("echo of %d bytes", len(payload))
	return func(s *session) {
		for {
			e := s.Next(s.Cfg.Timeout)
			if e.Kind == engine.Pong {
				continue
			}
			if e.Kind != engine.Message || e.Op != op || !bytes.Equal(e.Payload, payload) {
				s.Judge(fail, want)
			}
			return
		}
	}
}

// echo sends frames that make one message, and wants it back.
func echo(frames ...wire.Frame) step {
	var payload []byte
	for _, f := range frames {
		payload = append(payload, f.Payload...)
	}
	return sequence(send(frames...), echoes(frames[0].Op, payload))
}

// alive wants the connection to work still.
func alive() step { return echo(text("still here")) }

// pongs wants a pong with a payload, before anything else.
func pongs(payload string) step {
	return func(s *session) {
		e := s.Next(s.Cfg.Timeout)
		if e.Kind != engine.Pong || string(e.Payload) != payload {
			s.Judge(fail, fmt.Sprintf("pong of %d bytes", len(payload)))
		}
	}
}

// quiet wants nothing to come for a while.
func quiet(d time.Duration) step {
	return func(s *session) {
		if e := s.Next(s.Cfg.Soon(d)); e.Kind != engine.Timeout {
			s.Judge(fail, "nothing")
		}
	}
}

// ending says how the end of a connection is judged.
type ending struct {
	codes    []int          // exact
	other    engine.Verdict // on another code
	none     engine.Verdict // on an end without a Close frame
	noReply  bool           // we have sent a Close frame before
	noReset  bool           // a reset behind the Close frame is not exact
	messages int            // that may come before the Close frame
}

// fails wants the server to fail the connection: a Close frame with one of the
// codes, then the end. RFC 6455 section 7.1.7 says that the Close frame SHOULD be
// sent, so another code, or none, is not strict.
func fails(codes ...int) step {
	return ending{codes: codes, other: nonStrict, none: nonStrict}.step()
}

// failsQuickly wants the server to fail the connection at what was sent so far,
// without the rest; when it waits for the rest it is not strict. With no rest,
// it is not strict to wait for ever.
func failsQuickly(code int, within time.Duration, rest []byte) step {
	want := fmt.Sprintf("Close(%d) within %v, before the rest was sent", code, within)
	e := ending{codes: []int{code}, other: nonStrict, none: nonStrict}
	return func(s *session) {
		first := s.Next(s.Cfg.Soon(within))
		if first.Kind != engine.Timeout {
			e.judge(s, first)
			return
		}
		s.Late()
		s.Judge(nonStrict, want)
		if rest == nil {
			s.Stop()
			return
		}
		s.Saw("rest sent")
		s.Write(rest)
		e.judge(s, s.Next(s.Cfg.Timeout))
	}
}

// closes wants an answer to our Close frame.
func closes(codes ...int) step {
	return ending{codes: codes, other: nonStrict, none: fail, noReply: true}.step()
}

func (w ending) step() step {
	return func(s *session) { w.judge(s, s.Next(s.Cfg.Timeout)) }
}

func (w ending) String() string {
	var codes []string
	for _, c := range w.codes {
		if c == 1005 {
			codes = append(codes, "empty")
			continue
		}
		codes = append(codes, fmt.Sprint(c))
	}
	return "Close(" + strings.Join(codes, " or ") + ") then EOF"
}

// judge judges the events from e on.
func (w ending) judge(s *session, e *engine.Event) {
	for {
		switch e.Kind {
		case engine.Pong: // may have been on its way
		case engine.Message:
			if w.messages--; w.messages < 0 {
				s.Judge(fail, w.String())
				return
			}
		case engine.Close:
			if !slices.Contains(w.codes, e.Code) {
				s.Judge(w.other, w.String())
			}
			w.judgeEnd(s)
			return
		case engine.EOF, engine.Reset:
			s.Judge(w.none, w.String())
			return
		default:
			s.Judge(fail, w.String())
			return
		}
		e = s.Next(s.Cfg.Timeout)
	}
}

// judgeEnd wants the server to end the connection within a second. A server that
// waits for our Close frame to do it gets one, and is not strict.
func (w ending) judgeEnd(s *session) {
	e := s.Next(s.Cfg.Soon(time.Second))
	if e.Kind == engine.Timeout {
		if !w.noReply {
			s.Saw("our Close sent")
			s.Write(closeRaw("").Bytes())
		}
		s.Late()
		s.Judge(nonStrict, w.String()+" within 1s")
		e = s.Next(s.Cfg.Timeout)
	}
	switch {
	case !e.Ended():
		s.Judge(fail, w.String())
	case w.noReset && e.Kind == engine.Reset:
		s.Judge(nonStrict, w.String()+", not a reset")
	}
	s.Stop()
}
