package suite

import (
	"encoding/base64"
	"strings"

	"wsgateway/bench/conformance/internal/engine"
)

// head is a request head that can be made wrong in every way.
type head struct {
	method, target, version string
	lines                   []string // field lines without their ends
	eol                     string
	tail                    string // behind the blank line, in the same write
}

// edit changes a correct head.
type edit func(*head)

// sampleKey is the key of the example in RFC 6455 section 1.3, and sampleAccept
// its answer.
const (
	sampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// newHead is a correct handshake with a new key.
func newHead(s *session, t *engine.Target) *head {
	var nonce [16]byte
	for i := range nonce {
		nonce[i] = byte(s.Rand.Uint32())
	}
	return &head{
		method: "GET", target: t.Path, version: "HTTP/1.1", eol: "\r\n",
		lines: []string{
			"Host: " + t.Host,
			"Upgrade: websocket",
			"Connection: Upgrade",
			"Sec-WebSocket-Key: " + base64.StdEncoding.EncodeToString(nonce[:]),
			"Sec-WebSocket-Version: 13",
		},
	}
}

// text is the head on the wire.
func (h *head) text() string {
	var b strings.Builder
	b.WriteString(h.method + " " + h.target + " " + h.version + h.eol)
	for _, l := range h.lines {
		b.WriteString(l + h.eol)
	}
	return b.String() + h.eol
}

// value is that of the first line of a field.
func (h *head) value(name string) string {
	for _, l := range h.lines {
		if n, v, _ := strings.Cut(l, ":"); strings.EqualFold(n, name) {
			return strings.Trim(v, " \t")
		}
	}
	return ""
}

// drop removes a field.
func drop(name string) edit {
	return func(h *head) {
		var kept []string
		for _, l := range h.lines {
			if n, _, _ := strings.Cut(l, ":"); !strings.EqualFold(n, name) {
				kept = append(kept, l)
			}
		}
		h.lines = kept
	}
}

// add appends a field line.
func add(name, value string) edit { return line(name + ": " + value) }

// set replaces the value of a field.
func set(name, value string) edit {
	return func(h *head) { drop(name)(h); add(name, value)(h) }
}

// line appends a line as it is.
func line(l string) edit { return func(h *head) { h.lines = append(h.lines, l) } }

// first puts a line before the others.
func first(l string) edit { return func(h *head) { h.lines = append([]string{l}, h.lines...) } }

func method(m string) edit  { return func(h *head) { h.method = m } }
func target(t string) edit  { return func(h *head) { h.target = t } }
func version(v string) edit { return func(h *head) { h.version = v } }
func eol(e string) edit     { return func(h *head) { h.eol = e } }

// tail puts bytes behind the head.
func tail(t string) edit { return func(h *head) { h.tail = t } }

// path changes the target of the head by what it is.
func path(change func(host, path string) string) edit {
	return func(h *head) { h.target = change(h.value("Host"), h.target) }
}

// edits makes one edit of several.
func edits(all ...edit) edit {
	return func(h *head) {
		for _, e := range all {
			e(h)
		}
	}
}

// request connects, and sends a handshake with edits.
func request(all ...edit) step {
	return func(s *session) { sendHead(s, &s.Cfg.Target, all...) }
}

func sendHead(s *session, t *engine.Target, all ...edit) {
	h := newHead(s, t)
	edits(all...)(h)
	s.Key, s.NoBody = h.value("Sec-WebSocket-Key"), h.method == "HEAD"
	s.Offer = h.value("Sec-WebSocket-Extensions")
	s.Connect(t)
	s.Write([]byte(h.text() + h.tail))
}
