package session

import (
	"context"
	"log/slog"
	"net/netip"

	"wsgateway/wsproto"
)

// Failure is a handshake that did not lead to a session, or a plain request that Route.HTTP did not answer
// with success.
type Failure struct {
	RemoteAddr netip.AddrPort
	Request    *wsproto.Request // nil if there was no complete and correct one; valid until the call returns
	Status     int              // of the answer; 0 if the client left before, or said nothing
	Err        error            // what was wrong; nil where Status is 0
}

// failed tells of a handshake that did not lead to a session.
func (s *Server) failed(c conn, l *local, status int, err error) {
	if s.cfg.AccessLog == nil && s.cfg.OnFail == nil {
		return
	}
	f := Failure{RemoteAddr: s.tr.Peer(c), Status: status, Err: err}
	if l.reqOf == c {
		f.Request = &l.req
	}
	if s.cfg.AccessLog != nil {
		s.access(c, "handshake", s.accessAttrs(f.RemoteAddr, f.Request, status))
	}
	if s.cfg.OnFail != nil && (status == statusAborted || status >= 300) {
		defer func() { s.panicked(c, recover()) }()
		s.cfg.OnFail(f)
	}
}

// accessAttrs returns what the access log says of a handshake. The query is not said: it may hold a
// token.
func (s *Server) accessAttrs(peer netip.AddrPort, r *wsproto.Request, status int) []slog.Attr {
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

// accepted writes the access log's line for a handshake that led to a session.
func (s *Server) accepted(c conn, r *wsproto.Request) {
	if s.cfg.AccessLog == nil {
		return
	}
	attrs := append(s.accessAttrs(s.tr.Peer(c), r, 101), slog.String("session", s.ids.encode(c)), slog.String("subprotocol", Session{s, c}.Subprotocol()))
	s.access(c, "handshake", attrs)
}

// access writes a line, and survives a panic of the log's handler.
func (s *Server) access(c conn, msg string, attrs []slog.Attr) {
	defer func() { s.panicked(c, recover()) }()
	s.cfg.AccessLog.LogAttrs(context.Background(), slog.LevelInfo, msg, attrs...)
}

// left writes the access log's line for the end of a session.
func (s *Server) left(c conn, info CloseInfo) {
	if s.cfg.AccessLog == nil {
		return
	}
	s.access(c, "close", []slog.Attr{slog.String("session", s.ids.encode(c)), slog.String("path", s.path(c)),
		slog.Int("code", int(info.Code)), slog.String("reason", info.Reason), slog.String("initiator", info.Initiator.String()), slog.Bool("clean", info.Clean)})
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
