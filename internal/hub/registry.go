package hub

import (
	"hash/maphash"
	"iter"
	"sync"
)

// Registry is a name space of channels. Hub.NewRegistry makes one.
type Registry struct {
	hub      *Hub
	tag      channelRef // its place in Hub.registries, in the upper bits
	occupied Occupied
	seed     maphash.Seed
	shards   [64]registryShard
}

type registryShard struct {
	mu          sync.RWMutex
	m           map[string]*channel
	occupied    int // channels that have members
	memberships int
}

// Occupied is told of the first member that comes to a channel (true) and of the last one that leaves it
// (false). For one channel the calls alternate, beginning with true. It is called under a lock: it must
// return soon and must not call the hub. A caller that has more to do takes a note and does it elsewhere.
type Occupied func(channel string, occupied bool)

// channelRef is a registry's tag and the index of a channel.
type channelRef uint32

const (
	tagShift         = 30
	maxRegistries    = 1 << (32 - tagShift)
	maxSubscriptions = 1 << tagShift
)

func (r channelRef) index() uint32   { return uint32(r) &^ uint32(tagMask) }
func (r channelRef) tag() channelRef { return r & tagMask }

const tagMask channelRef = (maxRegistries - 1) << tagShift

// Subscriptions is the list of a member's memberships, of all registries. Zero is a member of none. The
// caller keeps it, and changes it only through Join, Leave and LeaveAll. 4 bytes.
type Subscriptions uint32

// NewRegistry adds a registry, before the hub is used: at most 4. occupied may be nil.
func (h *Hub) NewRegistry(occupied Occupied) *Registry {
	if len(h.registries) == maxRegistries {
		panic("hub: too many registries")
	}
	r := &Registry{hub: h, tag: channelRef(len(h.registries)) << tagShift, occupied: occupied, seed: maphash.MakeSeed()}
	for i := range r.shards {
		r.shards[i].m = make(map[string]*channel)
	}
	h.registries = append(h.registries, r)
	return r
}

// Join makes m a member of a channel and reports whether it was not one before. m gets the publications
// whose numbers are given after Join has returned, and some of those given meanwhile: all from one of
// them on. limit is how many channels of this registry m may be in.
//
// Errors: ErrTooMany.
func (r *Registry) Join(m Member, subs *Subscriptions, channel string, limit int) (joined bool, err error) {
	h, sh := r.hub, r.shard(channel)
	known, n := sh.find(channel), 0
	for i := uint32(*subs); i != 0; {
		sub := h.subs.At(i - 1)
		if known != nil && sub.channel == known.ref { // it cannot have ended while m is in it
			return false, nil
		}
		if sub.channel.tag() == r.tag {
			n++
		}
		i = sub.next
	}
	if n >= limit {
		return false, ErrTooMany
	}
	i, ok := h.subs.Get()
	if !ok {
		return false, ErrTooMany
	}
	ch := r.enter(sh, channel)
	if ch == nil {
		h.subs.Put(i)
		return false, ErrTooMany
	}
	sub := h.subs.At(i)
	sub.next, sub.channel = uint32(*subs), ch.ref
	*subs = Subscriptions(i + 1)
	ch.add(h, m, i)
	return true, nil
}

// Leave ends a membership and reports whether there was one.
func (r *Registry) Leave(m Member, subs *Subscriptions, channel string) (left bool) {
	sh := r.shard(channel)
	ch := sh.find(channel)
	if ch == nil {
		return false
	}
	h := r.hub
	for at := (*uint32)(subs); *at != 0; {
		i := *at - 1
		sub := h.subs.At(i)
		if sub.channel != ch.ref {
			at = &sub.next
			continue
		}
		*at = sub.next
		ch.remove(h, m, sub)
		h.subs.Put(i)
		r.exit(sh, ch)
		return true
	}
	return false
}

// LeaveAll ends all memberships of m, in all registries.
func (h *Hub) LeaveAll(m Member, subs *Subscriptions) {
	for *subs != 0 {
		i := uint32(*subs) - 1
		sub := h.subs.At(i)
		ch := h.channel(sub.channel)
		r := h.registries[sub.channel>>tagShift]
		*subs = Subscriptions(sub.next)
		ch.remove(h, m, sub)
		h.subs.Put(i)
		r.exit(r.shard(ch.name), ch)
	}
}

// Names returns the channels of this registry that a member is in, the last one joined first. Calls
// that change subs must not overlap with it.
func (r *Registry) Names(subs Subscriptions) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := uint32(subs); i != 0; {
			sub := r.hub.subs.At(i - 1)
			if sub.channel.tag() == r.tag && !yield(r.hub.channel(sub.channel).name) {
				return
			}
			i = sub.next
		}
	}
}

// Members returns the members of a channel. One that joins or leaves meanwhile may be missing.
func (r *Registry) Members(channel string) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		ch := r.shard(channel).find(channel)
		if ch == nil {
			return
		}
		for l := range ch.all() {
			for _, m := range l {
				if !yield(m) {
					return
				}
			}
		}
	}
}

// Count returns how many members a channel has.
func (r *Registry) Count(channel string) int {
	if ch := r.shard(channel).find(channel); ch != nil {
		return int(ch.count.Load())
	}
	return 0
}

// Channels returns the channels that have members, and how many, in no order.
func (r *Registry) Channels() iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		for i := range r.shards {
			for _, ch := range r.shards[i].all() {
				if n := ch.count.Load(); n > 0 && !yield(ch.name, int(n)) {
					return
				}
			}
		}
	}
}

// Used returns how many channels have members, and how many memberships there are.
func (r *Registry) Used() (channels, memberships int) {
	for i := range r.shards {
		sh := &r.shards[i]
		sh.mu.RLock()
		channels += sh.occupied
		memberships += sh.memberships
		sh.mu.RUnlock()
	}
	return channels, memberships
}

func (r *Registry) shard(channel string) *registryShard {
	return &r.shards[maphash.String(r.seed, channel)%uint64(len(r.shards))]
}

func (h *Hub) channel(ref channelRef) *channel { return h.channels.At(ref.index()).Load() }

// find returns the channel, or nil.
func (sh *registryShard) find(channel string) *channel {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.m[channel]
}

func (sh *registryShard) all() []*channel {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	l := make([]*channel, 0, len(sh.m))
	for _, ch := range sh.m {
		l = append(l, ch)
	}
	return l
}

// enter returns the channel, with one member more counted, or nil if there are too many channels.
func (r *Registry) enter(sh *registryShard, name string) *channel {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	ch := sh.m[name]
	if ch == nil {
		i, ok := r.hub.channels.Get()
		if !ok {
			return nil
		}
		ch = &channel{name: name, ref: r.tag | channelRef(i)}
		r.hub.channels.At(i).Store(ch)
		sh.m[name] = ch
	}
	sh.memberships++
	if ch.count.Add(1) > 1 {
		return ch
	}
	sh.occupied++
	if r.occupied != nil {
		r.occupied(name, true)
	}
	return ch
}

// exit takes the count of enter back.
func (r *Registry) exit(sh *registryShard, ch *channel) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.memberships--
	if ch.count.Add(-1) > 0 {
		return
	}
	sh.occupied--
	if r.occupied != nil {
		r.occupied(ch.name, false)
	}
	r.settleLocked(sh, ch)
}

// settle ends a channel that has become empty while publications to it were being delivered.
func (r *Registry) settle(ch *channel) {
	sh := r.shard(ch.name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r.settleLocked(sh, ch)
}

// settleLocked ends a channel that has neither members nor publications on their way. Otherwise a
// publication to the next channel of that name could overtake them on its way to a member that leaves and
// comes back. Whoever ends such a publication looks at the count afterwards, and settles the channel then.
func (r *Registry) settleLocked(sh *registryShard, ch *channel) {
	if ch.count.Load() > 0 || sh.m[ch.name] != ch || !ch.order.TryLock() {
		return
	}
	defer ch.order.Unlock()
	if s := ch.spread.Load(); s != nil && s.waiting.Load() > 0 {
		return
	}
	delete(sh.m, ch.name)
	r.hub.channels.At(ch.ref.index()).Store(nil)
	r.hub.channels.Put(ch.ref.index())
}
