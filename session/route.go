package session

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"wsgateway/wsproto"
)

// route is a Route with what is made of it. It is immutable once its table is the current one.
type route struct {
	Route
	table  *routeTable
	number uint16 // in the records of its sessions

	wildcards []string // their names, in the order of the pattern
	ownPath   string   // the path that need not be kept for a session, "" where each has its own

	binary BinaryHandler // nil where the handler is none
	ping   PingHandler
	pong   PongHandler
	fault  ErrorHandler

	pool      atomic.Pointer[callPool] // nil until it is needed, see calls
	callsOpen bool                     // the handler has an OnOpen
	httpOnly  bool                     // there is no handler

	open    atomic.Int64 // sessions between OnOpen and OnClose
	limited bool         // Rate bounds something
	tiny    rate         // of tiny fragments

	limits wsproto.Limits
	accept wsproto.Accept
}

// newRoute checks all of r but its pattern, and sets what it leaves to defaults. The error joins all
// that is wrong.
func newRoute(r Route, fragmentRate int) (*route, error) {
	err := r.withDefaults()
	r.Subprotocols, r.Retain = slices.Clone(r.Subprotocols), slices.Clone(r.Retain)
	r.Origins, r.Header = slices.Clone(r.Origins), slices.Clone(r.Header)
	x := &route{
		Route:   r,
		limits:  wsproto.Limits{MaxMessage: r.MaxMessage, MaxFragments: r.MaxFragments, Only: r.Only},
		accept:  wsproto.Accept{Subprotocols: r.Subprotocols, Header: r.Header, Deflate: r.Deflate},
		limited: r.Rate.limits(),
		tiny:    makeRate(fragmentRate, max(fragmentRate, 2*min(r.MaxFragments, 1<<29))),
	}
	if r.Handler == nil {
		x.Handler, x.httpOnly = HandlerFuncs{}, true
	}
	x.hooks(x.Handler)
	return x, err
}

// hooks finds out which of the optional calls a handler wants. Functions of a HandlerFuncs that are nil
// are not called at all: a call may cost a switch of goroutines.
func (r *route) hooks(h Handler) {
	r.binary, _ = h.(BinaryHandler)
	r.ping, _ = h.(PingHandler)
	r.pong, _ = h.(PongHandler)
	r.fault, _ = h.(ErrorHandler)
	r.callsOpen = true
	f, ok := h.(HandlerFuncs)
	if !ok {
		return
	}
	r.callsOpen = f.Open != nil
	if f.Ping == nil {
		r.ping = nil
	}
	if f.Pong == nil {
		r.pong = nil
	}
	if f.Error == nil {
		r.fault = nil
	}
}

// admits reports whether a request with this Origin, nil for none, may be upgraded.
func (r *route) admits(origin []byte) bool {
	if r.Origins == nil {
		return true
	}
	for _, o := range r.Origins {
		switch {
		case o == "*" && origin != nil, o == "" && origin == nil:
			return true
		case o != "" && strings.EqualFold(o, string(origin)):
			return true
		}
	}
	return false
}

func (r *Route) withDefaults() error {
	var errs []error
	refuse := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("session: route %q: "+format, append([]any{r.Path}, args...)...))
	}
	switch {
	case r.Handler == nil && r.HTTP == nil:
		refuse("it has neither Handler nor HTTP")
	case r.MaxMessage < 0 || r.MaxFragments < 0 || r.BlockingCalls < 0 || r.DeflateThreshold < 0:
		refuse("negative limit")
	case r.Only != 0 && r.Only != wsproto.OpText && r.Only != wsproto.OpBinary:
		refuse("Only is not a type of message")
	case r.Mode > OnLoop || r.UpgradeMode > UpgradeNeverBlocks:
		refuse("Mode or UpgradeMode is not one of the constants")
	case r.Outbound > KeepLatest:
		refuse("Outbound is not a policy")
	case r.SlowCode != 0 && !r.SlowCode.Sendable():
		refuse("SlowCode %d must not be sent", r.SlowCode)
	case len(r.Subprotocols) > MaxSubprotocols:
		refuse("more than %d subprotocols", MaxSubprotocols)
	}
	for _, o := range r.Origins {
		if !ValidOrigin(o) {
			refuse("origin %q is not scheme://host[:port], \"file://\", \"null\", \"*\" or empty", o)
		}
	}
	if err := r.Rate.withDefaults(); err != nil {
		refuse("%w", err)
	}
	if r.DeflateThreshold == 0 {
		r.DeflateThreshold = 512
	}
	if r.SlowCode == 0 {
		r.SlowCode = wsproto.StatusTryAgainLater
	}
	if r.MaxMessage == 0 {
		r.MaxMessage = 1 << 20
	}
	if r.MaxFragments == 0 {
		r.MaxFragments = 1024
	}
	return errors.Join(errs...)
}
