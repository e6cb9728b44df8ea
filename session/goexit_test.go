package session_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// Whatever call ends its goroutine, or panics where nothing would be expected to: OnClose is called, and the
// next client of the same slot finds nothing of the last one's.
func TestGoexitLeavesNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		set func(h *session.HandlerFuncs, cfg *session.Config)
		end func(c *wstest.Client)
	}{
		"OnError, protocol": {
			func(h *session.HandlerFuncs, _ *session.Config) {
				h.Error = func(session.Session, error) { runtime.Goexit() }
			},
			func(c *wstest.Client) { _, _ = c.Write([]byte{0xff, 0x80, 0, 0, 0, 0}) },
		},
		"OnError, reset": {
			func(h *session.HandlerFuncs, _ *session.Config) {
				h.Error = func(session.Session, error) { runtime.Goexit() }
			},
			func(c *wstest.Client) { _ = c.Conn.(*net.TCPConn).SetLinger(0); c.Close() },
		},
		"OnClose, closed": {
			func(h *session.HandlerFuncs, _ *session.Config) { h.Close = goexitOnClose(h.Close) },
			func(c *wstest.Client) { _, _ = c.Write(ws.MustCompileFrame(ws.MaskFrame(ws.NewCloseFrame(nil)))) },
		},
		"OnClose, reset": {
			func(h *session.HandlerFuncs, _ *session.Config) { h.Close = goexitOnClose(h.Close) },
			func(c *wstest.Client) { _ = c.Conn.(*net.TCPConn).SetLinger(0); c.Close() },
		},
		"AccessLog panics": {
			func(_ *session.HandlerFuncs, cfg *session.Config) {
				cfg.AccessLog = slog.New(logFunc(func(string) { panic("disk full") }))
			},
			func(c *wstest.Client) { c.Close() },
		},
		"AccessLog": {
			func(_ *session.HandlerFuncs, cfg *session.Config) {
				cfg.AccessLog = slog.New(logFunc(func(msg string) {
					if msg == "close" {
						runtime.Goexit()
					}
				}))
			},
			func(c *wstest.Client) { c.Close() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			opened, closed := make(chan session.Session, 1), make(chan session.CloseInfo, 1)
			h := session.HandlerFuncs{
				Open:  func(s session.Session, _ *wsproto.Request) { opened <- s },
				Close: func(_ session.Session, c session.CloseInfo) { closed <- c },
			}
			cfg := oneRoute(nil)
			tt.set(&h, &cfg)
			cfg.Routes[0].Handler = h
			srv, addr := wstest.Serve(t, cfg)
			for range 3 {
				c := wstest.Dial(t, addr, "/")
				s := waits.Receive(t, opened, "the call of OnOpen")
				if s.Value() != nil || s.User() != "" || len(s.Channels()) > 0 {
					t.Fatalf("a new client has the value %v, the user %q and is in %q", s.Value(), s.User(), s.Channels())
				}
				if err := s.SetUser("ann"); err != nil {
					t.Fatal(err)
				}
				_ = s.SetValue("ann's")
				_ = s.Join("room")
				tt.end(c)
				waits.Receive(t, closed, "the call of OnClose")
				waits.Becomes(t, func() int { return srv.Stats().Conns }, 0, "open connections")
				if st := srv.Stats(); st.Sessions != 0 || st.Channels.Subscriptions != 0 || st.Channels.UserSessions != 0 || srv.MemberCount("room") != 0 {
					t.Fatalf("%d sessions, %d subscriptions, %d members are left", st.Sessions, st.Channels.Subscriptions, srv.MemberCount("room"))
				}
			}
		})
	}
}

func goexitOnClose(f func(session.Session, session.CloseInfo)) func(session.Session, session.CloseInfo) {
	return func(s session.Session, c session.CloseInfo) { f(s, c); runtime.Goexit() }
}

// logFunc is a slog.Handler that is told the messages.
type logFunc func(msg string)

func (f logFunc) Enabled(context.Context, slog.Level) bool      { return true }
func (f logFunc) Handle(_ context.Context, r slog.Record) error { f(r.Message); return nil }
func (f logFunc) WithAttrs([]slog.Attr) slog.Handler            { return f }
func (f logFunc) WithGroup(string) slog.Handler                 { return f }

// The input that a call was in the middle of is nobody else's, and its memory is given back.
func TestGoexitInMidMessage(t *testing.T) {
	got := make(chan string, 10)
	cfg := oneRoute(session.HandlerFuncs{
		Message: func(_ session.Session, m session.Message) { got <- string(m.Data) },
		Ping:    func(session.Session, []byte) bool { runtime.Goexit(); return true },
	})
	cfg.Reactor.Workers, cfg.Reactor.Loops = 1, 1
	srv, addr := wstest.Serve(t, cfg)
	b := wstest.Dial(t, addr, "/")
	half := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte("whole"))))
	_, _ = b.Write(half[:8])
	waits.Eventually(t, func() bool { return srv.Stats().InboundBytes > 0 }, "input waits to be complete")
	held := srv.Stats().InboundBytes
	for range 5 {
		a := wstest.Dial(t, addr, "/")
		p := ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(ws.OpText, false, make([]byte, 20_000))))
		_, _ = a.Write(append(p, ws.MustCompileFrame(ws.MaskFrame(ws.NewPingFrame(nil)))...))
		waits.Becomes(t, func() int { return srv.Stats().Conns }, 1, "open connections")
		if n := srv.Stats().InboundBytes; n != held {
			t.Fatalf("%d bytes are held, %d before", n, held)
		}
	}
	_, _ = b.Write(half[8:])
	if m := waits.Receive(t, got, "the message"); m != "whole" {
		t.Errorf("%q", m)
	}
	c := wstest.Dial(t, addr, "/")
	c.Send(ws.NewFrame(ws.OpContinuation, true, []byte("of nothing")))
	c.WantClose(1002)
	if len(got) > 0 {
		t.Errorf("a continuation of nothing was delivered as %q", <-got)
	}
}

// OnFail may end its goroutine too.
func TestGoexitOnFail(t *testing.T) {
	cfg := oneRoute(session.Echo{})
	cfg.OnFail = func(session.Failure) { runtime.Goexit() }
	srv, addr := wstest.Serve(t, cfg)
	for range 5 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n"))
		waits.Eventually(t, func() bool { return srv.Stats().InboundBytes != 0 }, "input waits to be complete")
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
		waits.Eventually(t, func() bool { return srv.Stats().Conns == 0 && srv.Stats().InboundBytes == 0 }, "the connection is gone, with its input")
	}
}

// And OnMembership: the next change is told of.
func TestGoexitOnMembership(t *testing.T) {
	opened, told := make(chan session.Session, 1), make(chan session.MembershipChange, 10)
	cfg := oneRoute(session.HandlerFuncs{Open: func(s session.Session, _ *wsproto.Request) { opened <- s }})
	cfg.MembershipInterval = 10 * time.Millisecond
	cfg.OnMembership = func(c session.MembershipChange) { told <- c; runtime.Goexit() }
	srv, addr := wstest.Serve(t, cfg)
	wstest.Dial(t, addr, "/")
	s := waits.Receive(t, opened, "the call of OnOpen")
	for i, channels := range [][]string{{"a"}, {"b", "c", "d"}} {
		for _, channel := range channels {
			if err := s.Join(channel); err != nil {
				t.Fatal(err)
			}
		}
		for range channels {
			waits.Receive(t, told, fmt.Sprintf("word of change %d", i))
		}
	}
	if n := srv.Stats().HandlerPanics; n == 0 {
		t.Error("not counted")
	}
}

// The pool for calls that may block keeps its size, and the session gets its OnClose, even if what is called
// as its handler has ended the goroutine does so, too.
func TestGoexitTwice(t *testing.T) {
	ended := make(ends, 2)
	srv, addr := wstest.Serve(t, session.Config{BlockingCalls: 1, Routes: []session.Route{{
		Path: "/",
		Mode: session.MayBlock,
		Handler: session.HandlerFuncs{
			Message: func(s session.Session, m session.Message) {
				if string(m.Data) == "end" {
					runtime.Goexit()
				}
				_ = s.Send(m.Opcode, m.Data)
			},
			Close: func(_ session.Session, c session.CloseInfo) { ended <- c },
		},
		Farewell: func(session.Session, wsproto.StatusCode, string) []byte { runtime.Goexit(); return nil },
	}}})
	c := wstest.Dial(t, addr, "/")
	c.SendText("end")
	c.Send(c.Read()) // the answer to the Close frame
	c.WantEOF()
	ended.want(t, session.CloseInfo{Code: 1011, Initiator: session.ByServer, Clean: true})
	other := wstest.Dial(t, addr, "/")
	other.SendText("served")
	other.Want(ws.OpText, "served")
	if b := srv.Stats().Blocking; b.Size != 1 || b.Busy > 1 {
		t.Errorf("%+v", b)
	}
}

// An OnError that ends the goroutine is not called again for that.
func TestOnErrorOnce(t *testing.T) {
	errs, ended := make(chan error, 2), make(ends, 1)
	_, addr := wstest.Serve(t, oneRoute(session.HandlerFuncs{
		Error: func(_ session.Session, err error) { errs <- err; runtime.Goexit() },
		Close: func(_ session.Session, c session.CloseInfo) { ended <- c },
	}))
	wstest.Dial(t, addr, "/").Close()
	ended.want(t, session.CloseInfo{Code: 1006, Initiator: session.ByTransport})
	if len(errs) != 1 {
		t.Errorf("OnError was called %d times", len(errs))
	}
}
