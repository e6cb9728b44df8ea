package session

import (
	"net/url"
	"strings"
)

// Middleware changes what a handler does: it returns a handler that calls next. Start from the
// functions of next that Funcs returns, and replace some of them.
type Middleware func(next Handler) Handler

// Chain wraps h in middleware. The first in the chain sees every call first.
func Chain(h Handler, chain ...Middleware) Handler {
	for i := len(chain) - 1; i >= 0; i-- {
		h = chain[i](h)
	}
	return h
}

// Funcs returns the functions of a handler, those of BinaryHandler, PingHandler, PongHandler and
// ErrorHandler included. A function is nil if the handler does not have it.
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

// ChainUpgrade returns a Route.OnUpgrade that calls the given ones in order, until one refuses.
// Each sees what those before it have set in the Upgrade.
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

// SameOrigin is a Route.OnUpgrade for pages that the server itself serves. It refuses a browser
// whose page comes from another host than the one that it connects to (RFC 6455 §10.2). Clients
// that send no Origin are not browsers, and pass. SameOrigin does not check the Host field. If only
// this machine can connect and pages are trusted for that reason, check Host too: any name may
// resolve to this machine (DNS rebinding).
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
