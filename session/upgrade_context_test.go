package session_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
)

// The context of a decision that may take long ends when nobody needs the decision any more.
func TestUpgradeContextEnds(t *testing.T) {
	for name, end := range map[string]func(c *net.TCPConn, srv *session.Server){
		"the client is gone": func(c *net.TCPConn, _ *session.Server) {
			_ = c.SetLinger(0)
			_ = c.Close()
		},
		"the server is closed": func(_ *net.TCPConn, srv *session.Server) { _ = srv.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			asked, ended := make(chan context.Context, 1), make(chan error, 1)
			srv, addr := wstest.Serve(t, session.Config{HandshakeTimeout: time.Minute, Routes: []session.Route{{
				Path: "/", Mode: session.NeverBlocks, UpgradeMode: session.UpgradeMayBlock, Handler: session.Echo{},
				OnUpgrade: func(u *session.Upgrade) error {
					asked <- u.Context
					<-u.Context.Done()
					ended <- u.Context.Err()
					return u.Context.Err()
				},
			}}})
			c := wstest.Connect(t, addr).(*net.TCPConn)
			if _, err := c.Write([]byte(wstest.Request("/"))); err != nil {
				t.Fatal(err)
			}
			ctx := waits.Receive(t, asked, "OnUpgrade is called")
			if at, ok := ctx.Deadline(); !ok || time.Until(at) > time.Minute {
				t.Errorf("the context's deadline is %v, %v; want one within Config.HandshakeTimeout", at, ok)
			}
			end(c, srv)
			if err := waits.Receive(t, ended, "the context ends"); !errors.Is(err, context.Canceled) {
				t.Errorf("the context has ended with %v, want context.Canceled", err)
			}
		})
	}
}

// When the time for a handshake is over its context has a deadline's error, and the client is told to come back
// later, whatever the late decision is.
func TestUpgradeContextDeadline(t *testing.T) {
	ended := make(chan error, 1)
	_, addr := wstest.Serve(t, session.Config{HandshakeTimeout: 100 * time.Millisecond, Routes: []session.Route{{
		Path: "/", Handler: session.Echo{},
		OnUpgrade: func(u *session.Upgrade) error {
			<-u.Context.Done()
			ended <- u.Context.Err()
			return u.Context.Err()
		},
	}}})
	if got, want := raw(t, addr, wstest.Request("/")), "HTTP/1.1 503 Service Unavailable"; got != want {
		t.Errorf("the answer is %q, want %q", got, want)
	}
	if err := waits.Receive(t, ended, "the context ends"); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		t.Errorf("the context has ended with %v", err)
	}
}
