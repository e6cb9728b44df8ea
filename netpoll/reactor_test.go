package netpoll_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"testing"
	"time"

	"wsgateway/netpoll"
)

// echo is a handler that sends back what it reads.
type echo struct {
	slow bool // serve on workers only
}

func (h *echo) Opened(t *netpoll.Turn, refused bool) {
	if refused {
		_ = t.Reactor().Send(t.Conn(), netpoll.Message{Body: []byte("full")})
		t.CloseFlushed(true)
		return
	}
	t.SetInline(!h.slow)
}

func (h *echo) Data(t *netpoll.Turn, p []byte) {
	_ = t.Reactor().Send(t.Conn(), netpoll.Message{Prefix: netpoll.MakePrefix(p[:min(10, len(p))]), Body: p[min(10, len(p)):]})
}
func (h *echo) Ended(t *netpoll.Turn)                { t.CloseFlushed(false) }
func (h *echo) Notice(*netpoll.Turn, netpoll.Reason) {}
func (h *echo) Closed(t *netpoll.Turn, err error)    {}

// start runs a reactor on a loopback port until the test ends.
func start(t *testing.T, cfg netpoll.Config, h netpoll.Handler) (*netpoll.Reactor, string) {
	t.Helper()
	r, err := netpoll.New(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, addr.String()
}

// tick lets time pass for a reactor.
func tick(r *netpoll.Reactor, d time.Duration) {
	r.Advance(d)
	r.Sweep(0, 1)
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func settled(t *testing.T, r *netpoll.Reactor) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.Wait(ctx); err != nil {
		t.Fatalf("connections left: %d", r.Stats().Conns)
	}
	if st := r.Stats(); st.QueueBytes != 0 || st.QueueMessages != 0 {
		t.Errorf("after all connections are gone %d bytes in %d messages are queued", st.QueueBytes, st.QueueMessages)
	}
}

func TestEcho(t *testing.T) {
	for name, cfg := range map[string]netpoll.Config{
		"inline":       {},
		"workers":      {InlineBatch: netpoll.NoInline},
		"small buffer": {ReadBuffer: 512, TurnBytes: 1024, SendBuffer: 300},
		"two loops":    {Loops: 2, Workers: 3},
	} {
		t.Run(name, func(t *testing.T) {
			r, addr := start(t, cfg, &echo{})
			const conns = 20
			errs := make(chan error, conns)
			for range conns {
				c := dial(t, addr)
				go func() { errs <- echoMuch(c) }()
			}
			for range conns {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			settled(t, r)
		})
	}
}

// echoMuch writes 4 MiB and reads them back, at the same time, then ends.
func echoMuch(c *net.TCPConn) error {
	sent := make([]byte, 4<<20)
	_, _ = rand.Read(sent)
	go func() {
		for p := sent; len(p) > 0; {
			n := min(len(p), 1+len(p)%70000)
			if _, err := c.Write(p[:n]); err != nil {
				return
			}
			p = p[n:]
		}
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, sent) {
		return io.ErrUnexpectedEOF
	}
	return c.Close()
}
