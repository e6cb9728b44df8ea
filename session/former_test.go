package session_test

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// Former helpers, for tests that are still being moved to package wstest.

type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func start(t *testing.T, cfg session.Config) (*session.Server, string) {
	t.Helper()
	s, err := session.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if n, m := s.Stats().RouteTables, session.RouteUsers(s); n != 1 || m != 0 {
			t.Errorf("after Close: %d route tables, and the current one has %d users, want 1 and 0", n, m)
		}
		if st := s.Stats(); st.Conns != 0 || st.Sessions != 0 || st.QueueBytes != 0 || st.QueueMessages != 0 || st.InboundBytes != 0 {
			t.Errorf("after Close: %d connections, %d sessions, %d bytes in %d messages queued, %d bytes of input held",
				st.Conns, st.Sessions, st.QueueBytes, st.QueueMessages, st.InboundBytes)
		}
	})
	return s, addr.String()
}

func dial(t testing.TB, addr, path string) *client {
	t.Helper()
	c := wstest.Dial(t, addr, path)
	return &client{t, c.Conn, c.Reader}
}

func (c *client) send(f ws.Frame) {
	c.t.Helper()
	if err := ws.WriteFrame(c, ws.MaskFrame(f)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) text(s string) { c.t.Helper(); c.send(ws.NewTextFrame([]byte(s))) }

func readFrame(r io.Reader) (ws.Frame, error) { return wstest.ReadFrame(r) }

func (c *client) read() ws.Frame {
	c.t.Helper()
	f, err := readFrame(c.r)
	if err != nil {
		c.t.Fatal(err)
	}
	return f
}

func (c *client) want(op ws.OpCode, payload string) {
	c.t.Helper()
	if f := c.read(); f.Header.OpCode != op || string(f.Payload) != payload {
		c.t.Fatalf("read opcode %v %.100q, want %v %.100q", f.Header.OpCode, f.Payload, op, payload)
	}
}

func (c *client) wantClose(code wsproto.StatusCode) {
	c.t.Helper()
	for {
		f := c.read()
		if f.Header.OpCode != ws.OpClose {
			continue
		}
		got, _ := ws.ParseCloseFrameDataUnsafe(f.Payload)
		if wsproto.StatusCode(got) != code {
			c.t.Fatalf("Close frame with %d, want %d", got, code)
		}
		break
	}
	c.wantEOF()
}

func (c *client) wantEOF() {
	c.t.Helper()
	if n, err := io.Copy(io.Discard, c.r); n != 0 || err != nil {
		c.t.Fatalf("after the Close frame: %d bytes, %v", n, err)
	}
}

func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
	}
}

func dialWith(t *testing.T, addr, path string, d ws.Dialer) *client {
	t.Helper()
	conn, br, _, err := d.Dial(t.Context(), "ws://"+addr+path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if br == nil {
		br = bufio.NewReader(conn)
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return &client{t, conn, br}
}
