package lanes

import (
	"hash/maphash"
	"sync"
)

// shard holds the lanes of some of the keys.
type shard[K comparable, T any] struct {
	mu    sync.Mutex
	lanes map[K]*lane[K, T] // nil until the first
}

// lane is the calls of one key that wait or run. It is in its shard for as long as there are any,
// and then either in the pool's queue or with one worker.
type lane[K comparable, T any] struct {
	key K

	// Guarded by the lock of the shard.
	calls     []func()
	few       [2]func() // where calls begins
	tombstone *T        // nil unless PostLast has been called

	// Guarded by the lock of the pool.
	prev, next *lane[K, T]
	queued     bool
}

func (p *Pool[K, T]) shard(key K) *shard[K, T] {
	return &p.shards[maphash.Comparable(p.seed, key)%uint64(len(p.shards))]
}

func (p *Pool[K, T]) post(key K, tombstone *T, f func()) {
	sh := p.shard(key)
	sh.mu.Lock()
	l := sh.lanes[key]
	first := l == nil
	if first {
		l = &lane[K, T]{key: key}
		l.calls = l.few[:0]
		if sh.lanes == nil {
			sh.lanes = make(map[K]*lane[K, T])
		}
		sh.lanes[key] = l
	}
	if tombstone != nil {
		l.tombstone = tombstone
	}
	l.calls = append(l.calls, f)
	sh.mu.Unlock()
	if first {
		p.schedule(l)
	}
}

// drop drops the calls that have not begun. It expects the lock of the shard.
func (l *lane[K, T]) drop() {
	clear(l.calls)
	l.calls = l.calls[:0]
	l.tombstone = nil
}

// take removes the next call from a lane. It returns nil if Forget has dropped all of them.
func (p *Pool[K, T]) take(l *lane[K, T]) (f func()) {
	sh := p.shard(l.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(l.calls) == 0 {
		return nil
	}
	f, l.calls[0] = l.calls[0], nil
	l.calls = l.calls[1:]
	return f
}

// finish ends a lane that has no more calls, and reports whether it did.
func (p *Pool[K, T]) finish(l *lane[K, T]) bool {
	sh := p.shard(l.key)
	sh.mu.Lock()
	more := len(l.calls) > 0
	if !more {
		delete(sh.lanes, l.key)
		l.tombstone = nil // an idle goroutine may still refer to its last lane
	}
	sh.mu.Unlock()
	if !more && p.cfg.Drained != nil {
		p.cfg.Drained(l.key)
	}
	return !more
}

// queue is the lanes that wait, the oldest first. A lane can be taken out of the middle.
type queue[K comparable, T any] struct {
	first, last *lane[K, T]
	len         int
}

func (q *queue[K, T]) push(l *lane[K, T]) {
	l.queued, l.prev, l.next = true, q.last, nil
	if q.last == nil {
		q.first = l
	} else {
		q.last.next = l
	}
	q.last = l
	q.len++
}

// pop returns nil if nothing waits.
func (q *queue[K, T]) pop() *lane[K, T] {
	l := q.first
	if l != nil {
		q.remove(l)
	}
	return l
}

// remove reports whether l was there.
func (q *queue[K, T]) remove(l *lane[K, T]) bool {
	if !l.queued {
		return false
	}
	if l.prev == nil {
		q.first = l.next
	} else {
		l.prev.next = l.next
	}
	if l.next == nil {
		q.last = l.prev
	} else {
		l.next.prev = l.prev
	}
	l.queued, l.prev, l.next = false, nil, nil
	q.len--
	return true
}
