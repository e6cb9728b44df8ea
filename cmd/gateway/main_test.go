package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"wsgateway/internal/waits"
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

// startGateway starts a gateway with flags, for ten clients. The caller stops it.
func startGateway(t *testing.T, args ...string) (g *gateway, addr string, log *waits.Buffer) {
	t.Helper()
	log = new(waits.Buffer)
	g = start(t, configure(t, args...), slog.New(slog.NewTextHandler(log, nil)))
	return g, log.Field("listen"), log
}

// stop stops a gateway, whose clients have left or will answer.
func stop(t *testing.T, g *gateway) {
	t.Helper()
	if err := g.stop(t.Context()); err != nil {
		t.Errorf("stopping the gateway: %v, want an orderly end", err)
	}
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
