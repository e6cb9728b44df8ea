package wsproto

import "bytes"

// HeadLimits bounds a request head. All fields must be greater than zero.
type HeadLimits struct {
	MaxBytes  int // of the whole head, its blank line included
	MaxLine   int // bytes of the request line, without its CRLF
	MaxFields int // header field lines
}

// DefaultHeadLimits is what a nil *HeadLimits stands for.
var DefaultHeadLimits = HeadLimits{MaxBytes: 8192, MaxLine: 4096, MaxFields: 64}

func (l *HeadLimits) orDefault() *HeadLimits {
	if l == nil {
		return &DefaultHeadLimits
	}
	return l
}

// maxMethod bounds the method, so that bytes which are no HTTP at all are
// refused before a line of them has come. The longest registered method has 17.
const maxMethod = 32

// http2Preface begins the connection preface of HTTP/2 (RFC 9113 §3.4).
const http2Preface = "PRI * HTTP/2.0\r\n"

// HeadEnd returns the length of the request head at the front of p, its blank
// line included, or 0 while it is incomplete. from is how many bytes of p an
// earlier call has already seen: they are not judged again, so that a head which
// comes byte by byte takes linear time. (Only the line ends before from are
// counted again, in the at most MaxFields+1 calls that bring another one.)
//
// It refuses what can be judged before the head is complete. Of several faults
// the first in the order of bytes counts, however the input was split. The error
// is a *RequestError: 431 over MaxBytes or MaxFields, 414 over MaxLine, 505 for
// the preface of HTTP/2, 400 for control bytes, a bare CR or LF (RFC 9112 §2.2
// allows to accept the latter, and it helps only smugglers) and for bytes that
// cannot begin a request.
func HeadEnd(p []byte, from int, lim *HeadLimits) (int, error) {
	lim = lim.orDefault()
	from = max(0, min(from, len(p)))
	if from <= maxMethod {
		if err := checkStart(p); err != nil {
			return 0, err
		}
	}
	// Up to where the limits let us look, and what is wrong beyond. A head that
	// is incomplete at MaxBytes cannot end within it.
	end, beyond := len(p), (*RequestError)(nil)
	if end >= lim.MaxBytes {
		end, beyond = lim.MaxBytes, errHeadBytes
	}
	if at := lim.MaxLine; from <= at && at < end && p[at] != '\r' && bytes.IndexByte(p[:at+1], '\n') < 0 {
		end, beyond = at, errLine
	}
	n, err := scanHead(p[:end], from, lim.MaxFields)
	if n > 0 || err != nil {
		return n, err
	}
	if beyond != nil {
		return 0, beyond
	}
	return 0, nil
}

// scanHead looks at p[from:] for the blank line, control bytes and too many
// lines.
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

// checkStart judges the first bytes of a connection: a method and a space.
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
