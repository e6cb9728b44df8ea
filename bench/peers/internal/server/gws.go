package server

import (
	"net/http"

	"github.com/lxzan/gws"
)

func gwsEcho(cfg Config) http.Handler {
	options := func(subprotocols ...string) *gws.ServerOption {
		return &gws.ServerOption{
			SubProtocols:       subprotocols,
			CheckUtf8Enabled:   true,
			ReadMaxPayloadSize: cfg.readLimit(),
			Recovery:           gws.Recovery,
			PermessageDeflate: gws.PermessageDeflate{
				Enabled:               cfg.Compress,
				Threshold:             1,
				ServerContextTakeover: true,
				ClientContextTakeover: true,
				// Any less it demands of clients that did not offer it, and coder's
				// client refuses that (RFC 7692 §7.1.2.2).
				ServerMaxWindowBits: 15,
				ClientMaxWindowBits: 15,
			},
		}
	}
	// With a subprotocol among its options it refuses clients that offer none.
	plain := gws.NewUpgrader(gwsHandler{}, options())
	offered := gws.NewUpgrader(gwsHandler{}, options(Subprotocol))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		upgrader := plain
		if r.Header.Get("Sec-WebSocket-Protocol") != "" {
			upgrader = offered
		}
		c, err := upgrader.Upgrade(w, r)
		if err != nil {
			return // answered by Upgrade
		}
		// Its own goroutine, so that what belongs to the request can be freed.
		go c.ReadLoop() // ends with the connection
	})
}

type gwsHandler struct{ gws.BuiltinEventHandler }

// OnPing is here because the built-in one answers without the payload.
func (gwsHandler) OnPing(c *gws.Conn, payload []byte) { _ = c.WritePong(payload) }

func (gwsHandler) OnMessage(c *gws.Conn, message *gws.Message) {
	defer func() { _ = message.Close() }()
	_ = c.WriteMessage(message.Opcode, message.Bytes())
}
