package wsproto

import "bytes"

// HeadLimits bounds a request head. All fields must be greater than zero.
type HeadLimits struct {
	MaxBytes  int // bytes of the head, from the first byte of the connection to the blank line
	MaxTarget int // bytes of the request target
	MaxFields int // header field lines
}

// DefaultHeadLimits is what a nil *HeadLimits stands for. RFC 9112 §3 recommends that servers
// support request lines of 8000 bytes. Cookies of a sign-on service often have several KiB.
var DefaultHeadLimits = HeadLimits{MaxBytes: 16 << 10, MaxTarget: 8 << 10, MaxFields: 100}

func (l *HeadLimits) orDefault() *HeadLimits {
	if l == nil {
		return &DefaultHeadLimits
	}
	return l
}

const (
	// maxMethod bounds the method. Bytes that are not HTTP at all are refused before a whole line
	// of them has come. The longest registered method has 17 bytes.
	maxMethod = 32
	// maxEmptyLines is how many empty lines may stand before the request line.
	maxEmptyLines = 4
	// http2Preface begins the connection preface of HTTP/2 (RFC 9113 §3.4).
	http2Preface = "PRI * HTTP/2.0\r\n"
)

// HeadEnd returns the length of the request head at the front of p, its blank line included. It
// returns 0 while the head is incomplete. Up to 4 empty lines before the request line are skipped,
// and count as part of the head (RFC 9112 §2.2).
//
// from is how many bytes of p an earlier call has seen. They are not judged again, so that a head
// that arrives byte by byte takes linear time. (Line ends before from are counted again, but only
// by the calls that bring another line end: at most MaxFields+1.)
//
// HeadEnd refuses a head as soon as the bytes show that it is wrong. If there are several faults,
// the first in the order of bytes counts, however the input was split. The error is a
// *RequestError:
//
//   - 431 over MaxBytes or MaxFields
//   - 414 over MaxTarget
//   - 505 for the preface of HTTP/2
//   - 400 for bytes that cannot begin a request, control characters, and a bare CR or LF. RFC 9112
//     §2.2 allows a server to accept a bare LF, but that mainly helps to smuggle requests.
func HeadEnd(p []byte, from int, lim *HeadLimits) (int, error) {
	lim = lim.orDefault()
	start, err := skipEmptyLines(p)
	if err != nil {
		return 0, err
	}
	// The limits say how far to look, and what is wrong beyond. A head that is incomplete at
	// MaxBytes cannot end within it.
	end, beyond := len(p), error(nil)
	if end >= lim.MaxBytes {
		end, beyond = lim.MaxBytes, errHeadBytes
	}
	if start >= end {
		return 0, beyond
	}
	head := p[start:end]
	from = max(0, min(from-start, len(head)))
	if from <= maxMethod {
		if err := checkStart(head); err != nil {
			return 0, err
		}
	}
	if at, ok := targetExcess(head, from, lim.MaxTarget); ok {
		head, beyond = head[:at], errTargetLong
	}
	n, err := scanHead(head, from, lim.MaxFields)
	switch {
	case err != nil:
		return 0, err
	case n > 0:
		return start + n, nil
	}
	return 0, beyond
}

// skipEmptyLines returns the length of the empty lines at the front of p. A server should ignore at
// least one (RFC 9112 §2.2): some clients send one behind the body of the request before.
func skipEmptyLines(p []byte) (n int, err error) {
	for len(p) > n && p[n] == '\r' {
		switch {
		case len(p) == n+1:
			return n + 1, nil // its LF is missing
		case p[n+1] != '\n':
			return 0, errControl
		case n == maxEmptyLines*len(crlf):
			return 0, errNotHTTP
		}
		n += len(crlf)
	}
	return n, nil
}

// targetExcess looks for a request target of more than limit bytes, and returns where its excess
// begins. Once from is beyond that place, an earlier call has looked.
func targetExcess(head []byte, from, limit int) (at int, ok bool) {
	method := bytes.IndexByte(head[:min(len(head), maxMethod+1)], ' ')
	at = method + 1 + limit
	if method < 0 || at >= len(head) || from > at {
		return 0, false
	}
	return at, !bytes.ContainsAny(head[method+1:at+1], " \r\n")
}

// scanHead looks at p[from:] for the blank line, control characters and too many lines.
func scanHead(p []byte, from, maxFields int) (int, error) {
	if 0 < from && from < len(p) && p[from-1] == '\r' && p[from] != '\n' {
		return 0, errControl
	}
	lines := -1 // seen before from: not known yet
	for i := from; i < len(p); i++ {
		switch c := p[i]; {
		case octets[c]&fieldOctet != 0:
		case c == '\r':
			if i+1 < len(p) && p[i+1] != '\n' {
				return 0, errControl
			}
		case c == '\n':
			if i == 0 || p[i-1] != '\r' {
				return 0, errControl
			}
			if i >= 3 && p[i-2] == '\n' {
				return i + 1, nil
			}
			if lines < 0 {
				lines = bytes.Count(p[:from], crlf[1:])
			}
			if lines++; lines > maxFields+1 {
				return 0, errFields
			}
		default:
			return 0, errControl
		}
	}
	return 0, nil
}

// checkStart judges the first bytes of a request: a method and a space.
func checkStart(p []byte) error {
	for i, c := range p {
		switch {
		case c == ' ' && i > 0:
			if len(p) >= len(http2Preface) && string(p[:len(http2Preface)]) == http2Preface {
				return errHTTP2
			}
			return nil
		case i == maxMethod || octets[c]&tokenOctet == 0:
			return errNotHTTP
		}
	}
	return nil
}
