package session

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"wsgateway/internal/lanes"
)

// callPool runs the calls of one route that may block, see MayBlock and UpgradeMayBlock. The calls of
// one connection come one at a time, in order. What waits is bounded by the number of connections:
// none is read from while a call of its waits or runs. Each route has a pool of its own: a backend
// that is stuck holds up the clients of its route, and no others.
type callPool struct {
	*lanes.Pool[conn, *tombstone]
	path    string // Route.Path; the route itself may be freed before the pool is
	retired atomic.Bool
}

// callPools makes the pools of the routes when they are first needed, and knows them until their calls
// have returned.
type callPools struct {
	size int                // of a pool whose route does not say
	cfg  lanes.Config[conn] // without Size
	// made is replaced, not changed: Session's methods look for tombstones in all pools.
	made atomic.Pointer[[]*callPool]

	mu     sync.Mutex // guards what follows, and replacing made
	closed bool
}

// newCallPools makes no pool yet. capacity is how many connections there may be.
func newCallPools(s *Server, size, capacity int) *callPools {
	ps := &callPools{size: size, cfg: lanes.Config[conn]{
		MaxWaiting: capacity,
		Drained:    func(c conn) { _ = s.tr.Wake(c) }, // or it is gone
		Failed:     func(c conn, v any) { Session{s, c}.callFailed(v) },
	}}
	ps.made.Store(new([]*callPool))
	return ps
}

// calls returns the route's pool, and makes it when it is first called.
func (r *route) calls() *callPool {
	if p := r.pool.Load(); p != nil {
		return p
	}
	return r.table.owner.calls.make(r)
}

func (ps *callPools) make(r *route) *callPool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := r.pool.Load(); p != nil {
		return p
	}
	cfg := ps.cfg
	cfg.Size = r.BlockingCalls
	pool, err := lanes.New[conn, *tombstone](cfg)
	if err != nil {
		panic(err) // the configuration has been checked
	}
	p := &callPool{Pool: pool, path: r.Path}
	if ps.closed {
		p.Close(over)
	}
	made := append(slices.Clone(*ps.made.Load()), p)
	ps.made.Store(&made)
	r.pool.Store(p)
	return p
}

// over is a context that has ended.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// retire ends the pool of a route that is gone, once its last call has returned.
func (p *callPool) retire() {
	p.Close(over)
	p.retired.Store(true)
}

// dropRetired forgets the pools of routes that are gone, if all their calls have returned.
func (ps *callPools) dropRetired() {
	idle := func(p *callPool) bool {
		st := p.Stats()
		return p.retired.Load() && st.Busy == 0 && st.Waiting == 0
	}
	if !slices.ContainsFunc(ps.all(), idle) {
		return
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	made := slices.DeleteFunc(slices.Clone(*ps.made.Load()), idle)
	ps.made.Store(&made)
}

// all returns the pools that there are.
func (ps *callPools) all() []*callPool { return *ps.made.Load() }

// tombstone returns what is known of a session that has ended and whose OnClose has not returned; nil
// if there is none. It is immutable.
func (ps *callPools) tombstone(c conn) *tombstone {
	for _, p := range ps.all() {
		if t, ok := p.Tombstone(c); ok {
			return t
		}
	}
	return nil
}

// change changes the details in a tombstone, and reports whether there is one.
func (ps *callPools) change(c conn, f func(d *details)) bool {
	for _, p := range ps.all() {
		changed := p.UpdateTombstone(c, func(t **tombstone) {
			next := **t
			f(&next.details)
			*t = &next
		})
		if changed {
			return true
		}
	}
	return false
}

// close waits until all calls have been made, but no longer than d. It returns how many still wait or
// run.
func (ps *callPools) close(d time.Duration) (left int) {
	ps.mu.Lock()
	ps.closed = true
	ps.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	for _, p := range ps.all() {
		st := p.Close(ctx)
		left += st.Busy + st.Waiting
	}
	return left
}

// BlockingStats are the gauges of the pools for calls that may block, or of one of them.
type BlockingStats struct {
	Size    int // calls at a time, at most
	Busy    int // calls that run
	Waiting int // sessions and requests whose call waits for its turn
}

// blockingStats returns the gauges of every route with a pool, by Route.Path, and their sum. Pools of
// earlier routes count until their last call has returned.
func (s *Server) blockingStats() (sum BlockingStats, byRoute map[string]BlockingStats) {
	byRoute = make(map[string]BlockingStats)
	add := func(path string, st BlockingStats) {
		of := byRoute[path]
		byRoute[path] = of.plus(st)
		sum = sum.plus(st)
	}
	t := s.table.routes.enter()
	defer t.leave()
	for _, r := range t.routes {
		if r.needsPool() && r.pool.Load() == nil {
			add(r.Path, BlockingStats{Size: r.BlockingCalls})
		}
	}
	for _, p := range s.calls.all() {
		add(p.path, BlockingStats(p.Stats()))
	}
	return sum, byRoute
}

func (b BlockingStats) plus(o BlockingStats) BlockingStats {
	return BlockingStats{b.Size + o.Size, b.Busy + o.Busy, b.Waiting + o.Waiting}
}
