package session_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// The context of a decision that may take long ends when nobody needs the decision any more.
func TestUpgradeContextEnds(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, c *net.TCPConn, srv *session.Server, clock *session.Clock){
		"FIN": func(_ *testing.T, c *net.TCPConn, _ *session.Server, _ *session.Clock) { _ = c.CloseWrite() },
		"RST": func(_ *testing.T, c *net.TCPConn, _ *session.Server, _ *session.Clock) {
			_ = c.SetLinger(0)
			_ = c.Close()
		},
		"the time is over": func(t *testing.T, _ *net.TCPConn, _ *session.Server, clock *session.Clock) {
			clock.Pass(t, time.Minute)
		},
		"the server is closed": func(_ *testing.T, _ *net.TCPConn, srv *session.Server, _ *session.Clock) {
			_ = srv.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			asked, ended := make(chan context.Context, 1), make(chan error, 1)
			srv := wstest.New(t, session.Config{HandshakeTimeout: time.Minute, Routes: []session.Route{{
				Path: "/", Mode: session.NeverBlocks, UpgradeMode: session.UpgradeMayBlock, Handler: session.Echo{},
				OnUpgrade: func(u *session.Upgrade) error {
					asked <- u.Context
					<-u.Context.Done()
					ended <- u.Context.Err()
					return u.Context.Err()
				},
			}}})
			clock := session.UseClock(srv)
			c := wstest.Connect(t, wstest.Start(t, srv, "127.0.0.1:0")).(*net.TCPConn)
			if _, err := io.WriteString(c, wstest.Request("/")); err != nil {
				t.Fatal(err)
			}
			ctx := waits.Receive(t, asked, "the call of OnUpgrade")
			if at, ok := ctx.Deadline(); !ok || time.Until(at) > time.Minute {
				t.Errorf("the context's deadline is %v, %v; want one within Config.HandshakeTimeout", at, ok)
			}
			end(t, c, srv, clock)
			if err := waits.Receive(t, ended, "the end of the context"); !errors.Is(err, context.Canceled) {
				t.Errorf("the context has ended with %v, want context.Canceled", err)
			}
		})
	}
}

// The context has the deadline of the handshake. A decision that comes after it is late, and the client is told
// to come back later, although the gateway's time, which goes by the sweeper, may not be over yet.
func TestUpgradeContextDeadline(t *testing.T) {
	ended := make(chan error, 1)
	srv := wstest.New(t, session.Config{HandshakeTimeout: 100 * time.Millisecond, Routes: []session.Route{{
		Path: "/", Handler: session.Echo{},
		OnUpgrade: func(u *session.Upgrade) error {
			<-u.Context.Done()
			ended <- u.Context.Err()
			return wsproto.ErrForbidden
		},
	}}})
	session.UseClock(srv).Stop()
	addr := wstest.Start(t, srv, "127.0.0.1:0")
	if got, want := raw(t, addr, wstest.Request("/")), "HTTP/1.1 503 Service Unavailable"; got != want {
		t.Errorf("the answer is %q, want %q", got, want)
	}
	if err := waits.Receive(t, ended, "the end of the context"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the context has ended with %v, want context.DeadlineExceeded", err)
	}
}
