package wire

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// Accept is the Sec-WebSocket-Accept that answers key (RFC 6455 section 4.2.2).
func Accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Field is a header field line.
type Field struct{ Name, Value string }

// Response is the head of an HTTP response and its body as far as received.
type Response struct {
	Status   int
	Fields   []Field
	Head     string // as received, with its blank line
	Body     []byte
	Complete bool // the body is complete by its length or its last chunk
	ToEOF    bool // the end of the connection ends the body
}

// ParseResponse parses the response at the beginning of b. It returns 0 if b does
// not hold the head completely; n counts the bytes of the head and of as much of
// the body as belongs to it.
func ParseResponse(b []byte) (r *Response, n int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > 64<<10 {
			return nil, 0, fmt.Errorf("response head without an end")
		}
		if begin := "HTTP/1."; !strings.HasPrefix(begin, string(b[:min(len(b), len(begin))])) {
			return nil, 0, fmt.Errorf("answer does not begin with %q", begin)
		}
		return nil, 0, nil
	}
	n = end + 4
	r = &Response{Head: string(b[:n])}
	lines := strings.Split(string(b[:end]), "\r\n")
	if r.Status, err = parseStatusLine(lines[0]); err != nil {
		return nil, 0, err
	}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok || !IsToken(name) || hasControl(value) {
			return nil, 0, fmt.Errorf("malformed response field %q", line)
		}
		r.Fields = append(r.Fields, Field{name, strings.Trim(value, " \t")})
	}
	m, err := r.parseBody(b[n:])
	return r, n + m, err
}

func parseStatusLine(line string) (int, error) {
	rest, ok := strings.CutPrefix(line, "HTTP/1.1 ")
	if !ok {
		rest, ok = strings.CutPrefix(line, "HTTP/1.0 ") // to a request of HTTP/1.0
	}
	if !ok || len(rest) < 4 || rest[3] != ' ' || hasControl(rest) {
		return 0, fmt.Errorf("malformed status line %q", line)
	}
	status, err := strconv.Atoi(rest[:3])
	if err != nil || status < 100 || status > 599 {
		return 0, fmt.Errorf("malformed status line %q", line)
	}
	return status, nil
}

func (r *Response) parseBody(b []byte) (n int, err error) {
	if r.Status < 200 || r.Status == 204 || r.Status == 304 {
		r.Complete = true
		return 0, nil
	}
	if len(r.Values("Transfer-Encoding")) > 0 {
		return r.parseChunks(b)
	}
	lengths := r.Values("Content-Length")
	switch len(lengths) {
	case 0:
		r.ToEOF, r.Body = true, b
		return len(b), nil
	case 1:
	default:
		return 0, fmt.Errorf("%d Content-Length lines", len(lengths))
	}
	size, err := strconv.ParseUint(lengths[0], 10, 31)
	if err != nil {
		return 0, fmt.Errorf("malformed Content-Length %q", lengths[0])
	}
	n = min(len(b), int(size))
	r.Body, r.Complete = b[:n], n == int(size)
	return n, nil
}

// parseChunks reads a body in chunked coding without trailers.
func (r *Response) parseChunks(b []byte) (n int, err error) {
	for {
		line, _, ok := bytes.Cut(b[n:], []byte("\r\n"))
		if !ok {
			return n, nil
		}
		size, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return n, fmt.Errorf("malformed chunk size %q", line)
		}
		at := n + len(line) + 2
		if len(b) < at+int(size)+2 {
			return n, nil
		}
		r.Body = append(r.Body, b[at:at+int(size)]...)
		n = at + int(size) + 2
		if size == 0 {
			r.Complete = true
			return n, nil
		}
	}
}

// Values returns the values of all lines of a field.
func (r *Response) Values(name string) (out []string) {
	for _, f := range r.Fields {
		if strings.EqualFold(f.Name, name) {
			out = append(out, f.Value)
		}
	}
	return out
}

// HasToken tells whether a field that is a list has an element, in any case.
func (r *Response) HasToken(name, token string) bool {
	for _, v := range r.Values(name) {
		for e := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.Trim(e, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// IsToken tells whether s is a token of RFC 9110 section 5.6.2.
func IsToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7F || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return s != ""
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7F })
}

// Param is a parameter of an extension.
type Param struct {
	Name, Value string
	HasValue    bool
}

// ParseExtension parses the value of a Sec-WebSocket-Extensions field that names
// one extension, as the answer of a server does in these tests.
func ParseExtension(value string) (name string, params []Param, err error) {
	parts := strings.Split(value, ";")
	name = strings.Trim(parts[0], " \t")
	if !IsToken(name) {
		return "", nil, fmt.Errorf("malformed extension %q", value)
	}
	for _, part := range parts[1:] {
		key, v, has := strings.Cut(strings.Trim(part, " \t"), "=")
		if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
			v = v[1 : len(v)-1]
		}
		if !IsToken(key) || has && !IsToken(v) {
			return "", nil, fmt.Errorf("malformed extension %q", value)
		}
		params = append(params, Param{key, v, has})
	}
	return name, params, nil
}
