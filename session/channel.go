package session

import (
	"errors"
	"hash/maphash"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"wsgateway/internal/slab"
)

var (
	// ErrChannelName is returned for the name of a channel that is empty, longer than
	// MaxChannelName bytes, no UTF-8 or has control characters.
	ErrChannelName = errors.New("session: not the name of a channel")
	// ErrTooManyChannels is returned when a session is in as many channels as it may be.
	ErrTooManyChannels = errors.New("session: in too many channels")
	// ErrBusy is returned when so many publications wait to be sent that another one is not
	// taken. None of the members gets it.
	ErrBusy = errors.New("session: too many publications wait")
)

// MaxChannelName is the longest name of a channel in bytes: room for names of 200 with a prefix.
const MaxChannelName = 256

func validChannel(name string) bool {
	return name != "" && len(name) <= MaxChannelName && utf8.ValidString(name) && strings.IndexFunc(name, unicode.IsControl) < 0
}

// channels is the registry of channels and of who is in them.
//
// Locks, in this order: that of a session's subscriptions, a shard, a part. Nothing is called
// while one is held.
type channels struct {
	shards [64]channelShard
	seed   maphash.Seed
	list   *slab.Pool[atomic.Pointer[channel]]
	subs   *slab.Pool[subscription]
	owners [256]sync.Mutex // of the subscriptions of a session, by its index
	parts  int
	count  atomic.Int64 // channels
}

type channelShard struct {
	mu sync.RWMutex
	m  map[string]*channel
}

// channel is a set of sessions. The members of a small one are all in one part, which whoever publishes
// sends to. Once there are more than fit into a slice of the fan-out's they are spread over parts by
// their index, for good: each part is sent to by one goroutine, in order. 80 bytes while it is small.
type channel struct {
	name    string
	spread  atomic.Pointer[[]part] // nil while it is small; set under the lock of one
	index   uint32                 // in channels.list
	members int32                  // under the shard's lock; see channels.settle
	pending atomic.Int32           // publications that wait for the fan-out; 0 while it is small
	one     part
}

// part is a share of the members. While it is being sent to, who leaves makes a hole, so that nobody
// is passed over; afterwards the holes are closed.
type part struct {
	mu      sync.Mutex
	list    []member
	holes   uint32
	sending bool
}

// member is one session in a part. No pointers.
type member struct {
	c   conn // 0: a hole
	sub uint32
}

// subscription says that a session is in a channel. They form a list for each session, which begins
// in its record. No pointers; 12 bytes, and 16 for the member.
type subscription struct {
	next    uint32 // index + 1, 0 for none; under the owner's lock
	channel uint32 // index
	place   uint32 // in the part; under its lock
}

// newChannels takes how many channels each of the connections may be in.
func newChannels(conns, limit, parts int) *channels {
	cs := &channels{seed: maphash.MakeSeed(), parts: parts}
	most := min(int64(conns)*int64(limit), 1<<31)
	cs.subs = slab.NewPool[subscription](int(most))
	cs.list = slab.NewPool[atomic.Pointer[channel]](int(most))
	for i := range cs.shards {
		cs.shards[i].m = make(map[string]*channel)
	}
	return cs
}

func (cs *channels) shard(name string) *channelShard {
	return &cs.shards[maphash.String(cs.seed, name)%uint64(len(cs.shards))]
}

func (cs *channels) owner(c conn) *sync.Mutex { return &cs.owners[c.Index()%uint32(len(cs.owners))] }

// find returns a channel that has members, or nil.
func (cs *channels) find(name string) *channel {
	sh := cs.shard(name)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.m[name]
}

// enter returns the channel, with one member more counted, or nil if there are too many.
func (cs *channels) enter(name string) *channel {
	sh := cs.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	ch := sh.m[name]
	if ch == nil {
		i, ok := cs.list.Get()
		if !ok {
			return nil
		}
		ch = &channel{name: name, index: i}
		cs.list.At(i).Store(ch)
		sh.m[name] = ch
		cs.count.Add(1)
	}
	ch.members++
	return ch
}

// exit takes the count of enter back.
func (cs *channels) exit(ch *channel) {
	sh := cs.shard(ch.name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	ch.members--
	cs.settle(sh, ch)
}

// sent takes a count of ch.pending back.
func (cs *channels) sent(ch *channel) {
	if ch.pending.Add(-1) > 0 {
		return
	}
	sh := cs.shard(ch.name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	cs.settle(sh, ch)
}

// settle ends a channel that has neither members nor publications on their way: one that waited for them
// could otherwise be overtaken, for somebody who leaves and comes back, by what is published to the next
// channel of that name. It expects the shard's lock.
func (cs *channels) settle(sh *channelShard, ch *channel) {
	if ch.members > 0 || ch.pending.Load() > 0 || sh.m[ch.name] != ch {
		return
	}
	delete(sh.m, ch.name)
	cs.list.At(ch.index).Store(nil)
	cs.list.Put(ch.index)
	cs.count.Add(-1)
}

// join expects the owner's lock. head is where the session's list begins, limit how long it may be.
func (cs *channels) join(c conn, head *uint32, name string, limit int) (joined bool, err error) {
	known, n := cs.find(name), 0
	for i := *head; i != 0; n++ {
		sub := cs.subs.At(i - 1)
		if known != nil && sub.channel == known.index { // it cannot have gone if c is in it
			return false, nil
		}
		i = sub.next
	}
	if n >= limit {
		return false, ErrTooManyChannels
	}
	i, ok := cs.subs.Get()
	if !ok {
		return false, ErrTooManyChannels
	}
	ch := cs.enter(name)
	if ch == nil {
		cs.subs.Put(i)
		return false, ErrTooManyChannels
	}
	sub := cs.subs.At(i)
	sub.next, sub.channel = *head, ch.index
	*head = i + 1
	ch.add(cs, c, i, sub)
	return true, nil
}

// leave expects the owner's lock.
func (cs *channels) leave(c conn, head *uint32, name string) (left bool) {
	ch := cs.find(name)
	if ch == nil {
		return false
	}
	for at := head; *at != 0; {
		i := *at - 1
		sub := cs.subs.At(i)
		if sub.channel != ch.index {
			at = &sub.next
			continue
		}
		*at = sub.next
		ch.remove(cs, c, sub)
		cs.subs.Put(i)
		cs.exit(ch)
		return true
	}
	return false
}

// leaveAll expects the owner's lock.
func (cs *channels) leaveAll(c conn, head *uint32) {
	for *head != 0 {
		i := *head - 1
		sub := cs.subs.At(i)
		ch := cs.list.At(sub.channel).Load()
		*head = sub.next
		ch.remove(cs, c, sub)
		cs.subs.Put(i)
		cs.exit(ch)
	}
}

// names expects the owner's lock.
func (cs *channels) names(head uint32) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := head; i != 0; {
			sub := cs.subs.At(i - 1)
			if !yield(cs.list.At(sub.channel).Load().name) {
				return
			}
			i = sub.next
		}
	}
}

// lock returns the part that c is in, or would be, locked.
func (ch *channel) lock(c conn) *part {
	if ch.lockSmall() {
		return &ch.one
	}
	parts := *ch.spread.Load()
	p := &parts[c.Index()%uint32(len(parts))]
	p.mu.Lock()
	return p
}

// lockSmall reports whether all members are in one, and then locks it.
func (ch *channel) lockSmall() bool {
	if ch.spread.Load() != nil {
		return false
	}
	ch.one.mu.Lock()
	if ch.spread.Load() != nil { // meanwhile
		ch.one.mu.Unlock()
		return false
	}
	return true
}

func (ch *channel) add(cs *channels, c conn, i uint32, sub *subscription) {
	p := ch.lock(c)
	if p == &ch.one && len(p.list) == sliceLen {
		ch.grow(cs)
		p.mu.Unlock()
		p = ch.lock(c)
	}
	defer p.mu.Unlock()
	p.add(member{c, i}, sub)
}

// grow spreads the members over parts. It expects the lock of one.
func (ch *channel) grow(cs *channels) {
	parts := make([]part, cs.parts)
	for _, m := range ch.one.list {
		parts[m.c.Index()%uint32(len(parts))].add(m, cs.subs.At(m.sub))
	}
	ch.one.list = nil
	ch.spread.Store(&parts)
}

func (ch *channel) remove(cs *channels, c conn, sub *subscription) {
	p := ch.lock(c)
	defer p.mu.Unlock()
	p.remove(cs, sub)
}

// few returns all members if they fit into dst, which has room for those of a small channel.
func (ch *channel) few(dst []conn) ([]conn, bool) {
	if ch.lockSmall() {
		defer ch.one.mu.Unlock()
		return ch.one.copy(dst), true
	}
	parts := *ch.spread.Load()
	for i := range parts {
		p := &parts[i]
		p.mu.Lock()
		fit := len(dst)+len(p.list) <= cap(dst)
		if fit {
			dst = p.copy(dst)
		}
		p.mu.Unlock()
		if !fit {
			return nil, false
		}
	}
	return dst, true
}

// all returns the members by parts. Who joins or leaves meanwhile may be missing, nobody else.
func (ch *channel) all() iter.Seq[[]conn] {
	return func(yield func([]conn) bool) {
		if ch.lockSmall() {
			list := ch.one.copy(make([]conn, 0, len(ch.one.list)))
			ch.one.mu.Unlock()
			yield(list)
			return
		}
		parts := *ch.spread.Load()
		for i := range parts {
			p := &parts[i]
			p.mu.Lock()
			list := p.copy(make([]conn, 0, len(p.list)))
			p.mu.Unlock()
			if !yield(list) {
				return
			}
		}
	}
}

// The methods of a part expect its lock, but for begin, slice and end.

func (p *part) add(m member, sub *subscription) {
	sub.place = uint32(len(p.list))
	p.list = append(p.list, m)
}

func (p *part) copy(dst []conn) []conn {
	for _, m := range p.list {
		if m.c != 0 {
			dst = append(dst, m.c)
		}
	}
	return dst
}

func (p *part) remove(cs *channels, sub *subscription) {
	if p.sending {
		p.list[sub.place] = member{}
		p.holes++
		return
	}
	last := len(p.list) - 1
	if m := p.list[last]; int(sub.place) != last {
		p.list[sub.place] = m
		cs.subs.At(m.sub).place = sub.place
	}
	p.list = p.list[:last]
	p.shrink()
}

// begin says that the part is going to be sent to from end to end. It returns how many places
// there are: who joins later is not meant.
func (p *part) begin() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sending = true
	return len(p.list)
}

// slice copies members from place at on.
func (p *part) slice(dst []conn, at, end int) []conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.list[at:min(end, at+cap(dst))] {
		if m.c != 0 {
			dst = append(dst, m.c)
		}
	}
	return dst
}

// end closes the holes.
func (p *part) end(cs *channels) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sending = false
	if p.holes == 0 {
		return
	}
	n := 0
	for _, m := range p.list {
		if m.c != 0 {
			p.list[n] = m
			cs.subs.At(m.sub).place = uint32(n)
			n++
		}
	}
	p.list, p.holes = p.list[:n], 0
	p.shrink()
}

// shrink gives memory back that most members have left.
func (p *part) shrink() {
	if n := len(p.list); cap(p.list) > 64 && n < cap(p.list)/4 {
		p.list = append(make([]member, 0, 2*n), p.list...)
	}
}
