package hub

import (
	"iter"
	"sync"
	"sync/atomic"
)

// smallLen is how many members a small channel has at most, and how many members a fan-out goroutine
// delivers to before others get the processor: some 250 µs.
const smallLen = 64

// channel is a set of members. 80 bytes, a size class of the allocator's, while it is small.
type channel struct {
	name   string
	spread atomic.Pointer[spread] // nil while it is small; set once, under mu
	order  sync.Mutex             // whose turn it is to publish
	seq    atomic.Uint64          // number of the last publication; written under order
	mu     sync.Mutex             // guards small
	small  list                   // the members while spread is nil
	ref    channelRef
	count  atomic.Int32 // members; written under the shard's lock, see Registry.settle
}

// spread is what a large channel has beside.
type spread struct {
	parts   []part
	waiting atomic.Int32 // publications in the queues
}

func (s *spread) part(m Member) *part { return &s.parts[m.Index()%uint32(len(s.parts))] }

// lockSmall locks mu and reports true while the channel is small.
func (ch *channel) lockSmall() bool {
	if ch.spread.Load() != nil {
		return false
	}
	ch.mu.Lock()
	if ch.spread.Load() != nil { // meanwhile
		ch.mu.Unlock()
		return false
	}
	return true
}

func (ch *channel) add(h *Hub, id Member, sub uint32) {
	if ch.lockSmall() {
		if len(ch.small) < smallLen {
			ch.small.add(h, member{id: id, sub: sub})
			ch.mu.Unlock()
			return
		}
		ch.grow(h)
		ch.mu.Unlock()
	}
	p := ch.spread.Load().part(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	// A publication with a later number than this one is begun after the lock is released.
	p.list.add(h, member{id: id, sub: sub, since: joinedAt(ch.seq.Load())})
}

// grow spreads the members over parts. It expects mu. A publisher may still deliver to those that it has
// copied, and holds order for so long.
func (ch *channel) grow(h *Hub) {
	s := &spread{parts: make([]part, h.parts)}
	for _, m := range ch.small {
		s.part(m.id).list.add(h, m)
	}
	ch.small = nil
	ch.spread.Store(s)
}

func (ch *channel) remove(h *Hub, id Member, sub *subscription) {
	if ch.lockSmall() {
		defer ch.mu.Unlock()
		ch.small.remove(h, sub.place)
		return
	}
	p := ch.spread.Load().part(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(h, sub.place)
}

// next takes the next number for a publication that can be delivered at once, and appends the members
// that get it to dst. It expects order. It reports false if the channel is large, unless most members have
// left it and nothing waits to be delivered to them.
func (ch *channel) next(dst []Member) (to []Member, sequence uint64, ok bool) {
	if ch.lockSmall() {
		defer ch.mu.Unlock()
		return ch.small.appendTo(dst), ch.seq.Add(1), true
	}
	s := ch.spread.Load()
	if ch.count.Load() > smallLen || s.waiting.Load() > 0 {
		return nil, 0, false
	}
	sequence = ch.seq.Add(1)
	for i := range s.parts {
		dst = s.parts[i].appendTo(dst, sequence)
	}
	return dst, sequence, true
}

// all returns the members by parts. A member that joins or leaves meanwhile may be missing, no other.
func (ch *channel) all() iter.Seq[[]Member] {
	return func(yield func([]Member) bool) {
		if ch.lockSmall() {
			l := ch.small.appendTo(make([]Member, 0, len(ch.small)))
			ch.mu.Unlock()
			yield(l)
			return
		}
		parts := ch.spread.Load().parts
		for i := range parts {
			p := &parts[i]
			p.mu.Lock()
			l := p.list.appendTo(make([]Member, 0, len(p.list)))
			p.mu.Unlock()
			if !yield(l) {
				return
			}
		}
	}
}
