// Package handshake is the client's half of the opening handshake of RFC 6455
// §4: it writes the request and judges the answer strictly.
package handshake

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"strconv"
)

// MaxHead is the longest response head accepted, in bytes.
const MaxHead = 8 << 10

// Key is a Sec-WebSocket-Key: 16 bytes in base64.
type Key [24]byte

// Accept is a Sec-WebSocket-Accept.
type Accept [28]byte

// NewKey encodes 16 bytes as a key.
func NewKey(raw [16]byte) (k Key) {
	base64.StdEncoding.Encode(k[:], raw[:])
	return k
}

// Accept returns the only right answer to the key (RFC 6455 §4.2.2).
func (k Key) Accept() (a Accept) {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	var in [len(k) + len(guid)]byte
	copy(in[:], k[:])
	copy(in[len(k):], guid)
	sum := sha1.Sum(in[:])
	base64.StdEncoding.Encode(a[:], sum[:])
	return a
}

// AppendRequest appends the request head. No subprotocol and no extension is
// offered, so the answer must name none.
func AppendRequest(dst []byte, host, path string, k Key) []byte {
	dst = append(dst, "GET "...)
	dst = append(dst, path...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, host...)
	dst = append(dst, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "...)
	dst = append(dst, k[:]...)
	return append(dst, "\r\n\r\n"...)
}

// HeadEnd returns the length of the response head in p, its empty line
// included, or 0 while it is incomplete.
func HeadEnd(p []byte) int {
	if i := bytes.Index(p, []byte("\r\n\r\n")); i >= 0 {
		return i + 4
	}
	return 0
}

// RefusedError is an answer with another status than 101.
type RefusedError struct{ Status int }

func (e *RefusedError) Error() string { return "refused with status " + strconv.Itoa(e.Status) }

// Check judges a whole response head. It returns a *RefusedError for a
// well-formed answer with another status than 101, and another error for an
// answer that breaks RFC 6455 §4.1.
func Check(head []byte, k Key) error {
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	status, err := statusOf(line)
	if err != nil {
		return err
	}
	if status != 101 {
		return &RefusedError{Status: status}
	}
	var upgrade, connection, accept int
	want := k.Accept()
	for {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		if len(line) == 0 {
			break
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(name) == 0 || name[len(name)-1] == ' ' {
			return fmt.Errorf("malformed header line %q", line)
		}
		value = bytes.Trim(value, " \t")
		switch {
		case is(name, "upgrade"):
			upgrade++
			if !is(value, "websocket") {
				return fmt.Errorf("field Upgrade is %q", value)
			}
		case is(name, "connection"):
			connection++
			if !hasToken(value, "upgrade") {
				return fmt.Errorf("field Connection is %q", value)
			}
		case is(name, "sec-websocket-accept"):
			accept++
			if !bytes.Equal(value, want[:]) {
				return fmt.Errorf("Sec-WebSocket-Accept is %q, want %q", value, want[:])
			}
		case is(name, "sec-websocket-extensions"), is(name, "sec-websocket-protocol"):
			return fmt.Errorf("answer has %q, which was not offered", name)
		}
	}
	if upgrade != 1 || connection != 1 || accept != 1 {
		return fmt.Errorf("answer has %d Upgrade, %d Connection, %d Sec-WebSocket-Accept headers, want one of each",
			upgrade, connection, accept)
	}
	return nil
}

// statusOf reads "HTTP/1.1 101 Switching Protocols".
func statusOf(line []byte) (int, error) {
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) || len(line) > 12 && line[12] != ' ' {
		return 0, fmt.Errorf("malformed status line %q", line)
	}
	n := 0
	for _, d := range line[9:12] {
		if d < '0' || d > '9' {
			return 0, fmt.Errorf("malformed status line %q", line)
		}
		n = n*10 + int(d-'0')
	}
	return n, nil
}

// is compares an ASCII word without regard to case; lower is in lower case.
func is(p []byte, lower string) bool {
	if len(p) != len(lower) {
		return false
	}
	for i, b := range p {
		if b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		if b != lower[i] {
			return false
		}
	}
	return true
}

func hasToken(list []byte, lower string) bool {
	for len(list) > 0 {
		var item []byte
		item, list, _ = bytes.Cut(list, []byte(","))
		if is(bytes.Trim(item, " \t"), lower) {
			return true
		}
	}
	return false
}
