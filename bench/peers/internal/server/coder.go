package server

import (
	"net/http"
	"unicode/utf8"

	"github.com/coder/websocket"
)

func coderEcho(cfg Config) http.Handler {
	options := &websocket.AcceptOptions{
		Subprotocols:   []string{Subprotocol},
		OriginPatterns: []string{"*"},
	}
	if cfg.Compress {
		options.CompressionMode = websocket.CompressionContextTakeover
		options.CompressionThreshold = 1
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, options)
		if err != nil {
			return // answered by Accept
		}
		defer func() { _ = c.CloseNow() }()
		c.SetReadLimit(int64(cfg.MaxMessage))
		for {
			typ, message, err := c.Read(r.Context())
			if err != nil {
				return
			}
			// The library leaves this to the application.
			if typ == websocket.MessageText && !utf8.Valid(message) {
				_ = c.Close(websocket.StatusInvalidFramePayloadData, "")
				return
			}
			if err := c.Write(r.Context(), typ, message); err != nil {
				return
			}
		}
	})
}
