package peertest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Opcodes, RFC 6455 §5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// ioTimeout bounds every read and write that a test does not bound itself.
const ioTimeout = 15 * time.Second

// client is a WebSocket client written from RFC 6455. It does as it is told:
// frames can be fragmented, cut into pieces, left unmasked. It is not safe for
// concurrent use.
type client struct {
	net.Conn
	br    *bufio.Reader
	pings int // answered by readMessage
}

// frame is one frame as received.
type frame struct {
	fin     bool
	op      byte
	payload []byte
}

// closeError is a Close frame from the gateway. Code 1005 stands for none.
type closeError struct {
	code   int
	reason string
}

func (e *closeError) Error() string { return fmt.Sprintf("closed with %d %q", e.code, e.reason) }

// statusError is an opening handshake answered with anything but 101.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("handshake answered with %d", int(e)) }

// dial opens a WebSocket connection to host:port, or to a socket named
// unix:path, and does the opening handshake.
func dial(addr, path string) (*client, error) { return dialFrom("", addr, path) }

// dialFrom is dial out of a network namespace.
func dialFrom(netns, addr, path string) (*client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), ioTimeout)
	defer cancel()
	network, host := "tcp", addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr, host = "unix", path, "localhost"
	}
	conn, err := dialIn(ctx, netns, network, addr)
	if err != nil {
		return nil, err
	}
	c := newClient(conn)
	if err := c.handshake(host, path, ioTimeout); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

func newClient(conn net.Conn) *client { return &client{Conn: conn, br: bufio.NewReader(conn)} }

// handshake does the client's side of the opening handshake.
func (c *client) handshake(host, path string, within time.Duration) error {
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce)
	key := base64.StdEncoding.EncodeToString(nonce)
	_ = c.SetDeadline(time.Now().Add(within))
	defer func() { _ = c.SetDeadline(time.Time{}) }()
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n", path, host, key)
	if err != nil {
		return err
	}
	res, err := http.ReadResponse(c.br, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return statusError(res.StatusCode)
	}
	// RFC 6455 §4.2.2: the key and a fixed GUID, hashed.
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if got, want := res.Header.Get("Sec-WebSocket-Accept"), base64.StdEncoding.EncodeToString(sum[:]); got != want {
		return fmt.Errorf("Sec-WebSocket-Accept is %q, want %q", got, want)
	}
	return nil
}

// encode returns one masked frame.
func encode(fin bool, op byte, payload []byte) []byte {
	b := encodeHeader(fin, op, len(payload), true)
	var key [4]byte
	_, _ = rand.Read(key[:])
	b = append(b, key[:]...)
	for i, x := range payload {
		b = append(b, x^key[i%4])
	}
	return b
}

// encodeHeader returns the first two bytes of a frame and the extended length.
func encodeHeader(fin bool, op byte, n int, masked bool) []byte {
	first, mask := op, byte(0)
	if fin {
		first |= 0x80
	}
	if masked {
		mask = 0x80
	}
	switch {
	case n < 126:
		return []byte{first, mask | byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{first, mask | 126}, uint16(n))
	default:
		return binary.BigEndian.AppendUint64([]byte{first, mask | 127}, uint64(n))
	}
}

// send writes one unfragmented message or control frame.
func (c *client) send(op byte, payload []byte) error {
	_ = c.SetWriteDeadline(time.Now().Add(ioTimeout))
	_, err := c.Write(encode(true, op, payload))
	return err
}

// trickle writes b one byte at a time, each in a segment of its own as long as
// the kernel does not join them (Go sets TCP_NODELAY).
func (c *client) trickle(b []byte) error {
	_ = c.SetWriteDeadline(time.Now().Add(ioTimeout))
	for i := range b {
		if _, err := c.Write(b[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// readFrame reads one frame. A deadline that passes before or inside a control
// frame loses nothing: the next call starts at the same frame.
func (c *client) readFrame() (frame, error) {
	head, err := c.br.Peek(2)
	if err != nil {
		return frame{}, err
	}
	f := frame{fin: head[0]&0x80 != 0, op: head[0] & 0x0F}
	switch {
	case head[0]&0x70 != 0:
		return f, fmt.Errorf("reserved bits set without an extension: %#x", head[0])
	case head[1]&0x80 != 0:
		return f, errors.New("masked frame from the gateway")
	}
	size, n := 2, int64(head[1])
	switch n {
	case 126:
		size = 4
	case 127:
		size = 10
	}
	if head, err = c.br.Peek(size); err != nil {
		return frame{}, err
	}
	switch size {
	case 4:
		n = int64(binary.BigEndian.Uint16(head[2:]))
	case 10:
		n = int64(binary.BigEndian.Uint64(head[2:]))
	}
	if f.op >= opClose {
		if n > 125 || !f.fin {
			return f, fmt.Errorf("control frame of %d bytes, fin %v", n, f.fin)
		}
		if _, err := c.br.Peek(size + int(n)); err != nil {
			return frame{}, err
		}
	}
	if _, err := c.br.Discard(size); err != nil {
		return f, err
	}
	if n < 0 || n > 1<<30 {
		return f, fmt.Errorf("frame of %d bytes", n)
	}
	f.payload = make([]byte, n)
	_, err = io.ReadFull(c.br, f.payload)
	return f, err
}

// readMessage reads one message, joins its fragments and answers pings. A Close
// frame is answered and returned as a *closeError.
func (c *client) readMessage(deadline time.Time) (op byte, payload []byte, err error) {
	_ = c.SetReadDeadline(deadline)
	for {
		f, err := c.readFrame()
		if err != nil {
			return 0, nil, err
		}
		switch f.op {
		case opPing:
			c.pings++
			if err := c.send(opPong, f.payload); err != nil {
				return 0, nil, err
			}
			continue
		case opPong:
			continue
		case opClose:
			_ = c.send(opClose, f.payload)
			return 0, nil, parseClose(f.payload)
		case opContinuation:
			if op == 0 {
				return 0, nil, errors.New("continuation without a message")
			}
		default:
			if op != 0 {
				return 0, nil, errors.New("new message inside another")
			}
			op = f.op
		}
		payload = append(payload, f.payload...)
		if f.fin {
			return op, payload, nil
		}
	}
}

func parseClose(p []byte) *closeError {
	if len(p) < 2 {
		return &closeError{code: 1005}
	}
	return &closeError{int(binary.BigEndian.Uint16(p)), string(p[2:])}
}

// echo sends a message and expects it back unchanged.
func (c *client) echo(op byte, payload []byte) error {
	if err := c.send(op, payload); err != nil {
		return err
	}
	return c.expect(op, payload)
}

// expect reads one message and compares it.
func (c *client) expect(op byte, payload []byte) error {
	gotOp, got, err := c.readMessage(time.Now().Add(ioTimeout))
	if err != nil {
		return err
	}
	if gotOp != op || !bytes.Equal(got, payload) {
		return fmt.Errorf("got opcode %d with %d bytes, want opcode %d with %d bytes", gotOp, len(got), op, len(payload))
	}
	return nil
}

// awaitClose reads until the connection ends and returns the Close frame.
func (c *client) awaitClose(within time.Duration) (*closeError, error) {
	for deadline := time.Now().Add(within); ; {
		_, _, err := c.readMessage(deadline)
		if ce, ok := errors.AsType[*closeError](err); ok {
			return ce, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
