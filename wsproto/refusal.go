package wsproto

import (
	"net/http"
	"strconv"
)

// RequestError says why a request is refused, and what the answer says. The values of this package
// are shared and must not be modified.
type RequestError struct {
	Status int    // HTTP status, 400-599
	Reason string // body of the answer; a fixed text, without anything that the client has sent
}

// Error names the status and the reason.
func (e *RequestError) Error() string {
	return "wsproto: " + strconv.Itoa(e.Status) + " " + http.StatusText(e.Status) + ": " + e.Reason
}

// Refusals that callers need. The checks of this package have others.
var (
	ErrEarlyData    = &RequestError{400, "data before the handshake was answered"}
	ErrUnauthorized = &RequestError{401, "authentication required"}
	ErrForbidden    = &RequestError{403, "forbidden"}
	ErrNotFound     = &RequestError{404, "not found"}
	ErrTimeout      = &RequestError{408, "request head too slow"}
	ErrTooMany      = &RequestError{429, "too many requests"}
	ErrInternal     = &RequestError{500, "internal error"}
	ErrOverloaded   = &RequestError{503, "overloaded, try again later"}
)

// What the checks of this package answer.
var (
	errNotHTTP     = &RequestError{400, "not an HTTP request"}
	errControl     = &RequestError{400, "control character or bare line break in the request head"}
	errRequestLine = &RequestError{400, "malformed request line"}
	errTarget      = &RequestError{400, "malformed request target"}
	errFieldLine   = &RequestError{400, "malformed header field line"}
	errHost        = &RequestError{400, "missing, repeated or malformed Host"}
	errOrigin      = &RequestError{400, "repeated Origin"}
	errBody        = &RequestError{400, "request with a body"}
	errTrailing    = &RequestError{400, "bytes behind the request head"}
	errHeadCut     = &RequestError{400, "incomplete request head"}
	errTargetLong  = &RequestError{414, "request target too long"}
	errHeadBytes   = &RequestError{431, "request head too large"}
	errFields      = &RequestError{431, "too many header fields"}
	errHTTP2       = &RequestError{505, "HTTP/1.1 only"}

	errMethod     = &RequestError{405, "WebSocket handshakes use GET"}
	errVersion    = &RequestError{505, "HTTP/1.1 only"}
	errNoUpgrade  = &RequestError{426, "this is a WebSocket endpoint"}
	errWSVersion  = &RequestError{426, "WebSocket version 13 only"}
	errUpgrade    = &RequestError{400, "malformed Upgrade"}
	errConnection = &RequestError{400, "Connection does not name Upgrade"}
	errKey        = &RequestError{400, "missing, repeated or malformed Sec-WebSocket-Key"}
	errProtocols  = &RequestError{400, "malformed Sec-WebSocket-Protocol"}
	errExtensions = &RequestError{400, "malformed Sec-WebSocket-Extensions"}
)

// Refusal returns a refusal with a status and a reason of the caller's. The reason must be a fixed
// text: what a client has sent could be script. Refusal replaces what is not visible ASCII by
// spaces, and cuts the reason to 200 bytes. A status outside 400-599 becomes 500.
func Refusal(status int, reason string) *RequestError {
	if status < 400 || status > 599 {
		status = http.StatusInternalServerError
	}
	text := []byte(reason[:min(len(reason), 200)])
	for i, c := range text {
		if c < 0x20 || c > 0x7E {
			text[i] = ' '
		}
	}
	return &RequestError{status, string(text)}
}

// AppendRefusal appends the complete HTTP/1.1 response for e. The caller must close the connection
// behind it. If a second request could follow one that was refused, a proxy in front could be
// tricked into passing on requests that it has not checked.
func AppendRefusal(dst []byte, e *RequestError, o ResponseOptions) []byte {
	dst = appendStatusLine(dst, e.Status)
	dst = appendDate(dst, o.Date)
	dst = append(dst, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(e.Reason)+1), 10)
	dst = append(dst, crlf...)
	dst = appendConnection(dst, e.Status)
	switch e.Status {
	case http.StatusMethodNotAllowed:
		dst = append(dst, "Allow: GET\r\n"...) // RFC 9110 §15.5.6
	case http.StatusUnauthorized:
		dst = append(dst, "WWW-Authenticate: Bearer\r\n"...) // RFC 9110 §15.5.2
	}
	if o.RetryAfter > 0 {
		dst = append(dst, "Retry-After: "...)
		dst = strconv.AppendInt(dst, int64(o.RetryAfter), 10)
		dst = append(dst, crlf...)
	}
	dst = append(dst, crlf...)
	if o.OmitBody {
		return dst
	}
	dst = append(dst, e.Reason...)
	return append(dst, '\n')
}
