package session

import (
	"context"
	"log/slog"
	"net/netip"
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
	s := a.srv
	if s.cfg.AccessLog == nil && s.cfg.OnFail == nil {
		return
	}
	f := Failure{RemoteAddr: s.tr.Peer(a.c), Status: status, Err: err}
	if a.request != nil {
		f.Request = a.request.Request
	}
	if s.cfg.AccessLog != nil {
		a.session().access("handshake", accessAttrs(f.RemoteAddr, f.Request, status))
	}
	if s.cfg.OnFail != nil && (status == statusAborted || status >= 300) {
		defer func() { s.panicked(a.c, recover()) }()
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

// LogValue implements slog.LogValuer: a session is logged as its id.
func (s Session) LogValue() slog.Value { return slog.StringValue(s.ID()) }
