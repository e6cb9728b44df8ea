package session

import (
	"iter"
	"strings"

	"wsgateway/wsproto"
)

// retained returns the fields of a request that a route keeps, in the order of the route's list.
func retained(r *wsproto.Request, names []string) string {
	var b strings.Builder
	for _, name := range names {
		separator := ", " // RFC 9110 §5.3
		if strings.EqualFold(name, "Cookie") {
			separator = "; " // RFC 6265 §5.4
		}
		found := false
		r.EachHeader(func(n, value []byte) bool {
			if !strings.EqualFold(string(n), name) {
				return true
			}
			if found {
				b.WriteString(separator)
			} else {
				b.WriteString(name)
				b.WriteByte(0)
			}
			found = true
			b.Write(value)
			return true
		})
		if found {
			b.WriteByte(0)
		}
	}
	return b.String()
}

// Header returns the value of a request header field that Route.Retain names, "" if the request
// had none. The values of several lines with that name are joined to one list.
func (s Session) Header(name string) string {
	if s.srv == nil {
		return ""
	}
	for rest := s.srv.table.detailsOf(s.c).header; rest != ""; {
		var n, value string
		n, rest, _ = strings.Cut(rest, "\x00")
		value, rest, _ = strings.Cut(rest, "\x00")
		if strings.EqualFold(n, name) {
			return value
		}
	}
	return ""
}

// Cookie returns the value of a cookie of the request, if Route.Retain names Cookie; see
// wsproto.Request.Cookie.
func (s Session) Cookie(name string) (value string, ok bool) {
	return wsproto.Cookie(s.Header("Cookie"), name)
}

// Origin returns the Origin of the request, if Route.Retain names it.
func (s Session) Origin() string { return s.Header("Origin") }

// Host returns the Host of the request, if Route.Retain names it.
func (s Session) Host() string { return s.Header("Host") }

// PathValue returns the value of the wildcard with that name in Route.Path, decoded, as
// http.Request.PathValue does; "" if there is none. A client chooses it: it may hold "/", ".." and
// bytes that are not UTF-8.
func (s Session) PathValue(name string) string {
	if s.srv == nil {
		return ""
	}
	return s.srv.table.detailsOf(s.c).pathValues.Get(name)
}

// Query returns the query of the request, without its "?", if Route.RetainQuery keeps it.
func (s Session) Query() string {
	if s.srv == nil {
		return ""
	}
	return s.srv.table.detailsOf(s.c).query
}

// Value returns what SetValue or Upgrade.Value has set, nil once OnClose has returned.
func (s Session) Value() any {
	if s.srv == nil {
		return nil
	}
	return s.srv.table.detailsOf(s.c).value
}

// SetValue keeps a value for as long as the session lives. Calls from several goroutines are safe;
// the caller guards what the value refers to. It takes some 100 bytes beside the value.
//
// Errors: ErrClosed after the session has ended. If the handler may block (MayBlock), that is after
// OnClose has returned.
func (s Session) SetValue(v any) error {
	if s.srv == nil {
		return ErrClosed
	}
	return s.srv.table.change(s.c, func(d *details) { d.value = v })
}

// Sessions returns all open sessions. A session that opens or ends meanwhile may be missing.
func (s *Server) Sessions() iter.Seq[Session] {
	return func(yield func(Session) bool) {
		for c, m := range s.table.connections(s.tr.High()) {
			if m.phase() == phaseOpen && !yield(Session{s, c}) {
				return
			}
		}
	}
}
