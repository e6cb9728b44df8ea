package session_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/netpoll"
	"wsgateway/session"
	"wsgateway/wsproto"
)

const handshake = "GET /path HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// A route that takes too long to decide about a request is not the client's fault.
func TestSlowUpgradeIsNotTheClients(t *testing.T) {
	fails, asked, leave := make(chan session.Failure, 1), make(chan struct{}), make(chan struct{})
	defer close(leave)
	srv := wstest.New(t, session.Config{
		HandshakeTimeout: time.Minute,
		OnFail: func(f session.Failure) {
			if f.Request == nil || string(f.Request.Path) != "/path" {
				t.Errorf("OnFail has the request %+v", f.Request)
			}
			fails <- f
		},
		Routes: []session.Route{{Path: "/", Mode: session.MayBlock, Handler: session.Echo{}, OnUpgrade: func(*session.Upgrade) error {
			close(asked)
			<-leave
			return nil
		}}},
	})
	clock := session.UseClock(srv)
	c := wstest.Connect(t, wstest.Start(t, srv, "127.0.0.1:0"))
	fmt.Fprint(c, handshake)
	waits.Receive(t, asked, "the call of OnUpgrade")
	clock.Pass(t, time.Minute)
	answer, err := io.ReadAll(c)
	if line, _, _ := strings.Cut(string(answer), "\r\n"); line != "HTTP/1.1 503 Service Unavailable" || err != nil {
		t.Errorf("answered with %q, %v", answer, err)
	}
	if f := waits.Receive(t, fails, "the call of OnFail"); f.Status != http.StatusServiceUnavailable {
		t.Errorf("OnFail(%+v)", f)
	}
	if n := srv.Stats().Evictions["handshake_timeout"]; n != 0 {
		t.Errorf("%d clients blamed", n)
	}
}

// What is wrong with an answer of a route is found in the log.
func TestWrongHeaderIsLogged(t *testing.T) {
	var log lines
	_, addr := wstest.Serve(t, session.Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Routes: []session.Route{{
		Path: "/", Mode: session.NeverBlocks,
		Handler: session.Echo{},
		OnUpgrade: func(u *session.Upgrade) error {
			u.Header = []wsproto.Field{{Name: "Not a name", Value: "x"}}
			return nil
		},
	}}})
	if got := raw(t, addr, handshake); got != "HTTP/1.1 500 Internal Server Error" {
		t.Errorf("answered with %q", got)
	}
	if !strings.Contains(log.String(), "Not a name") {
		t.Errorf("logged %q", log.String())
	}
}

// A HEAD request whose handler ends the goroutine has no effect on the answer to another client.
func TestHeadIsForgotten(t *testing.T) {
	srv := wstest.New(t, session.Config{
		HandshakeTimeout: time.Minute,
		Reactor:          netpoll.Config{Workers: 1, InlineBatch: netpoll.NoInline},
		Routes:           []session.Route{{Path: "/", Mode: session.NeverBlocks, HTTP: func(*wsproto.Request) *wsproto.Response { runtime.Goexit(); return nil }}},
	})
	clock := session.UseClock(srv)
	addr := wstest.Start(t, srv, "127.0.0.1:0")
	c := wstest.Connect(t, addr)
	fmt.Fprint(c, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
	if n, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes and %v instead of a reset", n, err)
	}
	other := wstest.Connect(t, addr)
	fmt.Fprint(other, "GET / HTTP/1.1\r\nHo") // and nothing more: nobody knows its method when it is refused
	waits.Eventually(t, func() bool { return srv.Stats().InboundBytes > 0 }, "the server has the beginning of the request")
	clock.Pass(t, time.Minute)
	answer, err := io.ReadAll(other)
	if head, body, _ := strings.Cut(string(answer), "\r\n\r\n"); !strings.HasPrefix(head, "HTTP/1.1 408 ") || body == "" || err != nil {
		t.Errorf("answered with %q, %v", answer, err)
	}
}

// Of clients of a unix socket no address is known.
func TestAccessLogOfUnixSocket(t *testing.T) {
	var access lines
	cfg := oneRoute(session.Echo{})
	cfg.AccessLog = slog.New(slog.NewTextHandler(&access, nil))
	dialUnix(t, cfg)
	waits.Eventually(t, func() bool { return strings.Contains(access.String(), "remote=unix ") }, "the access log has an address of a unix socket")
}

// What is published on a server that was closed before it was started is dropped, and does not wait.
func TestPublishWithoutStart(t *testing.T) {
	srv, err := session.NewServer(oneRoute(session.Echo{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	_, _ = srv.SendAll("", session.Prepare(wsproto.OpText, []byte("x")))
	if n := srv.Waiting(); n != 0 {
		t.Errorf("%d publications wait", n)
	}
}
