// Echo is an echo server on a WebSocket library, to compare with and to test clients
// against:
//
//	go run ./echo -lib gorilla|coder|gws [-listen 127.0.0.1:9001] [-compress] [-max-message 1048576]
//
// It prints "listening on ADDRESS" when it accepts connections and ends on SIGTERM
// or SIGINT.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"wsgateway/bench/peers/internal/server"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

func run() error {
	var cfg server.Config
	flag.StringVar(&cfg.Library, "lib", "", "library to serve with: "+strings.Join(server.Libraries, ", "))
	flag.BoolVar(&cfg.Compress, "compress", false, "accept permessage-deflate")
	flag.IntVar(&cfg.MaxMessage, "max-message", 1<<20, "largest message in bytes")
	listen := flag.String("listen", "127.0.0.1:9001", "`address` to listen on")
	flag.Parse()
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	case !slices.Contains(server.Libraries, cfg.Library):
		return fmt.Errorf("-lib must be one of %s", strings.Join(server.Libraries, ", "))
	case cfg.MaxMessage <= 0:
		return errors.New("-max-message must be greater than 0")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ln, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Println("listening on", ln.Addr())
	return server.Serve(ctx, ln, cfg)
}
