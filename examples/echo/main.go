// Echo is the smallest server: it sends every message back.
//
//	go run ./examples/echo
package main

import (
	"context"
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

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	flag.Parse()
	if err := run(*listen); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// newServer returns a server that is running, and the address it listens on.
func newServer(listen string, log *slog.Logger) (*session.Server, net.Addr, error) {
	srv, err := session.NewServer(session.Config{
		Logger: log, // the server's own log: what goes wrong inside it
		Routes: []session.Route{{
			Path:       "/",
			MaxMessage: 64 << 10, // a larger message ends the session with 1009
			// A page of any origin may connect, since Origins is nil: there is nothing here that
			// it could not know already. See the chat for a server that is more careful.
			Handler: session.HandlerFuncs{
				// Open, Message and Close of one session come one after the other; those of
				// different sessions run at the same time. They may block, as writing to a log
				// does when nobody reads it. For handlers that never do, Mode: NeverBlocks is faster.
				Open: func(s session.Session, _ *session.Request) {
					log.Info("opened", "session", s.ID(), "remote", s.RemoteAddr())
				},
				// Message gets text and binary alike. Sending never blocks, and m.Data may be
				// reused when it returns. Its error can be ignored: a session that cannot be sent
				// to is ending, and Close will say so.
				Message: func(s session.Session, m session.Message) {
					_ = s.Send(m.Opcode, m.Data)
				},
				Close: func(s session.Session, c session.CloseInfo) {
					log.Info("closed", "session", s.ID(), "code", c.Code, "by", c.Initiator, "clean", c.Clean)
				},
			},
		}},
	})
	if err != nil {
		return nil, nil, err
	}
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

// run serves until SIGINT (Ctrl-C) or SIGTERM, and then closes every session with 1001.
func run(listen string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	srv, addr, err := newServer(listen, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	fmt.Printf("echo: connect to ws://%s/\n", addr)
	<-ctx.Done()
	stop() // a second signal ends the process at once
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return srv.Shutdown(ctx)
}
