// Package server is an echo server on each of three WebSocket libraries, written the
// way the library's documentation has it.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Libraries are the names Config.Library takes.
var Libraries = []string{"gorilla", "coder", "gws"}

// Subprotocol is the one the servers speak; a client need not offer any.
const Subprotocol = "echo"

// Config says which server to run. Library and MaxMessage are required.
type Config struct {
	Library    string
	Compress   bool // accept permessage-deflate, and compress every message
	MaxMessage int  // bytes of one message
}

// Serve answers on ln until ctx is done, and closes it.
func Serve(ctx context.Context, ln net.Listener, cfg Config) error {
	var handler http.Handler
	switch cfg.Library {
	case "gorilla":
		handler = gorillaEcho(cfg)
	case "coder":
		handler = coderEcho(cfg)
	case "gws":
		handler = gwsEcho(cfg)
	default:
		_ = ln.Close()
		return fmt.Errorf("no library %q, only %v", cfg.Library, Libraries)
	}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// readLimit is what two of the libraries need to let a message of MaxMessage bytes
// pass: they compare the limit with the compressed bytes as well, and data that does
// not compress grows by a few bytes for each block of up to 64 KiB.
func (c Config) readLimit() int {
	if !c.Compress {
		return c.MaxMessage
	}
	return c.MaxMessage + c.MaxMessage>>10 + 64
}
