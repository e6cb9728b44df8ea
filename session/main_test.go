package session_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"wsgateway/session"
	"wsgateway/wsproto"
)

// TestMain checks that no goroutine is left. What servers without a logger log is shown with -v only.
func TestMain(m *testing.M) {
	flag.Parse()
	if !testing.Verbose() {
		slog.SetDefault(slog.New(slog.DiscardHandler))
	}
	goleak.VerifyTestMain(m)
}

// loopIf returns the mode of a route whose handler never blocks.
func loopIf(inline bool) session.Mode {
	if inline {
		return session.OnLoop
	}
	return session.NeverBlocks
}

func blockIf(blocking bool) session.Mode {
	if blocking {
		return session.MayBlock
	}
	return session.NeverBlocks
}

// start runs a server on a loopback port until the test ends, and checks that it ends with
// everything given back.
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

// client is a WebSocket client on gobwas's own reader and writer.
type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func dial(t testing.TB, addr, path string) *client {
	t.Helper()
	c := connect(t, addr, path)
	t.Cleanup(func() { c.Close() })
	return c
}

// connect is dial for a caller that closes the client itself.
func connect(t testing.TB, addr, path string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, br, _, err := ws.Dialer{}.Dial(ctx, "ws://"+addr+path)
	if err != nil {
		t.Fatal(err)
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &client{t, conn, br}
}

// dialUnix runs a server on a unix socket until the test ends, and returns a client of it.
func dialUnix(t testing.TB, cfg session.Config) *client {
	t.Helper()
	srv, err := session.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	path := filepath.Join(t.TempDir(), "s")
	if _, err := srv.Listen("unix:" + path); err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	br, _, err := ws.Dialer{}.Upgrade(conn, &url.URL{Host: "gateway", Path: "/"})
	if err != nil {
		t.Fatal(err)
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	return &client{t, conn, br}
}

func (c *client) send(f ws.Frame) {
	c.t.Helper()
	if err := ws.WriteFrame(c, ws.MaskFrame(f)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) text(s string) { c.t.Helper(); c.send(ws.NewTextFrame([]byte(s))) }

// readFrame reads one frame of a server, which this test trusts with its length.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}

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

// wantClose reads a Close frame, skipping messages, and then the end of the connection.
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

// ends records OnClose calls.
type ends chan session.CloseInfo

func (e ends) want(t *testing.T, want session.CloseInfo) {
	t.Helper()
	select {
	case got := <-e:
		if got != want {
			t.Fatalf("OnClose(%+v), want %+v", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("OnClose was not called")
	}
}

func raw(t *testing.T, addr, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	line, _, _ := bytes.Cut(answer, []byte("\r\n"))
	return string(line)
}

// eventually waits for what other goroutines are about to bring about.
func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
	}
}

// second returns the error of a call that returns something else, too.
func second[T any](_ T, err error) error { return err }
