package lanes

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"time"
)

// Config says how large a pool is and whom it tells.
type Config[K comparable] struct {
	// Size is how many goroutines the pool has at most, and so how many calls run at a time.
	Size int
	// MaxWaiting is how many lanes may wait for a goroutine before Full reports true. 0 means that
	// Full never does.
	MaxWaiting int
	// IdleTimeout is how long a goroutine stays without work; it ends after at most twice that
	// time. 0 means 10 seconds.
	IdleTimeout time.Duration

	// Drained, if not nil, is called when all calls of a key have been made, however the last one
	// ended. It is called without locks, from the goroutine of the last call or from one that took
	// its place. Busy reports false by then, unless there was another Post. It is not called for
	// a lane that Forget emptied while it waited. It must neither block nor panic.
	Drained func(key K)
	// Failed, if not nil, is called when a call does not return: v is what it panicked with, or
	// nil if it ended its goroutine with runtime.Goexit. The stack is still that of the panic.
	// Failed may call runtime.Goexit itself, but must not panic. Without Failed a panic ends the
	// process, as in any goroutine.
	Failed func(key K, v any)
}

// Pool runs calls. Its methods may be called from any goroutine, also from calls of the pool. One
// exception: a call of the pool must not call Close, which would wait for that very call.
//
// T is the type of the tombstones, see PostLast.
type Pool[K comparable, T any] struct {
	cfg    Config[K]
	seed   maphash.Seed
	shards [32]shard[K, T]

	// Guarded by mu, which may not be held together with the lock of a shard. While a lane waits,
	// no worker is idle and there are Size of them.
	mu      sync.Mutex
	workers []*worker[K, T]
	idle    []*worker[K, T] // the one that became idle last is the last
	waiting queue[K, T]
	closed  bool
	ended   sync.Cond // a worker has ended after Close, or the context of a Close is over

	// The sweep that ends idle workers; guarded by mu.
	sweeper  *time.Timer
	sweeping bool   // sweeper runs
	sweeps   uint64 // so far
}

// New returns a pool. It starts nothing.
//
// Errors: Size is not positive, or another number is negative.
func New[K comparable, T any](cfg Config[K]) (*Pool[K, T], error) {
	if cfg.Size <= 0 {
		return nil, errors.New("lanes: Size must be positive")
	}
	if cfg.MaxWaiting < 0 || cfg.IdleTimeout < 0 {
		return nil, errors.New("lanes: MaxWaiting and IdleTimeout must not be negative")
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = 10 * time.Second
	}
	p := &Pool[K, T]{cfg: cfg, seed: maphash.MakeSeed()}
	p.ended.L = &p.mu
	return p, nil
}

// Post has f called after everything that has been posted for key before. It does not wait. It
// works after Close too.
func (p *Pool[K, T]) Post(key K, f func()) { p.post(key, nil, f) }

// PostLast is Post for the last call of key, such as the one that tells of its end. From now on
// until the lane is drained, Tombstone returns the given value, so that something is still known of
// key.
func (p *Pool[K, T]) PostLast(key K, tombstone T, f func()) { p.post(key, &tombstone, f) }

// Busy reports whether a call of key waits or runs.
func (p *Pool[K, T]) Busy(key K) bool {
	sh := p.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.lanes[key] != nil
}

// Tombstone returns what PostLast or UpdateTombstone has left for key. It reports false if there is
// nothing, or if the last call has returned.
func (p *Pool[K, T]) Tombstone(key K) (T, bool) {
	sh := p.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l := sh.lanes[key]; l != nil && l.tombstone != nil {
		return *l.tombstone, true
	}
	var none T
	return none, false
}

// UpdateTombstone calls change with the tombstone of key, and reports whether there is one. change
// is called with a lock held: it must be short, and must not call the pool.
func (p *Pool[K, T]) UpdateTombstone(key K, change func(*T)) bool {
	sh := p.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	l := sh.lanes[key]
	if l == nil || l.tombstone == nil {
		return false
	}
	change(l.tombstone)
	return true
}

// Forget drops the calls of key that have not begun, together with its tombstone. A call that runs
// is not interrupted.
func (p *Pool[K, T]) Forget(key K) {
	sh := p.shard(key)
	sh.mu.Lock()
	l := sh.lanes[key]
	if l != nil {
		l.drop()
	}
	sh.mu.Unlock()
	if l == nil || !p.unqueue(l) {
		return // nothing waits, or a worker serves the lane and ends it
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	delete(sh.lanes, key) // with what has been posted meanwhile
}

// Full reports whether so many lanes wait that no new work should be accepted.
func (p *Pool[K, T]) Full() bool {
	if p.cfg.MaxWaiting == 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting.len >= p.cfg.MaxWaiting
}

// Stats are the gauges of a pool.
type Stats struct {
	Size    int // goroutines at most
	Busy    int // goroutines that serve a lane
	Waiting int // lanes that wait for a goroutine
}

// Stats returns the gauges as they are now.
func (p *Pool[K, T]) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.statsLocked()
}

func (p *Pool[K, T]) statsLocked() Stats {
	return Stats{Size: p.cfg.Size, Busy: len(p.workers) - len(p.idle), Waiting: p.waiting.len}
}

// Close waits until all calls have been made, those that wait included, or until ctx is over. It
// returns what is left then: nothing is busy and nothing waits if all calls have returned. Idle
// goroutines end at once, the others when their calls return. Calls that are posted later are still
// made.
func (p *Pool[K, T]) Close(ctx context.Context) Stats {
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ended.Broadcast()
	})
	defer stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.endIdle(len(p.idle))
	for len(p.workers) > 0 && ctx.Err() == nil {
		p.ended.Wait()
	}
	return p.statsLocked()
}
