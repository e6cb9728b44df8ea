// Chat has rooms, and a page to talk in them: each path is a room, "/" is the lobby.
//
//	go run ./examples/chat
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"log/slog"
	"net"
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
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}

// newServer returns a server that is running, and the address it listens on.
func newServer(listen string, log *slog.Logger) (*session.Server, net.Addr, error) {
	c := new(chat)
	srv, err := session.NewServer(session.Config{
		Logger: log,
		Routes: []session.Route{{
			Path: "/", Mode: session.NeverBlocks, // every path, since a path is a room
			Only:       session.OpText, // binary messages end a session with 1003
			MaxMessage: 2000,           // larger ones with 1009: each is sent to a whole room
			// Outbound stays CloseSlow: a client that does not read what the others say is closed
			// with 1013. A chat with holes in it would be worse.
			OnUpgrade: c.admit, // may this client come in?
			Handler:   c,       // what to do with those who are in
			HTTP:      servePage,
		}},
	})
	if err != nil {
		return nil, nil, err
	}
	c.srv = srv // before Start, and so before any call of the handler
	addr, err := srv.Listen(listen)
	if err == nil {
		err = srv.Start()
	}
	if err != nil {
		srv.Close()
		return nil, nil, err
	}
	return srv, addr, nil
}

// servePage answers requests that are plain HTTP. The page connects to where it came from.
func servePage(r *session.Request) *session.Response {
	if _, ok := roomOf(r); !ok {
		return nil // 404
	}
	return &session.Response{
		Status: 200,
		Header: []session.Field{{Name: "Content-Type", Value: "text/html; charset=utf-8"}},
		Body:   page,
	}
}

// run serves until SIGINT (Ctrl-C) or SIGTERM, and then closes every session with 1001.
func run(listen string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	srv, addr, err := newServer(listen, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	fmt.Printf("chat: open http://%s/ in two windows\n", addr)
	<-ctx.Done()
	stop() // a second signal ends the process at once
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return srv.Shutdown(ctx)
}
