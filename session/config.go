package session

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// Config holds the settings of a Server. The zero value of a field means its default;
// negative values are refused.
type Config struct {
	// Routes says who serves which path. At least one.
	Routes []Route

	Reactor netpoll.Config // Logger and NewLocal are the server's to set

	Head wsproto.HeadLimits // bounds of a request head; default wsproto.DefaultHeadLimits

	HandshakeTimeout time.Duration // from accept to the whole request head; default 5 s
	FrameTimeout     time.Duration // for a frame that has begun; default 10 s
	MessageTimeout   time.Duration // for a message that has begun, all its frames; default 30 s
	// MinRate lets big messages take their time on slow lines: with each FrameTimeout or
	// MessageTimeout in which so many bytes a second have come, another one begins. Default
	// 1024 bytes/s.
	MinRate int

	PingInterval time.Duration // silence after which a client is pinged, ±10 % per client; default 27 s
	PingTimeout  time.Duration // silence after the ping that shows the client to be dead; default 20 s

	InboundBytes int64 // memory for incomplete messages of all clients; default 256 MiB

	Logger *slog.Logger // default: discard
}

// Route maps a path to a handler.
type Route struct {
	Path    string // "/chat"; with a trailing "*" every path that starts with what is before it
	Handler Handler
	// Inline says that the handler's calls are short and never block: they may then run
	// on the event loop, which saves the wake-up of a worker.
	Inline bool

	Subprotocols []string // spoken here, in order of preference

	MaxMessage   int64 // bytes of one message; default 1 MiB
	MaxFragments int   // frames of one message; default 1024
}

const maxRoutes = 1 << 16

func (c Config) withDefaults() (Config, error) {
	if len(c.Routes) == 0 {
		return c, errors.New("session: Config.Routes is empty")
	}
	if len(c.Routes) > maxRoutes {
		return c, fmt.Errorf("session: Config.Routes has more than %d routes", maxRoutes)
	}
	var err error
	duration := func(name string, v *time.Duration, d time.Duration) {
		if *v < 0 && err == nil {
			err = fmt.Errorf("session: Config.%s is negative", name)
		}
		if *v == 0 {
			*v = d
		}
	}
	duration("HandshakeTimeout", &c.HandshakeTimeout, 5*time.Second)
	duration("FrameTimeout", &c.FrameTimeout, 10*time.Second)
	duration("MessageTimeout", &c.MessageTimeout, 30*time.Second)
	duration("PingInterval", &c.PingInterval, 27*time.Second)
	duration("PingTimeout", &c.PingTimeout, 20*time.Second)
	if c.MinRate < 0 || c.InboundBytes < 0 {
		err = errors.Join(err, errors.New("session: Config.MinRate and InboundBytes must not be negative"))
	}
	if c.MinRate == 0 {
		c.MinRate = 1024
	}
	if c.InboundBytes == 0 {
		c.InboundBytes = 256 << 20
	}
	if c.Head == (wsproto.HeadLimits{}) {
		c.Head = wsproto.DefaultHeadLimits
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Routes = append([]Route(nil), c.Routes...)
	seen := make(map[string]bool)
	for i := range c.Routes {
		r := &c.Routes[i]
		switch {
		case !strings.HasPrefix(r.Path, "/"):
			err = errors.Join(err, fmt.Errorf("session: route path %q does not start with /", r.Path))
		case seen[r.Path]:
			err = errors.Join(err, fmt.Errorf("session: route path %q stands twice", r.Path))
		case r.Handler == nil:
			err = errors.Join(err, fmt.Errorf("session: route %q has no handler", r.Path))
		case r.MaxMessage < 0 || r.MaxFragments < 0:
			err = errors.Join(err, fmt.Errorf("session: route %q: negative limit", r.Path))
		case len(r.Subprotocols) > 255:
			err = errors.Join(err, fmt.Errorf("session: route %q: more than 255 subprotocols", r.Path))
		}
		seen[r.Path] = true
		if r.MaxMessage == 0 {
			r.MaxMessage = 1 << 20
		}
		if r.MaxFragments == 0 {
			r.MaxFragments = 1024
		}
	}
	return c, err
}
