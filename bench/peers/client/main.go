// Client checks an echo server with a WebSocket library as the client:
//
//	go run ./client -lib gorilla|coder|gws -url ws://127.0.0.1:9001/ [-compress] [-page http://127.0.0.1:9001/page] [-close-answer 1001=1000]
//
// It prints "ok NAME" for each check that holds and ends with the first that fails,
// with exit status 1.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"wsgateway/bench/peers/internal/client"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run() error {
	cfg := client.Config{CloseAnswer: map[int]int{}}
	flag.StringVar(&cfg.Library, "lib", "", "library to connect with: "+strings.Join(client.Libraries, ", "))
	flag.StringVar(&cfg.URL, "url", "ws://127.0.0.1:9001/", "`address` of the echo server")
	flag.BoolVar(&cfg.Compress, "compress", false, "offer permessage-deflate and expect it to be agreed on")
	flag.StringVar(&cfg.Page, "page", "", "`address` of an ordinary page of the same server, to be fetched too")
	flag.Func("close-answer", "`sent=received`: status code that the server answers with another one; may be repeated", func(s string) error {
		var sent, received int
		if _, err := fmt.Sscanf(s, "%d=%d", &sent, &received); err != nil {
			return err
		}
		cfg.CloseAnswer[sent] = received
		return nil
	})
	flag.Parse()
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	case !slices.Contains(client.Libraries, cfg.Library):
		return fmt.Errorf("-lib must be one of %s", strings.Join(client.Libraries, ", "))
	}
	return client.Run(cfg, func(name string) { fmt.Println("ok", name) })
}
