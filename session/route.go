package session

import (
	"sort"
	"strings"
	"sync/atomic"

	"wsgateway/wsproto"
)

// routes finds the route of a request. Immutable.
type routes struct {
	list     []route
	exact    map[string]uint16
	prefixes []uint16 // longest first
	lossy    bool     // some route has a policy other than CloseSlow
}

type route struct {
	Route
	binary BinaryHandler // nil where the handler is none
	ping   PingHandler
	pong   PongHandler
	fault  ErrorHandler

	callsOpen bool // the handler has an OnOpen
	httpOnly  bool // there is no handler

	open    atomic.Int64 // sessions between OnOpen and OnClose
	limited bool         // Rate bounds something
	tiny    rate         // of tiny fragments

	limits wsproto.Limits
	accept wsproto.Accept
}

func newRoutes(list []Route, fragmentRate int) *routes {
	rs := &routes{exact: make(map[string]uint16)}
	for i, r := range list {
		rs.list = append(rs.list, route{
			Route:  r,
			limits: wsproto.Limits{MaxMessage: r.MaxMessage, MaxFragments: r.MaxFragments, Only: r.Only},
			accept: wsproto.Accept{Subprotocols: r.Subprotocols, Header: r.Header, Deflate: r.Deflate},
		})
		if r.Handler == nil {
			rs.list[i].Handler, rs.list[i].httpOnly = HandlerFuncs{}, true
		}
		rs.list[i].hooks(rs.list[i].Handler)
		rs.list[i].limited = r.Rate.limits()
		rs.list[i].tiny = makeRate(fragmentRate, max(fragmentRate, 2*min(r.MaxFragments, 1<<29)))
		rs.lossy = rs.lossy || r.Outbound != CloseSlow
		if prefix, ok := strings.CutSuffix(r.Path, "*"); ok {
			rs.list[i].Path = prefix
			rs.prefixes = append(rs.prefixes, uint16(i))
		} else {
			rs.exact[r.Path] = uint16(i)
		}
	}
	sort.SliceStable(rs.prefixes, func(a, b int) bool {
		return len(rs.list[rs.prefixes[a]].Path) > len(rs.list[rs.prefixes[b]].Path)
	})
	return rs
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

func (rs *routes) at(i uint16) *route { return &rs.list[i] }

// index returns the index of the route with that Route.Path, or -1.
func (rs *routes) index(path string) int {
	if i, ok := rs.exact[path]; ok {
		return int(i)
	}
	for _, i := range rs.prefixes {
		if rs.list[i].Path+"*" == path {
			return int(i)
		}
	}
	return -1
}

// find returns the index of the route for path: an exact one, or that with the longest prefix.
func (rs *routes) find(path []byte) (uint16, bool) {
	if i, ok := rs.exact[string(path)]; ok {
		return i, true
	}
	for _, i := range rs.prefixes {
		if strings.HasPrefix(string(path), rs.list[i].Path) {
			return i, true
		}
	}
	return 0, false
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
