package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEcho(t *testing.T) {
	var log lockedBuffer
	srv, addr, err := newServer("127.0.0.1:0", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	c := dial(t, "ws://"+addr.String()+"/")
	for _, m := range []wsutil.Message{
		{OpCode: ws.OpText, Payload: []byte("hello, wörld")},
		{OpCode: ws.OpBinary, Payload: []byte{0, 1, 0xff}},
		{OpCode: ws.OpText},
		{OpCode: ws.OpBinary, Payload: bytes.Repeat([]byte("x"), 64<<10)},
	} {
		if err := wsutil.WriteClientMessage(c, m.OpCode, m.Payload); err != nil {
			t.Fatal(err)
		}
		p, op, err := wsutil.ReadServerData(c)
		if err != nil || op != m.OpCode || !bytes.Equal(p, m.Payload) {
			t.Fatalf("got %v %.20q, %v, want %v %.20q", op, p, err, m.OpCode, m.Payload)
		}
	}
	if err := ws.WriteFrame(c, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil { // the answer, and the end
		t.Fatal(err)
	}
	srv.Close() // after which all calls of the handler have returned
	for _, want := range []string{"msg=opened", "remote=" + c.LocalAddr().String(), "msg=closed", "code=1000 by=client clean=true"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, log.String())
		}
	}
}

func TestTooBig(t *testing.T) {
	srv, addr, err := newServer("127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	c := dial(t, "ws://"+addr.String()+"/")
	// The header alone is enough: it says how much is to come.
	if err := ws.WriteHeader(c, ws.Header{Fin: true, OpCode: ws.OpText, Masked: true, Length: 64<<10 + 1}); err != nil {
		t.Fatal(err)
	}
	_, _, err = wsutil.ReadServerData(c)
	if closed, ok := errors.AsType[wsutil.ClosedError](err); !ok || closed.Code != ws.StatusMessageTooBig {
		t.Errorf("got %v, want a Close frame with 1009", err)
	}
}

func TestAddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := run(taken.Addr().String()); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("run returned %v", err)
	}
}

// client reads through br, which may hold what came together with the answer to the handshake.
type client struct {
	net.Conn
	br *bufio.Reader
}

func (c *client) Read(p []byte) (int, error) { return c.br.Read(p) }

func dial(t *testing.T, url string) *client {
	t.Helper()
	conn, br, _, err := ws.Dial(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if br == nil {
		br = bufio.NewReader(conn)
	}
	return &client{conn, br}
}

// lockedBuffer collects a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
