package wsproto

import (
	"net/http"
	"strconv"
)

// Response is the answer to a request that does not become a WebSocket connection. Callers use it
// to answer plain HTTP, or to refuse a handshake with more than a RequestError can say.
type Response struct {
	Status int // 200-599
	// Header is sent in this order. AppendResponse adds Connection and Content-Length itself, and
	// to a 426 the fields that RFC 9110 and RFC 6455 demand. It refuses these fields, and
	// Transfer-Encoding, from the caller.
	Header []Field
	Body   []byte // not sent with 204, 205 and 304, which have none
}

// ResponseOptions says what a response has beside its content. The zero value is a response to a
// GET request from a server without a clock.
type ResponseOptions struct {
	// Date is the value of the Date field, see DateFormatter. A server with a clock must send one
	// (RFC 9110 §6.6.1). Without it, or where Response.Header has one, the field is left out.
	Date []byte
	// RetryAfter is the value of Retry-After in seconds, 0 for none. AppendResponse ignores it.
	RetryAfter int
	// OmitBody leaves the body out, for the response to a HEAD request (RFC 9110 §9.3.2).
	OmitBody bool
}

// AppendResponse appends the complete HTTP/1.1 response. The caller must close the connection
// behind it, see AppendRefusal. If the response is not valid it appends nothing and returns
// ErrInternal.
func AppendResponse(dst []byte, r *Response, o ResponseOptions) ([]byte, error) {
	if r.Status < 200 || r.Status > 599 {
		return dst, ErrInternal
	}
	for i := range r.Header {
		if !validField(&r.Header[i]) {
			return dst, ErrInternal
		}
	}
	dst = appendStatusLine(dst, r.Status)
	if !hasDate(r.Header) {
		dst = appendDate(dst, o.Date)
	}
	body := r.Body
	switch r.Status {
	case http.StatusNoContent, http.StatusNotModified: // RFC 9110 §15.3.5, §15.4.5
		body = nil
	case http.StatusResetContent: // RFC 9110 §15.3.6
		body = nil
		fallthrough
	default:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(body)), 10)
		dst = append(dst, crlf...)
	}
	dst = appendConnection(dst, r.Status)
	for i := range r.Header {
		dst = appendField(dst, &r.Header[i])
	}
	dst = append(dst, crlf...)
	if !o.OmitBody {
		dst = append(dst, body...)
	}
	return dst, nil
}

func appendStatusLine(dst []byte, status int) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(status)...)
	return append(dst, crlf...)
}

// appendConnection appends Connection, and what belongs to it.
func appendConnection(dst []byte, status int) []byte {
	if status == http.StatusUpgradeRequired {
		// RFC 9110 §15.5.22 wants Upgrade in the answer, RFC 6455 §4.2.2 the version.
		return append(dst, "Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"...)
	}
	return append(dst, "Connection: close\r\n"...)
}

func appendField(dst []byte, f *Field) []byte {
	dst = append(dst, f.Name...)
	dst = append(dst, ": "...)
	dst = append(dst, f.Value...)
	return append(dst, crlf...)
}
