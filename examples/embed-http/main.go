// Embed-http serves a page, a REST API and WebSocket clients on one port, with one mux of net/http.
// Notes that are posted to the API appear in all open windows at once.
//
//	go run ./examples/embed-http
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"wsgateway/session"
)

//go:embed page.html
var page []byte

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	flag.Parse()
	if err := run(*listen); err != nil {
		fmt.Fprintln(os.Stderr, "embed-http:", err)
		os.Exit(1)
	}
}

// newSite returns the handler of the whole site. The session.Server serves its WebSocket clients.
// It is running, and has no listener of its own: it takes its connections over from net/http.
func newSite(log *slog.Logger) (http.Handler, *session.Server, error) {
	b := new(board)
	live, err := session.NewServer(session.Config{
		Logger: log,
		Routes: []session.Route{{
			Path:       "/live",
			OnUpgrade:  session.SameOrigin, // other sites must not listen in with their pages
			Handler:    session.HandlerFuncs{Open: b.watch, Close: b.unwatch},
			Mode:       session.NeverBlocks,
			MaxMessage: 1, // clients have nothing to say here, they use the API
		}},
	})
	if err != nil {
		return nil, nil, err
	}
	b.live = live // before Start, and so before any call of the handler
	if err := live.Start(); err != nil {
		live.Close()
		return nil, nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", servePage)
	mux.HandleFunc("GET /api/notes", b.list)
	mux.HandleFunc("POST /api/notes", b.post)
	mux.Handle("GET /live", live)
	// Pages of other sites must not post either. GET requests pass, upgrades too.
	return http.NewCrossOriginProtection().Handler(mux), live, nil
}

func servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page) // or the client is gone
}

// run serves until SIGINT (Ctrl-C) or SIGTERM.
func run(listen string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	site, live, err := newSite(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		live.Close()
		return err
	}
	srv := &http.Server{Handler: site, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }() // ends with Shutdown
	fmt.Printf("embed-http: open http://%s/ in two windows\n", ln.Addr())
	select {
	case err := <-served:
		live.Close()
		return err
	case <-ctx.Done():
		stop() // a second signal ends the process at once
		return shutdown(srv, live)
	}
}

// shutdown ends both servers at the same time. http.Server.Shutdown waits for ordinary requests, and
// knows nothing of connections that were taken over: session.Server.Shutdown closes those, with 1001.
func shutdown(srv *http.Server, live *session.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	pages := make(chan error, 1)
	go func() { pages <- srv.Shutdown(ctx) }()
	return errors.Join(live.Shutdown(ctx), <-pages)
}
