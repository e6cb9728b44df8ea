package netpoll

import (
	"sync"
	"sync/atomic"
	"time"
)

// list is a singly linked list of connections through slot.next, oldest first.
type list struct {
	head, tail uint32 // index + 1, 0 for none
	n          int
}

func (l *list) push(r *Reactor, index uint32) {
	r.slots.At(index).next = 0
	if l.tail == 0 {
		l.head = index + 1
	} else {
		r.slots.At(l.tail - 1).next = index + 1
	}
	l.tail = index + 1
	l.n++
}

func (l *list) append(r *Reactor, m list) {
	if m.n == 0 {
		return
	}
	if l.tail == 0 {
		l.head = m.head
	} else {
		r.slots.At(l.tail - 1).next = m.head
	}
	l.tail = m.tail
	l.n += m.n
}

// take removes up to max connections from the front and writes their indices to dst.
func (l *list) take(r *Reactor, dst []uint32, max int) int {
	n := 0
	for n < max && n < len(dst) && l.head != 0 {
		index := l.head - 1
		dst[n] = index
		n++
		l.head = r.slots.At(index).next
	}
	if l.head == 0 {
		l.tail = 0
	}
	l.n -= n
	return n
}

// takeMax is how many connections a worker takes per lock. Few enough that what waits
// behind a slow turn stays in the list, where another worker finds it.
const takeMax = 16

// worker serves connections from its own list, and from the others' when that is empty.
type worker struct {
	r     *Reactor
	index int // in pool.workers
	turn  Turn
	wake  chan struct{}

	mu       sync.Mutex
	list     list
	stamps   stamps
	sleeping bool

	// Of run, here so that another goroutine can go on with it.
	batch       [takeMax]uint32
	next, taken int // batch[next:taken] has yet to be served
	began       time.Time

	waiting atomic.Int32 // list.n, for those who look without the lock
	idle    atomic.Bool  // sleeping, likewise

	_ [64]byte // the next worker's lock is not on this one's cache line
}

// push appends a batch under one lock, and wakes the worker if it sleeps.
func (w *worker) push(l list, now time.Time) {
	w.mu.Lock()
	w.stamps.push(l.n, now)
	w.list.append(w.r, l)
	w.waiting.Store(int32(w.list.n))
	wake := w.sleeping
	if wake {
		w.sleeping = false
		w.idle.Store(false)
	}
	w.mu.Unlock()
	if wake {
		w.wake <- struct{}{} // capacity 1, and only the one who ended the sleep sends
	}
}

// take moves connections from v's list, which may be w's own, into dst.
func (w *worker) take(v *worker, dst []uint32) int {
	if v.waiting.Load() == 0 {
		return 0
	}
	v.mu.Lock()
	max := takeMax
	if v != w {
		max = min(takeMax, (v.list.n+1)/2)
	}
	n := v.list.take(v.r, dst, max)
	v.waiting.Store(int32(v.list.n))
	since := v.stamps.take(n)
	v.mu.Unlock()
	if n > 0 {
		w.r.stats.observeWait(w.turn.id, time.Since(since), n)
	}
	return n
}

// stamps remembers when the connections of a list were pushed, batch by batch. When there
// are more batches than it can tell apart, the newest ones count as pushed together.
type stamps struct {
	ring [32]struct {
		n  int
		at time.Time
	}
	head, len int
}

func (s *stamps) push(n int, at time.Time) {
	if n == 0 {
		return
	}
	if s.len == len(s.ring) {
		s.ring[(s.head+s.len-1)%len(s.ring)].n += n
		return
	}
	e := &s.ring[(s.head+s.len)%len(s.ring)]
	e.n, e.at = n, at
	s.len++
}

// take removes the n oldest and returns when the first of them was pushed.
func (s *stamps) take(n int) (first time.Time) {
	first = s.ring[s.head].at
	for n > 0 && s.len > 0 {
		e := &s.ring[s.head]
		k := min(n, e.n)
		e.n -= k
		n -= k
		if e.n == 0 {
			s.head = (s.head + 1) % len(s.ring)
			s.len--
		}
	}
	return first
}

// run is the worker's goroutine: started by Reactor.Start, ended by Reactor.Close closing
// r.stop, awaited through r.left.
func (w *worker) run() {
	for {
		for w.next < w.taken {
			index := w.batch[w.next]
			w.next++
			w.turn.run(index)
		}
		if w.taken > 0 {
			w.next, w.taken = 0, 0
			w.turn.busySince.Store(0)
			w.turn.stats.busy.Add(uint64(time.Since(w.began)))
		}
		if w.r.closing.Load() || !w.fetch() && !w.sleep() {
			break
		}
	}
	w.r.leave(&w.turn)
}

// fetch takes the next batch, the worker's own or another's.
func (w *worker) fetch() bool {
	n, all := 0, w.r.pool.workers
	for i := 0; n == 0 && i < len(all); i++ {
		n = w.take(all[(w.index+i)%len(all)], w.batch[:])
	}
	if n == 0 {
		return false
	}
	w.next, w.taken = 0, n
	w.began = time.Now()
	w.turn.busySince.Store(w.began.UnixNano())
	return true
}

// sleep waits for a push; false means that the reactor is closing.
func (w *worker) sleep() bool {
	w.mu.Lock()
	if w.list.n > 0 {
		w.mu.Unlock()
		return true
	}
	w.sleeping = true
	w.idle.Store(true)
	w.mu.Unlock()
	select {
	case <-w.wake:
		return true
	case <-w.r.stop:
		return false
	}
}

// pool is the workers of a reactor.
type pool struct {
	r       *Reactor
	workers []*worker
	next    atomic.Uint32 // where choose begins to look
}

// dispatch spreads a batch over the workers: a small one goes to one worker, so that only
// one is woken, a large one is cut into as many parts as there are workers. Sleeping
// workers come first, since a busy one may be held up by a slow handler.
func (p *pool) dispatch(l list) {
	if l.n == 0 {
		return
	}
	now := time.Now()
	parts := min(len(p.workers), (l.n+takeMax-1)/takeMax)
	for parts > 1 {
		part := list{}
		for range l.n / parts {
			index := l.head - 1
			l.head = p.r.slots.At(index).next
			l.n--
			part.push(p.r, index)
		}
		p.choose().push(part, now)
		parts--
	}
	p.choose().push(l, now)
}

// choose returns a worker that sleeps, or else the next one in turn.
func (p *pool) choose() *worker {
	n := uint32(len(p.workers))
	first := p.next.Add(1)
	for i := range n {
		if w := p.workers[(first+i)%n]; w.idle.Load() {
			return w
		}
	}
	return p.workers[first%n]
}

// enlist puts one connection, whose word is queued, at the tail of a worker's list.
func (p *pool) enlist(index uint32) {
	var l list
	l.push(p.r, index)
	p.choose().push(l, time.Now())
}

// nudge wakes a sleeping worker when another one has connections waiting: the backstop for
// a worker that is held up with a list behind it. Called by every Sweep.
func (p *pool) nudge() {
	for _, w := range p.workers {
		if w.waiting.Load() == 0 {
			continue
		}
		for _, v := range p.workers {
			if v.idle.Load() {
				v.push(list{}, time.Time{})
				break
			}
		}
	}
}
