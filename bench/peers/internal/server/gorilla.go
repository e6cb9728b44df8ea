package server

import (
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

func gorillaEcho(cfg Config) http.Handler {
	upgrader := websocket.Upgrader{
		HandshakeTimeout:  5 * time.Second,
		Subprotocols:      []string{Subprotocol},
		CheckOrigin:       func(*http.Request) bool { return true },
		EnableCompression: cfg.Compress,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // answered by Upgrade
		}
		defer func() { _ = c.Close() }()
		c.SetReadLimit(int64(cfg.readLimit()))
		for {
			op, message, err := c.ReadMessage()
			if err != nil {
				return
			}
			// The library leaves this to the application.
			if op == websocket.TextMessage && !utf8.Valid(message) {
				_ = c.WriteControl(websocket.CloseMessage,
					websocket.FormatCloseMessage(websocket.CloseInvalidFramePayloadData, ""), time.Now().Add(time.Second))
				return
			}
			if err := c.WriteMessage(op, message); err != nil {
				return
			}
		}
	})
}
