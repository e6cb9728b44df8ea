package webpubsub_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"wsgateway/session"
	"wsgateway/webpubsub"
	"wsgateway/wsproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a server with one target on /channels until the test ends.
func start(t testing.TB, cfg webpubsub.Config, more session.Config) (*webpubsub.Target, *session.Server, string) {
	t.Helper()
	target, err := webpubsub.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	more.Routes = target.Routes("/channels")
	s, err := session.NewServer(more)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := s.Listen("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return target, s, addr.String()
}

// client is a WebSocket client on gobwas's own reader and writer.
type client struct {
	testing.TB
	net.Conn
	r  *bufio.Reader
	id string // connectionId
}

// dial connects as a user, "" for nobody, and reads the first message.
func dial(t testing.TB, addr, user string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	d := ws.Dialer{Protocols: []string{"other", webpubsub.Subprotocol}}
	conn, br, hs, err := d.Dial(ctx, "ws://"+addr+"/channels?"+user)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if hs.Protocol != webpubsub.Subprotocol {
		t.Fatalf("subprotocol %q", hs.Protocol)
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	c := &client{TB: t, Conn: conn, r: br}
	first := c.read()
	var m struct{ Type, Event, UserID, ConnectionID string }
	if err := json.Unmarshal([]byte(first), &m); err != nil || m.Type != "system" || m.Event != "connected" || m.UserID != user || m.ConnectionID == "" {
		t.Fatalf("the first message is %s, for %q", first, user)
	}
	if user == "" && strings.Contains(first, "userId") {
		t.Fatalf("a user id for nobody: %s", first)
	}
	c.id = m.ConnectionID
	return c
}

func (c *client) frame(f ws.Frame) {
	c.Helper()
	if err := ws.WriteFrame(c.Conn, ws.MaskFrame(f)); err != nil {
		c.Fatal(err)
	}
}

func (c *client) send(text string) { c.Helper(); c.frame(ws.NewTextFrame([]byte(text))) }

func (c *client) readFrame() ws.Frame {
	c.Helper()
	h, err := ws.ReadHeader(c.r)
	if err != nil {
		c.Fatal(err)
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	if _, err := io.ReadFull(c.r, f.Payload); err != nil {
		c.Fatal(err)
	}
	return f
}

// read returns a text message, which must be JSON.
func (c *client) read() string {
	c.Helper()
	f := c.readFrame()
	if f.Header.OpCode != ws.OpText || !json.Valid(f.Payload) {
		c.Fatalf("read opcode %d %q, want JSON", f.Header.OpCode, f.Payload)
	}
	return string(f.Payload)
}

func (c *client) want(text string) {
	c.Helper()
	if got := c.read(); got != text {
		c.Fatalf("read %.300s\nwant %.300s", got, text)
	}
}

// ask sends a request and expects the answer.
func (c *client) ask(request, answer string) {
	c.Helper()
	c.send(request)
	c.want(answer)
}

// refused sends a request with ackId 1 and expects an error of that name.
func (c *client) refused(request, name string) {
	c.Helper()
	c.send(request)
	var m struct {
		Type    string
		AckID   uint64
		Success bool
		Error   struct{ Name, Message string }
	}
	got := c.read()
	if err := json.Unmarshal([]byte(got), &m); err != nil || m.Type != "ack" || m.AckID != 1 || m.Success || m.Error.Name != name || m.Error.Message == "" {
		c.Fatalf("%.200s: answered with %s, want %s", request, got, name)
	}
}

// quiet shows that nothing has come that was to come by now.
func (c *client) quiet() { c.Helper(); c.ask(`{"type":"ping"}`, `{"type":"pong"}`) }

// declined expects the end of the session.
func (c *client) declined(code wsproto.StatusCode) {
	c.Helper()
	if got := c.read(); !strings.HasPrefix(got, `{"type":"system","event":"disconnected","message":"`) {
		c.Fatalf("read %s, want that we are disconnected", got)
	}
	c.closed(code)
}

// closed expects a Close frame, answers it, and expects the end of the connection.
func (c *client) closed(code wsproto.StatusCode) {
	c.Helper()
	f := c.readFrame()
	if got, _ := ws.ParseCloseFrameData(f.Payload); f.Header.OpCode != ws.OpClose || wsproto.StatusCode(got) != code {
		c.Fatalf("read opcode %d %q, want a Close frame with %d", f.Header.OpCode, f.Payload, code)
	}
	c.frame(f)
	if n, err := io.Copy(io.Discard, c.r); n != 0 || err != nil {
		c.Fatalf("behind the Close frame: %d bytes, %v", n, err)
	}
}

func ok(id string) string { return `{"type":"ack","ackId":` + id + `,"success":true}` }
