package wstest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/session"
)

// Client is a WebSocket client. Its methods fail the test where something goes wrong, and belong to
// the goroutine of the test; TrySend and TryRead return the error and may be called by any. Reads and
// writes fail when waits.Patience is over; SetDeadline changes that.
type Client struct {
	testing.TB
	net.Conn
	Reader    *bufio.Reader // reads from Conn, which is not read from otherwise
	Handshake ws.Handshake  // what has been agreed on
}

// Connect returns a connection to host:port or unix:/path, which ends with the test.
func Connect(t testing.TB, addr string) net.Conn {
	t.Helper()
	network, name := "tcp", addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, name = "unix", path
	}
	conn, err := net.DialTimeout(network, name, waits.Patience)
	if err != nil {
		t.Fatalf("connecting to %s: %v", addr, err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(deadline()); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Dial connects to host:port or unix:/path and does the opening handshake for a path, which may have
// a query. The connection ends with the test.
func Dial(t testing.TB, addr, path string) *Client {
	t.Helper()
	return DialWith(t, addr, path, ws.Dialer{})
}

// DialWith is Dial with subprotocols, header fields or extensions.
func DialWith(t testing.TB, addr, path string, d ws.Dialer) *Client {
	t.Helper()
	c, err := Handshake(t, Connect(t, addr), path, d)
	if err != nil {
		t.Fatalf("opening handshake with %s%s: %v", addr, path, err)
	}
	return c
}

// Status does an opening handshake and returns its HTTP status: 101, or that of a refusal.
func Status(t testing.TB, addr, path string, d ws.Dialer) int {
	t.Helper()
	conn := Connect(t, addr)
	defer conn.Close()
	_, err := Handshake(t, conn, path, d)
	if refused, ok := errors.AsType[ws.StatusError](err); ok {
		return int(refused)
	}
	if err != nil {
		t.Fatalf("opening handshake with %s%s: %v, want an HTTP status", addr, path, err)
	}
	return 101
}

// From returns a dialer of a web page with this origin, of no web page if it is "".
func From(origin string) ws.Dialer {
	if origin == "" {
		return ws.Dialer{}
	}
	return ws.Dialer{Header: ws.HandshakeHeaderHTTP{"Origin": {origin}}}
}

// Handshake does the opening handshake on a connection. Its Host is the address of the other side,
// if d has none.
func Handshake(t testing.TB, conn net.Conn, path string, d ws.Dialer) (*Client, error) {
	t.Helper()
	host := "localhost" // for a unix socket
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		host = a.String()
	}
	u, err := url.Parse("ws://" + host + path)
	if err != nil {
		t.Fatal(err)
	}
	br, hs, err := d.Upgrade(conn, u)
	if br == nil {
		br = bufio.NewReader(conn)
	}
	return &Client{TB: t, Conn: conn, Reader: br, Handshake: hs}, err
}

// TrySend sends a frame, masked.
func (c *Client) TrySend(f ws.Frame) error { return ws.WriteFrame(c.Conn, ws.MaskFrame(f)) }

// Send sends a frame, masked.
func (c *Client) Send(f ws.Frame) {
	c.Helper()
	if err := c.TrySend(f); err != nil {
		c.Fatalf("sending a frame with opcode %d: %v", f.Header.OpCode, err)
	}
}

// SendText sends a text message.
func (c *Client) SendText(text string) { c.Helper(); c.Send(ws.NewTextFrame([]byte(text))) }

// SendBinary sends a binary message.
func (c *Client) SendBinary(p []byte) { c.Helper(); c.Send(ws.NewBinaryFrame(p)) }

// SendBytes sends bytes as they are, frames or not.
func (c *Client) SendBytes(p []byte) {
	c.Helper()
	if _, err := c.Conn.Write(p); err != nil {
		c.Fatalf("sending %d bytes: %v", len(p), err)
	}
}

// ReadFrame reads a frame of a server that is trusted with its length.
func ReadFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}

// TryRead reads a frame of any kind.
func (c *Client) TryRead() (ws.Frame, error) { return ReadFrame(c.Reader) }

// Read reads a frame of any kind.
func (c *Client) Read() ws.Frame {
	c.Helper()
	f, err := c.TryRead()
	if err != nil {
		c.Fatalf("reading a frame: %v", err)
	}
	return f
}

// ReadText reads the next text message. It answers pings that come before it, as clients do.
func (c *Client) ReadText() string {
	c.Helper()
	f := c.Read()
	for f.Header.OpCode == ws.OpPing {
		c.Send(ws.NewPongFrame(f.Payload))
		f = c.Read()
	}
	if f.Header.OpCode != ws.OpText {
		c.Fatalf("read opcode %d with %.100q, want a text message", f.Header.OpCode, f.Payload)
	}
	return string(f.Payload)
}

// Want reads a frame, which must have an opcode and a payload.
func (c *Client) Want(op ws.OpCode, payload string) {
	c.Helper()
	if f := c.Read(); f.Header.OpCode != op || string(f.Payload) != payload {
		c.Fatalf("read opcode %d with %.300q, want opcode %d with %.300q", f.Header.OpCode, f.Payload, op, payload)
	}
}

// WantText reads a text message of one frame, which must be equal to text.
func (c *Client) WantText(text string) { c.Helper(); c.Want(ws.OpText, text) }

// WantClose reads a Close frame with a code, past whatever comes before it, and then the end of the
// connection. It does not answer.
func (c *Client) WantClose(code session.StatusCode) { c.Helper(); c.readClose(code); c.WantEOF() }

// AnswerClose reads a Close frame with a code, past whatever comes before it, answers it, and reads
// the end of the connection.
func (c *Client) AnswerClose(code session.StatusCode) {
	c.Helper()
	c.Send(c.readClose(code))
	c.WantEOF()
}

func (c *Client) readClose(want session.StatusCode) ws.Frame {
	c.Helper()
	frames := 0
	for {
		f, err := c.TryRead()
		if err != nil {
			c.Fatalf("read %d frames, then %v, want a Close frame with %d", frames, err, want)
		}
		if f.Header.OpCode != ws.OpClose {
			frames++
			continue
		}
		code := session.StatusNoStatus
		if len(f.Payload) > 0 {
			got, _ := ws.ParseCloseFrameDataUnsafe(f.Payload)
			code = session.StatusCode(got)
		}
		if code != want {
			c.Fatalf("Close frame with %d %q, want %d", code, f.Payload[min(2, len(f.Payload)):], want)
		}
		return f
	}
}

// WantEOF reads the end of the connection, with nothing before it.
func (c *Client) WantEOF() {
	c.Helper()
	if n, err := io.Copy(io.Discard, c.Reader); n != 0 || err != nil {
		c.Fatalf("read %d bytes and then %v, want the end of the connection", n, err)
	}
}

// Leave does the closing handshake with 1000.
func (c *Client) Leave() {
	c.Helper()
	c.Send(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))
	c.readClose(session.StatusNormal)
	c.WantEOF()
}
