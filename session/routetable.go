package session

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"wsgateway/wsproto"
)

const (
	// maxRoutes bounds the routes of all tables that are alive: a record has 16 bits for a route.
	maxRoutes = 1 << 16
	// MaxRouteTables is how many route tables may exist at a time, see Server.SetRoutes.
	MaxRouteTables = 256
)

// ErrRouteTables is returned by Server.SetRoutes when sessions of MaxRouteTables tables are still
// open, or when those tables and the new one have more than 65,536 routes together.
var ErrRouteTables = errors.New("session: too many earlier route tables still have sessions")

// routeTables holds the route tables that are alive: the current one, in which requests find their
// routes, and each earlier one for as long as it has users.
//
// Every route of a living table has a number, by which the record of a session knows it. A number
// is given to a new route only after the table of its last one is gone.
type routeTables struct {
	current  atomic.Pointer[routeTable]
	calls    *callPools               // of all routes
	lossy    atomic.Bool              // some route has had a policy other than CloseSlow
	byNumber atomic.Pointer[[]*route] // immutable, replaced under mu; nil elements are free numbers

	mu         sync.Mutex // guards what follows and the replacement of the two above
	generation uint64     // of the current table; the first is 1
	alive      int
}

// routeTable is the routes of one SetRoutes. What it holds is immutable, but for users.
type routeTable struct {
	owner      *routeTables
	generation uint64
	routes     []*route
	patterns   *patterns
	// users counts the sessions that were opened with the table, the requests that have found their
	// route in it and are being decided about, and 1 while it is the current one. When it is 0 the
	// table is gone, for good.
	users atomic.Int64
}

// noRoute is what at returns for a number without a route: that of a session that has ended.
var noRoute = &route{}

func newRouteTables(calls *callPools) *routeTables {
	ts := &routeTables{calls: calls}
	ts.byNumber.Store(new([]*route))
	return ts
}

// at returns the route with a number. The caller makes sure that a session of that route lives, or
// sees to it that nothing comes of the answer if it has ended.
func (ts *routeTables) at(number uint16) *route {
	if list := *ts.byNumber.Load(); int(number) < len(list) && list[number] != nil {
		return list[number]
	}
	return noRoute
}

// find returns the route of r in the current table, with the values of its wildcards. The table has
// one user more until the caller, or the session that the request leads to, calls its leave.
func (ts *routeTables) find(r *wsproto.Request) (*route, error) {
	t := ts.enter()
	i, values, err := t.patterns.find(r)
	if err != nil {
		t.leave()
		return nil, err
	}
	r.SetPathValues(wsproto.NewPathValues(t.routes[i].wildcards, values))
	return t.routes[i], nil
}

// enter returns the current table, with one user more.
func (ts *routeTables) enter() *routeTable {
	for {
		t := ts.current.Load()
		for n := t.users.Load(); n > 0; n = t.users.Load() {
			if t.users.CompareAndSwap(n, n+1) {
				return t
			}
		}
		// It has been replaced, and its last user has left, since it was loaded.
	}
}

// leave takes back enter. When the last user has left, the table is gone.
func (t *routeTable) leave() {
	if t.users.Add(-1) == 0 {
		t.owner.remove(t)
	}
}

func (ts *routeTables) remove(t *routeTable) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	list := slices.Clone(*ts.byNumber.Load())
	for _, r := range t.routes {
		list[r.number] = nil
		if p := r.pool.Load(); p != nil {
			p.retire()
		}
	}
	ts.byNumber.Store(&list)
	ts.alive--
}

// set makes a table of these routes the current one. On an error nothing has changed.
func (ts *routeTables) set(routes []*route, p *patterns) error {
	for _, r := range routes {
		if r.Outbound != CloseSlow {
			ts.lossy.Store(true)
		}
	}
	ts.mu.Lock()
	old, err := ts.replace(routes, p)
	ts.mu.Unlock()
	if old != nil {
		old.leave()
	}
	return err
}

// replace expects the lock. It returns the table that was the current one, to be left.
func (ts *routeTables) replace(routes []*route, p *patterns) (*routeTable, error) {
	if ts.alive == MaxRouteTables {
		return nil, ErrRouteTables
	}
	t := &routeTable{owner: ts, generation: ts.generation + 1, routes: routes, patterns: p}
	t.users.Store(1)
	list := slices.Clone(*ts.byNumber.Load())
	number := 0
	for _, r := range routes {
		for number < len(list) && list[number] != nil {
			number++
		}
		switch {
		case number == maxRoutes:
			return nil, ErrRouteTables
		case number == len(list):
			list = append(list, r)
		default:
			list[number] = r
		}
		r.table, r.number = t, uint16(number)
		if r.BlockingCalls = min(r.BlockingCalls, maxCount); r.BlockingCalls == 0 {
			r.BlockingCalls = ts.calls.size
		}
	}
	ts.byNumber.Store(&list)
	ts.generation++
	ts.alive++
	return ts.current.Swap(t), nil
}

// known reports whether a table that is alive has a route with that Route.Path.
func (ts *routeTables) known(path string) bool {
	return slices.ContainsFunc(*ts.byNumber.Load(), func(r *route) bool { return r != nil && r.Path == path })
}

// open returns how many sessions of the routes with that Route.Path are open.
func (ts *routeTables) open(path string) (n int) {
	for _, r := range *ts.byNumber.Load() {
		if r != nil && r.Path == path {
			n += int(r.open.Load())
		}
	}
	return n
}

// stats returns the generation of the current table, and how many tables are alive.
func (ts *routeTables) stats() (generation uint64, alive int) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.generation, ts.alive
}

// SetRoutes replaces all routes at once. Open sessions, and requests that have already found their
// route, keep that route: its handler, limits, Farewell and everything else. New requests are
// served by the new routes alone.
//
// Earlier routes are freed when their last session has ended and its OnClose has returned. At most
// MaxRouteTables tables exist at a time, the current one included. Beyond that SetRoutes fails
// until the sessions of an earlier table have ended.
//
// Any goroutine may call it at any time, handlers included. Concurrent calls take effect one after
// the other.
//
// Errors: those of NewServer for Config.Routes, all in one error, and ErrRouteTables. On an error
// nothing has changed.
func (s *Server) SetRoutes(routes []Route) error {
	list, p, err := compileRoutes(routes, s.cfg.FragmentRate)
	if err != nil {
		return err
	}
	return s.table.routes.set(list, p)
}

// Routes returns the routes that new requests are served by, with defaults filled in.
func (s *Server) Routes() []Route {
	t := s.table.routes.enter()
	defer t.leave()
	list := make([]Route, len(t.routes))
	for i, r := range t.routes {
		list[i] = r.Route
		if r.httpOnly {
			list[i].Handler = nil
		}
	}
	return list
}

// compileRoutes checks routes and makes what serves them. The error joins all that is wrong.
func compileRoutes(routes []Route, fragmentRate int) (list []*route, p *patterns, err error) {
	if len(routes) == 0 {
		return nil, nil, errors.New("session: there are no routes")
	}
	if len(routes) > maxRoutes {
		return nil, nil, fmt.Errorf("session: more than %d routes", maxRoutes)
	}
	p, err = newPatterns(routes)
	if p == nil {
		return nil, nil, err
	}
	for i := range routes {
		r, e := newRoute(routes[i], fragmentRate)
		r.wildcards, r.ownPath = p.routes[i].wildcards, p.routes[i].ownPath
		list, err = append(list, r), errors.Join(err, e)
	}
	return list, p, err
}
