// Muxserver is a server of net/http for tests: ordinary pages and WebSocket clients on one port.
//
//	go run ./internal/muxserver [-listen 127.0.0.1:0] [-compress]
//
//	/page           an ordinary page, which pages of other origins may read too
//	/closes         how sessions have ended so far, a line each: code, reason, who ended it, clean or not
//	/ws/            echo, behind http.StripPrefix
//	/ws/broadcast   every message to everybody
//
// It logs the address that it listens on, and ends with SIGTERM.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"wsgateway/broadcast"
	"wsgateway/echo"
	"wsgateway/session"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	compress := flag.Bool("compress", false, "offer permessage-deflate")
	flag.Parse()
	if err := run(*listen, *compress); err != nil {
		fmt.Fprintln(os.Stderr, "muxserver:", err)
		os.Exit(1)
	}
}

func run(listen string, compress bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	seen := new(closes)
	live, err := newServer(seen, compress)
	if err != nil {
		return err
	}
	defer live.Close()
	if err := live.Start(); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		fmt.Fprint(w, "an ordinary page")
	})
	mux.Handle("GET /closes", seen)
	mux.Handle("/ws/", http.StripPrefix("/ws", live))
	web := &http.Server{Handler: mux}
	served := make(chan error, 1)
	go func() { served <- web.Serve(ln) }() // ends with Close
	slog.Info("muxserver started", "listen", ln.Addr())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = live.Shutdown(ctx)
	_ = web.Close() // pages in flight are of no interest
	return err
}

// newServer returns the part that serves WebSocket clients.
func newServer(seen *closes, compress bool) (*session.Server, error) {
	all, err := broadcast.New("everybody")
	if err != nil {
		return nil, err
	}
	routes := append(echo.Target{}.Routes("/{$}"), all.Routes("/broadcast")...)
	for i := range routes {
		routes[i].Subprotocols = []string{"echo"}
		routes[i].Deflate = compress
		routes[i].DeflateThreshold = 1
		routes[i].Handler = recorded{routes[i].Handler, seen}
	}
	return session.NewServer(session.Config{Routes: routes})
}

// recorded is a handler whose sessions' ends are recorded.
type recorded struct {
	session.Handler
	seen *closes
}

func (r recorded) OnClose(s session.Session, info session.CloseInfo) {
	r.Handler.OnClose(s, info)
	r.seen.add(fmt.Sprintf("%d %q by %v, clean %t\n", uint16(info.Code), info.Reason, info.Initiator, info.Clean))
}

// closes are the lines of the page /closes.
type closes struct {
	mu    sync.Mutex
	lines string
}

func (c *closes) add(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines += line
}

func (c *closes) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = io.WriteString(w, c.lines) // or the client is gone
}
