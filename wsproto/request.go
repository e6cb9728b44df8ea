package wsproto

import (
	"bytes"
	"net/http"
)

// Request is a parsed request head. ParseRequest may fill it again and again, and then allocates
// only for a head with more fields than any before. All byte slices are views into the head. They
// are valid as long as the head is unchanged.
type Request struct {
	Method   []byte
	Target   []byte // as sent
	Path     []byte // of the target, not decoded; begins with '/'
	RawQuery []byte // of the target, without its '?'
	Host     []byte // of an absolute-form target, else of the Host field
	Origin   []byte // nil if the request has none

	pathValues *PathValues

	head         []byte
	fields       []field
	known        [knownFields]known
	major, minor byte // digits
	normalise    bool // found by CheckUpgrade: gobwas/ws would refuse the head as it is
}

// field is a header field line: offsets in the head.
type field struct {
	name, nameEnd, value, valueEnd int
	id                             fieldID
}

// known counts the lines of a field the handshake knows and notes the first.
type known struct{ lines, first int }

type fieldID uint8

const (
	fieldOther fieldID = iota
	fieldHost
	fieldOrigin
	fieldUpgrade
	fieldConnection
	fieldKey
	fieldVersion
	fieldProtocol
	fieldExtensions
	fieldContentLength
	fieldTransferEncoding
	knownFields
)

var fieldNames = [knownFields]string{
	fieldHost:             "Host",
	fieldOrigin:           "Origin",
	fieldUpgrade:          "Upgrade",
	fieldConnection:       "Connection",
	fieldKey:              "Sec-WebSocket-Key",
	fieldVersion:          "Sec-WebSocket-Version",
	fieldProtocol:         "Sec-WebSocket-Protocol",
	fieldExtensions:       "Sec-WebSocket-Extensions",
	fieldContentLength:    "Content-Length",
	fieldTransferEncoding: "Transfer-Encoding",
}

// identify returns the id of a field name. The lengths of the names sort out
// nearly all others without a comparison.
func identify(name []byte) fieldID {
	id, other := fieldOther, fieldOther
	switch len(name) {
	case 4:
		id = fieldHost
	case 6:
		id = fieldOrigin
	case 7:
		id = fieldUpgrade
	case 10:
		id = fieldConnection
	case 14:
		id = fieldContentLength
	case 17:
		id, other = fieldKey, fieldTransferEncoding
	case 21:
		id = fieldVersion
	case 22:
		id = fieldProtocol
	case 24:
		id = fieldExtensions
	}
	switch {
	case equalFold(name, fieldNames[id]):
		return id
	case other != fieldOther && equalFold(name, fieldNames[other]):
		return other
	}
	return fieldOther
}

// ParseRequest parses a complete head into r: what HeadEnd has found, with the blank line and
// nothing behind it. It is strict (RFC 9112 §2-§6). Lines end with CRLF. There are no control
// characters, no folded lines and no space before a colon. Names are tokens. There is one valid
// Host, at most one Origin, and no body. The target is in origin or absolute form.
//
// ParseRequest does not judge whether the request is an upgrade. The error is a *RequestError; r
// must not be used after it.
func ParseRequest(head []byte, lim *HeadLimits, r *Request) error {
	lim = lim.orDefault()
	*r = Request{fields: r.fields[:0]}
	if len(head) > lim.MaxBytes {
		return errHeadBytes
	}
	start, err := skipEmptyLines(head)
	if err != nil {
		return err
	}
	head = head[start:]
	r.head = head
	line, at, err := headLine(head, 0)
	if err != nil {
		return err
	}
	if err := r.parseRequestLine(line, lim.MaxTarget); err != nil {
		return err
	}
	for {
		start := at
		if line, at, err = headLine(head, start); err != nil {
			return err
		}
		if len(line) == 0 {
			break
		}
		if len(r.fields) == lim.MaxFields {
			return errFields
		}
		if err := r.parseField(line, start); err != nil {
			return err
		}
	}
	if at != len(head) {
		return errTrailing
	}
	return r.checkFields()
}

// headLine returns the line that begins at start, without its CRLF, and where the
// next one begins.
func headLine(head []byte, start int) (line []byte, next int, err error) {
	n := bytes.IndexByte(head[start:], '\n')
	switch {
	case n < 0:
		return nil, 0, errHeadCut
	case n == 0 || head[start+n-1] != '\r':
		return nil, 0, errControl
	}
	return head[start : start+n-1], start + n + 1, nil
}

// parseRequestLine parses method SP request-target SP HTTP-version
// (RFC 9112 §3).
func (r *Request) parseRequestLine(line []byte, maxTarget int) error {
	method, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok || !isToken(method) || len(method) > maxMethod {
		return errRequestLine
	}
	target, version, ok := bytes.Cut(rest, []byte{' '})
	if len(target) > maxTarget {
		return errTargetLong
	}
	if !ok || len(version) != len("HTTP/1.1") || string(version[:5]) != "HTTP/" || version[6] != '.' {
		return errRequestLine
	}
	r.major, r.minor = version[5]-'0', version[7]-'0'
	if r.major > 9 || r.minor > 9 {
		return errRequestLine
	}
	r.Method, r.Target = method, target
	return r.parseTarget()
}

var rootPath = []byte("/")

// parseTarget accepts the origin-form and the absolute-form (RFC 9112 §3.2).
func (r *Request) parseTarget() error {
	t := r.Target
	if len(t) == 0 || !all(t, targetOctet) {
		return errTarget
	}
	if t[0] != '/' {
		scheme, rest, ok := bytes.Cut(t, []byte("://"))
		if !ok || !(equalFold(scheme, "http") || equalFold(scheme, "https") ||
			equalFold(scheme, "ws") || equalFold(scheme, "wss")) {
			return errTarget
		}
		end := bytes.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		r.Host, t = rest[:end], rest[end:]
		if !validHost(r.Host) {
			return errTarget
		}
	}
	path, query, _ := bytes.Cut(t, []byte{'?'})
	if len(path) == 0 {
		path = rootPath[:1:1]
	}
	r.Path, r.RawQuery = path, query
	return nil
}

// parseField parses field-name ":" OWS field-value OWS (RFC 9112 §5). A line
// that begins with a space, which would be a folded one, has no token for a name.
func (r *Request) parseField(line []byte, start int) error {
	if !all(line, fieldOctet) {
		return errControl
	}
	colon := bytes.IndexByte(line, ':')
	if colon < 0 || !isToken(line[:colon]) {
		return errFieldLine
	}
	f := field{name: start, nameEnd: start + colon, id: identify(line[:colon])}
	f.value = start + colon + 1 + leading(line[colon+1:])
	f.valueEnd = f.value + len(trim(line[colon+1:]))
	if f.id != fieldOther {
		k := &r.known[f.id]
		if k.lines == 0 {
			k.first = len(r.fields)
		}
		k.lines++
	}
	r.fields = append(r.fields, f)
	return nil
}

// checkFields judges what concerns every request, an upgrade or not.
func (r *Request) checkFields() error {
	// RFC 9112 §3.2: exactly one Host, with a valid value. HTTP/1.0 may lack it.
	host, hasHost := r.single(fieldHost)
	old := r.major < 1 || r.major == 1 && r.minor == 0
	if r.known[fieldHost].lines > 1 || !hasHost && !old || hasHost && !validHost(host) {
		return errHost
	}
	// RFC 9112 §3.2.2: the authority of an absolute-form target comes first.
	if r.Host == nil {
		r.Host = host
	}
	if r.known[fieldOrigin].lines > 1 {
		return errOrigin
	}
	r.Origin, _ = r.single(fieldOrigin)

	// A body in front of the frames is how requests are smuggled.
	length, hasLength := r.single(fieldContentLength)
	if r.known[fieldTransferEncoding].lines > 0 || r.known[fieldContentLength].lines > 1 ||
		hasLength && string(length) != "0" {
		return errBody
	}
	return nil
}

// single returns the value of a field that occurs exactly once.
func (r *Request) single(id fieldID) (value []byte, ok bool) {
	k := r.known[id]
	if k.lines != 1 {
		return nil, false
	}
	return r.value(&r.fields[k.first]), true
}

func (r *Request) value(f *field) []byte { return r.head[f.value:f.valueEnd:f.valueEnd] }
func (r *Request) name(f *field) []byte  { return r.head[f.name:f.nameEnd:f.nameEnd] }

// Header returns the value of the first field with that name, in any case.
func (r *Request) Header(name string) (value []byte, ok bool) {
	for i := range r.fields {
		if f := &r.fields[i]; f.nameEnd-f.name == len(name) && equalFold(r.name(f), name) {
			return r.value(f), true
		}
	}
	return nil, false
}

// Cookie returns a copy of the value of the first cookie with that name (RFC 6265 §5.4). It passes
// over what is not a valid cookie.
func (r *Request) Cookie(name string) (value string, ok bool) {
	for i := range r.fields {
		if f := &r.fields[i]; equalFold(r.name(f), "Cookie") {
			if value, ok = Cookie(string(r.value(f)), name); ok {
				return value, true
			}
		}
	}
	return "", false
}

// Cookie returns the value of the first cookie with that name in the value of a Cookie field.
func Cookie(field, name string) (value string, ok bool) {
	r := http.Request{Header: http.Header{"Cookie": {field}}}
	c, err := r.Cookie(name)
	if err != nil {
		return "", false
	}
	return c.Value, true
}

// EachHeader calls fn with every field, in the order of the head, until fn returns false.
func (r *Request) EachHeader(fn func(name, value []byte) bool) {
	for i := range r.fields {
		if f := &r.fields[i]; !fn(r.name(f), r.value(f)) {
			return
		}
	}
}

// each returns the values of the lines of a known field, in order.
func (r *Request) each(id fieldID) func(yield func(value []byte) bool) {
	return func(yield func([]byte) bool) {
		if r.known[id].lines == 0 {
			return
		}
		for i := r.known[id].first; i < len(r.fields); i++ {
			if f := &r.fields[i]; f.id == id && !yield(r.value(f)) {
				return
			}
		}
	}
}
