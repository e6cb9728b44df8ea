package session

import (
	"net/url"
	"strings"
)

// Middleware changes what a handler does: it returns one that calls next where it likes. Funcs gives it
// all of next's functions to start from.
type Middleware func(next Handler) Handler

// Chain returns h behind a chain of middleware, the first of which sees every call first.
func Chain(h Handler, chain ...Middleware) Handler {
	for i := len(chain) - 1; i >= 0; i-- {
		h = chain[i](h)
	}
	return h
}

// Funcs returns the functions of a handler, those of BinaryHandler, PingHandler, PongHandler and
// ErrorHandler included, nil where it is none. A middleware replaces those that it is about.
func Funcs(h Handler) HandlerFuncs {
	if f, ok := h.(HandlerFuncs); ok {
		return f
	}
	f := HandlerFuncs{Open: h.OnOpen, Message: h.OnMessage, Close: h.OnClose}
	if x, ok := h.(BinaryHandler); ok {
		f.Binary = x.OnBinary
	}
	if x, ok := h.(PingHandler); ok {
		f.Ping = x.OnPing
	}
	if x, ok := h.(PongHandler); ok {
		f.Pong = x.OnPong
	}
	if x, ok := h.(ErrorHandler); ok {
		f.Error = x.OnError
	}
	return f
}

// ChainUpgrade returns a Route.OnUpgrade that asks one after the other, until one refuses. Each sees what
// those before it have set.
func ChainUpgrade(chain ...func(*Upgrade) error) func(*Upgrade) error {
	return func(u *Upgrade) error {
		for _, ask := range chain {
			if err := ask(u); err != nil {
				return err
			}
		}
		return nil
	}
}

// SameOrigin is a Route.OnUpgrade for pages that the server itself serves: it refuses browsers whose page
// comes from another host than the one they connect to (RFC 6455 §10.2). Clients that send no Origin are
// no browsers, and pass. It takes the Host for granted: where a page is to be trusted because only this
// machine can connect, check that too, since any name may resolve to it (DNS rebinding).
func SameOrigin(u *Upgrade) error {
	if u.Request.Origin == nil || sameHost(string(u.Request.Origin), string(u.Request.Host)) {
		return nil
	}
	return errOrigin
}

func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}
