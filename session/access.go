package session

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"

	"wsgateway/wsproto"
)

// Failure is a handshake that did not lead to a session, or a plain request that Route.HTTP did not answer
// with success.
type Failure struct {
	RemoteAddr netip.AddrPort
	Request    *Request // nil if there was no complete and correct one; valid until the call returns
	Status     int      // of the answer; 0 if the client left before it, or sent nothing
	Err        error    // what was wrong; nil if Status is 0 or Route.HTTP has answered
}

// reportFailure tells of a handshake that did not lead to a session.
func (a admission) reportFailure(status int, err error) {
	if !a.srv.cfg.reportsFailures() {
		return
	}
	f := Failure{RemoteAddr: a.srv.tr.Peer(a.c), Status: status, Err: err}
	if a.request != nil {
		f.Request = a.request.Request
	}
	f.report(a.srv, a.c)
}

// reportRefusal counts and reports a request that ServeHTTP has not handed to the reactor.
func reportRefusal(s *Server, r *http.Request, refusal *wsproto.RequestError) {
	s.stats.handshake(refusal.Status)
	if !s.cfg.reportsFailures() {
		return
	}
	f := Failure{Status: refusal.Status, Err: refusal}
	f.RemoteAddr, _ = netip.ParseAddrPort(r.RemoteAddr) // there is none for a unix socket
	if req := new(Request); wsproto.ParseRequest(requestHead(r), &s.cfg.Head, req) == nil {
		f.Request = req
	}
	f.report(s, 0)
}

// reportsFailures reports whether anybody is told of failures.
func (c *Config) reportsFailures() bool { return c.AccessLog != nil || c.OnFail != nil }

// report tells of a handshake that did not lead to a session, on connection c; 0 is one that never was the
// reactor's.
func (f Failure) report(s *Server, c conn) {
	if s.cfg.AccessLog != nil {
		Session{s, c}.access("handshake", accessAttrs(f.RemoteAddr, f.Request, f.Status))
	}
	if s.cfg.OnFail != nil && (f.Status == statusAborted || f.Status >= 300) {
		defer func() { s.panicked(c, recover()) }()
		s.cfg.OnFail(f)
	}
}

// aborted counts a client that left before its request was answered, or said nothing.
func (a admission) aborted() {
	a.srv.stats.handshake(statusAborted)
	a.reportFailure(statusAborted, nil)
}

// accessAttrs returns what the access log says of a handshake. The query is not said: it may hold a
// token.
func accessAttrs(peer netip.AddrPort, r *Request, status int) []slog.Attr {
	remote := "unix"
	if peer.IsValid() {
		remote = peer.String()
	}
	attrs := []slog.Attr{slog.String("remote", remote), slog.Int("status", status)}
	if r != nil {
		agent, _ := r.Header("User-Agent")
		attrs = append(attrs, slog.String("method", string(r.Method)), slog.String("host", string(r.Host)), slog.String("path", string(r.Path)),
			slog.String("origin", string(r.Origin)), slog.String("user_agent", string(agent)))
	}
	return attrs
}

// logAccepted writes the access log's line for a handshake that led to a session.
func (s Session) logAccepted(r *Request) {
	if s.srv.cfg.AccessLog == nil {
		return
	}
	attrs := append(accessAttrs(s.RemoteAddr(), r, 101), slog.String("session", s.ID()), slog.String("subprotocol", s.Subprotocol()))
	s.access("handshake", attrs)
}

// logClose writes the access log's line for the end of a session.
func (s Session) logClose(info CloseInfo) {
	if s.srv.cfg.AccessLog == nil {
		return
	}
	s.access("close", []slog.Attr{slog.String("session", s.ID()), slog.String("path", s.Path()),
		slog.Int("code", int(info.Code)), slog.String("reason", info.Reason), slog.String("initiator", info.Initiator.String()), slog.Bool("clean", info.Clean)})
}

// access writes a line, and survives a panic of the log's handler.
func (s Session) access(msg string, attrs []slog.Attr) {
	defer func() { s.srv.panicked(s.c, recover()) }()
	s.srv.cfg.AccessLog.LogAttrs(context.Background(), slog.LevelInfo, msg, attrs...)
}

// Logger returns the server's logger, with the session's id in every line.
func (s Session) Logger() *slog.Logger {
	if s.srv == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.srv.log.With("session", s.ID())
}

// String implements fmt.Stringer: a session is printed as its id.
func (s Session) String() string { return s.ID() }

// LogValue implements slog.LogValuer: a session is logged as its id.
func (s Session) LogValue() slog.Value { return slog.StringValue(s.ID()) }

// MarshalText implements encoding.TextMarshaler: a session is its id in JSON.
func (s Session) MarshalText() ([]byte, error) { return []byte(s.ID()), nil }
