// Ticker streams the prices of thousands of symbols, of which a client watches some: it sends
// {"subscribe":["AAA","BBB"]} or {"unsubscribe":["AAA"]}, and gets {"symbol":"AAA","price":101.25} at
// once and whenever the price changes. A client that reads slowly gets the latest price of each of
// its symbols, and no backlog. The prices are made up.
//
//	go run ./examples/ticker
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
	"sync"
	"syscall"
	"time"

	"wsgateway/session"
)

//go:embed page.html
var page []byte

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	symbols := flag.Int("symbols", 5000, "how many symbols there are")
	watch := flag.Int("watch", 1000, "how many of them a client may watch")
	rate := flag.Int("rate", 5000, "prices that change a second, of all symbols")
	flag.Parse()
	if err := run(*listen, *symbols, *watch, *rate); err != nil {
		fmt.Fprintln(os.Stderr, "ticker:", err)
		os.Exit(1)
	}
}

// newServer returns a market whose server is running, and the address it listens on. The prices stand
// still until somebody moves them.
func newServer(listen string, symbols, watch int, log *slog.Logger) (*market, net.Addr, error) {
	if symbols < 1 || symbols > maxSymbols || watch < 1 {
		return nil, nil, fmt.Errorf("there can be 1 to %d symbols, and at least one has to be watched", maxSymbols)
	}
	watch = min(watch, symbols)
	m := newMarket(symbols, watch)
	var err error
	m.srv, err = session.NewServer(session.Config{
		Logger:          log,
		SessionChannels: watch, // each symbol is a channel
		Reactor: session.ReactorConfig{
			// What waits for a client that does not read is the latest price of each symbol it
			// watches, and the last one of each that it has watched meanwhile: at most as many as
			// there are symbols, however often it changes its mind. The rest is for what is being
			// sent, and for errors: they have no key, and who lets too many of them wait is closed.
			QueueMessages: symbols + 100,
			QueueBytes:    symbols*256 + 256<<10, // a waiting price takes some 150
		},
		Routes: []session.Route{{
			Path: "/{$}", Mode: session.NeverBlocks,
			Only:       session.OpText,
			MaxMessage: int64(watch*8 + 1000), // as long as it takes to name them all
			Outbound:   session.KeepLatest,
			OnUpgrade:  session.SameOrigin,
			Handler:    m,
			HTTP: func(*session.Request) *session.Response {
				return &session.Response{
					Status: 200,
					Header: []session.Field{{Name: "Content-Type", Value: "text/html; charset=utf-8"}},
					Body:   page,
				}
			},
		}},
	})
	if err != nil {
		return nil, nil, err
	}
	addr, err := m.srv.Listen(listen)
	if err == nil {
		err = m.srv.Start()
	}
	if err != nil {
		m.srv.Close()
		return nil, nil, err
	}
	return m, addr, nil
}

// run serves until SIGINT (Ctrl-C) or SIGTERM, and then closes every session with 1001.
func run(listen string, symbols, watch, rate int) error {
	if rate < 1 {
		return fmt.Errorf("-rate %d: it has to be at least 1", rate)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	m, addr, err := newServer(listen, symbols, watch, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	var trading sync.WaitGroup
	trading.Go(func() { m.trade(ctx, rate) })
	fmt.Printf("ticker: open http://%s/\n", addr)
	<-ctx.Done()
	stop() // a second signal ends the process at once
	trading.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return m.srv.Shutdown(ctx)
}
