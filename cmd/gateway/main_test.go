package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// onLookup is called before a name server is asked, and fails to be reached.
var onLookup atomic.Pointer[func()]

func TestMain(m *testing.M) {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		if f := onLookup.Load(); f != nil {
			(*f)()
		}
		return nil, errors.New("no name server")
	}}
	goleak.VerifyTestMain(m, signalGoroutines...)
}

// signalGoroutines run for ever once somebody has waited for a signal.
var signalGoroutines = []goleak.Option{
	goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop"),
}

// lockedBuffer collects a log that is read while it is written.
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

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10 s until %s", what)
		}
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return resp.StatusCode, string(body)
}

// startGateway starts a gateway with flags, for ten clients. The caller stops it.
func startGateway(t *testing.T, args ...string) (g *gateway, addr string, log *lockedBuffer) {
	t.Helper()
	log = &lockedBuffer{}
	g = start(t, configure(t, args...), slog.New(slog.NewTextHandler(log, nil)))
	_, addr, _ = strings.Cut(log.String(), " listen=")
	addr, _, _ = strings.Cut(addr, " ")
	return g, addr, log
}

// configure returns what flags configure: ten clients, on ports that the kernel chooses.
func configure(t *testing.T, args ...string) *config {
	t.Helper()
	c, err := parseFlags(append([]string{"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-max-conns", "10"}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start starts a gateway. The caller stops it.
func start(t *testing.T, c *config, log *slog.Logger) *gateway {
	t.Helper()
	g, err := prepare(c, log)
	if err == nil {
		err = g.serve()
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}
