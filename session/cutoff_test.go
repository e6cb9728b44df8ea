package session

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// narrowClient is connected to a server that has sent it size bytes, with a receive buffer as small
// as the kernel allows.
func narrowClient(t *testing.T, cfg Config, size int) (*Server, net.Conn, *Clock) {
	t.Helper()
	opened := make(chan Session, 1)
	cfg.Routes = []Route{{Path: "/", Mode: NeverBlocks, Handler: HandlerFuncs{Open: func(s Session, _ *wsproto.Request) { opened <- s }}}}
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	clock := UseClock(s)
	addr, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
	}}
	c, err := d.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	br, _, err := ws.Dialer{}.Upgrade(c, &url.URL{Scheme: "ws", Host: "x", Path: "/"})
	if err != nil || br != nil {
		t.Fatal("handshake: ", br, err)
	}
	if err := waits.Receive(t, opened, "the call of OnOpen").SendBinary(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	return s, c, clock
}

// A client that does not answer the Close frame is cut off, and Shutdown says so although its
// context is not over.
func TestShutdownTellsOfCutOffs(t *testing.T) {
	s, _, _ := narrowClient(t, Config{Reactor: netpoll.Config{CloseTimeout: 100 * time.Millisecond}}, 1)
	var cut CutOffError
	if err := s.Shutdown(context.Background()); !errors.As(err, &cut) || cut != 1 {
		t.Errorf("Shutdown: %v, want that one client was cut off", err)
	}
}

// A client that reads all the time, but slowly, and answers no ping or Close frame before it has
// read it, is neither evicted nor cut off.
func TestSlowReaderIsAlive(t *testing.T) {
	const size, step = 60 << 10, int64(5 << 10) // the kernel takes all of it at once
	for name, shutdown := range map[string]bool{"pings": false, "shutdown": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c, clock := narrowClient(t, Config{}, size)
			ended := make(chan error, 1)
			for got := int64(0); got < size; got += step {
				if _, err := io.CopyN(io.Discard, c, min(step, size-got)); err != nil {
					t.Fatalf("after %d bytes: %v; evicted: %v", got, err, s.Stats().Evictions)
				}
				if shutdown && got == 0 {
					go func() { ended <- s.Shutdown(context.Background()) }()
				}
				clock.Pass(t, 10*time.Second) // that is the client's pace: 500 bytes a second
			}
			if !shutdown {
				go func() { ended <- s.Shutdown(context.Background()) }()
			}
			_, _ = c.Write(ws.MustCompileFrame(ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1001, "")))))
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Error(err)
			}
			if err := waits.Receive(t, ended, "the end of Shutdown"); err != nil {
				t.Errorf("Shutdown: %v; evicted: %v", err, s.Stats().Evictions)
			}
		})
	}
}
