package engine

import (
	"fmt"
	"time"
	"unicode/utf8"

	"wsgateway/bench/conformance/internal/wire"
)

// Kind is the kind of an [Event].
type Kind int

// Kinds of events.
const (
	Message   Kind = iota // a complete message, inflated
	Pong                  //
	Close                 //
	EOF                   // the server has ended its side
	Reset                 // the connection was reset
	Timeout               // nothing came in time
	Violation             // the server has sent what no server may send
)

// Event is what a server does next.
type Event struct {
	Kind    Kind
	Op      byte // Message: text or binary
	Payload []byte
	Code    int    // Close: the status code, 1005 if there is none
	Reason  string // Close, Violation

	wait time.Duration // Timeout
}

var opcodeNames = map[byte]string{wire.Text: "text", wire.Binary: "binary"}

func (e *Event) String() string {
	switch e.Kind {
	case Message:
		return fmt.Sprintf("echo %s %d bytes%s", opcodeNames[e.Op], len(e.Payload), sample(e.Payload))
	case Pong:
		return fmt.Sprintf("pong %d bytes%s", len(e.Payload), sample(e.Payload))
	case Close:
		if len(e.Payload) == 0 {
			return "Close(empty)"
		}
		return fmt.Sprintf("Close(%d %q)", e.Code, e.Reason)
	case EOF:
		return "EOF"
	case Reset:
		return "reset"
	case Timeout:
		return fmt.Sprintf("timeout after %v", e.wait)
	}
	return "not allowed: " + e.Reason
}

// Ended tells whether the connection is over.
func (e *Event) Ended() bool { return e.Kind == EOF || e.Kind == Reset }

// sample shows short payloads.
func sample(p []byte) string {
	if len(p) == 0 || len(p) > 24 {
		return ""
	}
	return fmt.Sprintf(" %q", p)
}

func (s *Session) see(e *Event) *Event {
	s.seen = append(s.seen, e.String())
	return e
}

// Next waits up to d for what the server does next and notes it for the report.
// Pings of the server are passed over: it may check whether we live.
func (s *Session) Next(d time.Duration) *Event {
	deadline := time.Now().Add(d)
	for {
		f, n, err := wire.ParseFrame(s.in)
		if err != nil {
			return s.see(&Event{Kind: Violation, Reason: err.Error()})
		}
		if n == 0 {
			if e := s.fill(deadline, d); e != nil {
				return s.see(e)
			}
			continue
		}
		s.in = s.in[n:]
		if e := s.take(&f); e != nil {
			return s.see(e)
		}
	}
}

// take judges a frame by what came before it, and returns the event it completes.
func (s *Session) take(f *wire.Received) *Event {
	violation := func(format string, args ...any) *Event {
		return &Event{Kind: Violation, Reason: fmt.Sprintf(format, args...)}
	}
	rsvAllowed := byte(0)
	if s.Deflate != nil && !f.Control() && f.Op != wire.Continuation {
		rsvAllowed = wire.RSV1
	}
	switch {
	case s.closed:
		return violation("a frame after the Close frame")
	case f.Rsv&^rsvAllowed != 0:
		return violation("reserved bits %03b", f.Rsv)
	case f.Control():
		return s.takeControl(f)
	case f.Op == wire.Continuation && s.op == 0:
		return violation("a continuation of nothing")
	case f.Op != wire.Continuation && s.op != 0:
		return violation("a new message inside a fragmented one")
	}
	if f.Op != wire.Continuation {
		s.op, s.packed, s.message = f.Op, f.Rsv&wire.RSV1 != 0, nil
	}
	s.message = append(s.message, f.Payload...)
	if !f.Fin {
		return nil
	}
	e := &Event{Kind: Message, Op: s.op, Payload: s.message}
	s.op = 0
	if s.packed {
		var err error
		s.Packed++
		if e.Payload, err = s.inflater.Message(e.Payload); err != nil {
			return violation("a message that does not inflate: %v", err)
		}
	}
	return e
}

func (s *Session) takeControl(f *wire.Received) *Event {
	switch f.Op {
	case wire.Ping:
		return nil
	case wire.Pong:
		return &Event{Kind: Pong, Payload: f.Payload}
	}
	s.closed = true
	e := &Event{Kind: Close, Payload: f.Payload}
	e.Code, e.Reason = f.CloseCode()
	switch {
	case len(f.Payload) == 1:
		return &Event{Kind: Violation, Reason: "a Close frame with one byte"}
	case !utf8.ValidString(e.Reason):
		return &Event{Kind: Violation, Reason: "a close reason that is not UTF-8"}
	case len(f.Payload) > 0 && (e.Code < 1000 || e.Code == 1005 || e.Code == 1006 || e.Code == 1015):
		// RFC 6455 section 7.4: not for the wire.
		return &Event{Kind: Violation, Reason: fmt.Sprintf("a Close frame with %d", e.Code)}
	}
	return e
}
