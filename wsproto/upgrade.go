package wsproto

import (
	"errors"
	"fmt"
	"io"

	"github.com/gobwas/ws"
)

// Field is a header field of a response.
type Field struct{ Name, Value string }

// Accept says on what terms a handshake is accepted. The zero value, like nil, accepts it without a
// subprotocol, extra fields and compression.
type Accept struct {
	// Subprotocols are those that the server speaks, in the order of its preference. Upgrade
	// chooses the first one that the client offers.
	Subprotocols []string
	// Header is added to the response. Its names must be tokens, and not those of fields that the
	// handshake itself has. Its values must not have control characters.
	Header []Field
	// Date is the value of the Date field, see DateFormatter. Without it, or where Header has one,
	// the field is left out.
	Date []byte
	// Deflate accepts the first valid offer of permessage-deflate (RFC 7692), without context
	// takeover in either direction. Other offers are declined.
	Deflate bool
}

// Agreement is what client and server have agreed on. It does not refer to the request.
type Agreement struct {
	Subprotocol string // one of Accept.Subprotocols, or empty
	Deflate     bool   // permessage-deflate is in use
	WindowBits  int    // with Deflate: the largest window of messages to the client, see Deflater.Take
}

// Upgrader accepts handshakes. It may be used again and again, but by one goroutine at a time.
type Upgrader struct {
	ws      ws.Upgrader
	mem     memory
	scratch []byte // the normalised head
	lines   []byte // what fields has written
	chosen  string
	header  []Field
	date    []byte
	deflate deflateTerms
}

// NewUpgrader returns an Upgrader.
func NewUpgrader() *Upgrader {
	u := new(Upgrader)
	u.ws.ProtocolCustom = func([]byte) (string, bool) { return u.chosen, true }
	u.ws.Header = fields{u}
	return u
}

// Upgrade runs the zero-copy Upgrader of gobwas/ws over the head of r and appends the response,
// 101, to dst. The request must have passed ParseRequest and CheckUpgrade, and its head must be
// unchanged. If Upgrade returns an error, which wraps a *RequestError, it has appended nothing.
func (u *Upgrader) Upgrade(dst []byte, r *Request, a *Accept) ([]byte, Agreement, error) {
	u.chosen, u.header, u.date, u.deflate = "", nil, nil, deflateTerms{}
	if a != nil {
		if a.Deflate {
			u.deflate = r.deflateOffer()
		}
		for i := range a.Header {
			if !validField(&a.Header[i]) {
				return dst, Agreement{}, fmt.Errorf("wsproto: response header field %q: %w", a.Header[i].Name, ErrInternal)
			}
		}
		u.header = a.Header
		if !hasDate(a.Header) {
			u.date = a.Date
		}
		u.chosen = r.ChooseSubprotocol(a.Subprotocols)
	}
	head := r.head
	if r.normalise {
		u.scratch = appendNormalised(u.scratch[:0], r)
		head = u.scratch
	}
	u.mem = memory{in: head, out: dst}
	_, err := u.ws.Upgrade(&u.mem)
	out := u.mem.out
	agreed := Agreement{
		Subprotocol: u.chosen,
		Deflate:     u.deflate.windowBits > 0,
		WindowBits:  int(u.deflate.windowBits),
	}
	u.mem, u.chosen, u.header, u.date = memory{}, "", nil, nil
	if err != nil {
		return dst, Agreement{}, errors.Join(errUpgrader, err)
	}
	return out, agreed, nil
}

// errUpgrader answers a head that passed our checks and not those of gobwas/ws,
// which can only be one that did not pass ours.
var errUpgrader = &RequestError{400, "malformed handshake"}

// appendNormalised appends the head with Upgrade and Connection in the one form
// that gobwas/ws accepts: it knows neither a list in the former nor several
// lines of the latter.
func appendNormalised(dst []byte, r *Request) []byte {
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	dst = append(dst, r.Target...)
	dst = append(dst, " HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"...)
	for i := range r.fields {
		f := &r.fields[i]
		if f.id == fieldUpgrade || f.id == fieldConnection {
			continue
		}
		dst = append(dst, r.name(f)...)
		dst = append(dst, ": "...)
		dst = append(dst, r.value(f)...)
		dst = append(dst, crlf...)
	}
	return append(dst, crlf...)
}

// validField checks a response field. Those of the handshake, and those that
// would give the 101 a body, are not for callers to set.
func validField(f *Field) bool {
	if f.Name == "" {
		return false
	}
	for i := range len(f.Name) {
		if octets[f.Name[i]]&tokenOctet == 0 {
			return false
		}
	}
	for i := range len(f.Value) {
		if octets[f.Value[i]]&fieldOctet == 0 {
			return false
		}
	}
	switch id := identify([]byte(f.Name)); id {
	case fieldUpgrade, fieldConnection, fieldProtocol, fieldExtensions, fieldKey, fieldVersion, fieldContentLength, fieldTransferEncoding:
		return false
	}
	return !equalFold([]byte(f.Name), "Sec-WebSocket-Accept")
}

// fields writes the extra header fields of the response under way.
type fields struct{ u *Upgrader }

// WriteTo implements ws.HandshakeHeader.
func (f fields) WriteTo(w io.Writer) (int64, error) {
	u := f.u
	u.lines = appendDate(u.lines[:0], u.date)
	u.lines = append(u.lines, u.deflate.answer()...)
	for i := range u.header {
		u.lines = appendField(u.lines, &u.header[i])
	}
	n, err := w.Write(u.lines)
	return int64(n), err
}

// memory is the connection gobwas/ws reads the head from and writes the response
// to.
type memory struct{ in, out []byte }

// Read implements io.Reader.
func (m *memory) Read(p []byte) (int, error) {
	if len(m.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, m.in)
	m.in = m.in[n:]
	return n, nil
}

// Write implements io.Writer.
func (m *memory) Write(p []byte) (int, error) {
	m.out = append(m.out, p...)
	return len(p), nil
}
