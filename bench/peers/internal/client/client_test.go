package client_test

import (
	"context"
	"net"
	"testing"

	"wsgateway/bench/peers/internal/client"
	"wsgateway/bench/peers/internal/server"
)

// Each library as a client of each library as a server.
func TestAllPairs(t *testing.T) {
	for _, srv := range server.Libraries {
		for _, cl := range client.Libraries {
			for _, compress := range []bool{false, true} {
				name := cl + "_to_" + srv
				if compress {
					name += "_compressed"
				}
				t.Run(name, func(t *testing.T) {
					cfg := client.Config{
						Library:  cl,
						URL:      "ws://" + start(t, srv, compress),
						Compress: compress,
					}
					if srv == "gws" {
						// It answers all codes below 3000 like this.
						cfg.CloseAnswer = map[int]int{1001: 1000}
					}
					if err := client.Run(cfg, func(name string) { t.Log("ok", name) }); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// A server that does not compress fails the client that wants it to, and only at the
// check that is about it.
func TestMissingDeflateIsNoticed(t *testing.T) {
	for _, lib := range client.Libraries {
		t.Run(lib, func(t *testing.T) {
			var last string
			err := client.Run(client.Config{Library: lib, URL: "ws://" + start(t, "coder", false), Compress: true},
				func(name string) { last = name })
			if err == nil || last != "subprotocol" {
				t.Errorf("err = %v after check %q", err, last)
			}
		})
	}
}

// start runs an echo server until the test ends and returns its address.
func start(t *testing.T, lib string, compress bool) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { // ends with the test
		done <- server.Serve(ctx, ln, server.Config{Library: lib, Compress: compress, MaxMessage: 1 << 20})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}
