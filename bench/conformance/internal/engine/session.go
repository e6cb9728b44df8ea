package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"wsgateway/bench/conformance/internal/wire"
)

// keepBytes is how much of what a server has sent is kept for the report.
const keepBytes = 1 << 10

// Session is one case on one connection in one split. It belongs to the goroutine
// that runs the steps.
type Session struct {
	Cfg      *Config
	NoBody   bool // the answer has no body, as the request was HEAD
	Rand     *rand.Rand
	Deflate  *wire.Deflate // what was negotiated; nil is no compression
	Key      string        // of the last handshake, to check the answer
	Offer    string        // extensions offered in the same
	Deflater *wire.Deflater

	ctx    context.Context
	dialer *dialer
	conn   net.Conn
	split  string
	broken bool // a write failed

	in       []byte // read, not yet parsed
	ended    *Event // set when nothing more can be read
	closed   bool   // a Close frame was received
	message  []byte // of the fragmented message, as far as received
	op       byte   // of the same; 0 if there is none
	packed   bool   // the same is compressed
	Packed   int    // compressed messages received
	inflater *wire.Inflater

	verdict  Verdict
	expected string
	seen     []string
	kept     []byte
	stopped  bool
	late     bool
}

// Connect opens the connection to t.
func (s *Session) Connect(t *Target) {
	conn, err := s.dialer.dial(s.ctx, t.Addr)
	if err != nil {
		s.Saw("cannot connect: %v", err)
		s.Judge(Fail, "a connection")
		return
	}
	if s.conn != nil {
		_ = s.conn.Close() // a step before had its own
	}
	s.conn, s.in, s.ended, s.closed, s.message, s.op, s.broken = conn, nil, nil, false, nil, 0, false
	s.Deflate, s.Packed = nil, 0
	context.AfterFunc(s.ctx, func() { _ = conn.Close() })
}

// Compressed tells the session what compression was negotiated.
func (s *Session) Compressed(d *wire.Deflate) {
	s.Deflate = d
	s.inflater = &wire.Inflater{Takeover: !d.ServerNoContext, Window: d.ServerWindow()}
	s.Deflater = wire.NewDeflater(d)
}

// Saw notes what the server did, for the report.
func (s *Session) Saw(format string, args ...any) {
	s.seen = append(s.seen, fmt.Sprintf(format, args...))
}

// Judge records a verdict and what would have been right, unless there is a worse
// one already. FAIL and SKIP end the case.
func (s *Session) Judge(v Verdict, expected string) {
	if v > s.verdict {
		s.verdict, s.expected = v, expected
	}
	if v == Fail || v == Skip {
		s.stopped = true
	}
}

// Late says that a verdict is about time alone. Such a split runs once more when
// the machine is quiet.
func (s *Session) Late() { s.late = true }

// Stop ends the case with the verdict it has.
func (s *Session) Stop() { s.stopped = true }

// pause lets a server see the first pieces one by one, rather than what the
// kernel has gathered meanwhile.
const (
	pause       = 20 * time.Microsecond
	pausePieces = 40
)

// Write writes b in the session's split. That a server which has seen enough no
// longer takes it is no error: what counts is what it answers.
func (s *Session) Write(b []byte) {
	for i, p := range cut(b, s.split, s.Rand) {
		if i > 0 && i < pausePieces {
			time.Sleep(pause)
		}
		s.WriteWhole(p)
		if s.broken {
			return
		}
	}
}

// WriteWhole writes b at once, and reports whether it was taken.
func (s *Session) WriteWhole(b []byte) bool {
	if s.broken || s.conn == nil {
		return false
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(s.Cfg.Timeout))
	if _, err := s.conn.Write(b); err != nil {
		s.broken = true
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.Saw("server took no input for %v", s.Cfg.Timeout)
		}
	}
	return !s.broken
}

// CloseWrite ends our side of the connection.
func (s *Session) CloseWrite() {
	if c, ok := s.conn.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
}

// Gone tells whether the server has really closed the connection, rather than
// only its half of it: then a write is answered with a reset.
func (s *Session) Gone(within time.Duration) bool {
	deadline := time.Now().Add(within)
	for time.Now().Before(deadline) && s.ctx.Err() == nil {
		if _, err := s.conn.Write([]byte{0}); err != nil {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// fill reads once. It returns nil when there is more in s.in, else the event that
// says why not.
func (s *Session) fill(deadline time.Time, wait time.Duration) *Event {
	if s.ended != nil {
		return s.ended
	}
	if s.conn == nil {
		return &Event{Kind: EOF}
	}
	_ = s.conn.SetReadDeadline(deadline)
	buf := make([]byte, 32<<10)
	n, err := s.conn.Read(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) { // it may have come while we were not running
		_ = s.conn.SetReadDeadline(time.Now().Add(2 * time.Millisecond))
		n, err = s.conn.Read(buf)
	}
	s.in = append(s.in, buf[:n]...)
	s.kept = append(s.kept, buf[:min(n, keepBytes-len(s.kept))]...)
	switch {
	case n > 0:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Event{Kind: Timeout, wait: wait}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		s.ended = &Event{Kind: Reset}
	default:
		s.ended = &Event{Kind: EOF}
	}
	return s.ended
}

// Response reads an HTTP response. It returns nil, and an event, when there is
// none within d.
func (s *Session) Response(d time.Duration) (*wire.Response, *Event) {
	deadline := time.Now().Add(d)
	for {
		r, n, err := wire.ParseResponse(s.in)
		if err != nil {
			return nil, s.see(&Event{Kind: Violation, Reason: err.Error()})
		}
		if r != nil && s.NoBody {
			n, r.Body, r.Complete = len(r.Head), nil, true
		}
		if r != nil && (r.Complete || s.ended != nil) {
			r.Complete = r.Complete || r.ToEOF
			s.in = s.in[n:]
			s.Saw("%d", r.Status)
			return r, nil
		}
		if e := s.fill(deadline, d); e != nil && (r == nil || e.Kind == Timeout) {
			if r != nil {
				s.Saw("%d with an incomplete body", r.Status)
			}
			return nil, s.see(e)
		}
	}
}

// Rest is what comes within d, up to the end of the connection, as it is.
func (s *Session) Rest(d time.Duration) []byte {
	for deadline := time.Now().Add(d); s.fill(deadline, d) == nil; {
	}
	return s.in
}

func (s *Session) close() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

// observed is what was seen, the last of it if it is much.
func (s *Session) observed() string {
	seen := s.seen
	if len(seen) > 8 {
		seen = append([]string{fmt.Sprintf("%d more", len(seen)-8)}, seen[len(seen)-8:]...)
	}
	return strings.Join(seen, ", then ")
}

// Done tells whether the case has ended, so that a step that consists of others
// can stop too.
func (s *Session) Done() bool { return s.stopped }
