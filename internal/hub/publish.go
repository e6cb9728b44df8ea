package hub

import "slices"

// Publish sends msg to the members of a channel, without those in except, which it keeps. It returns the
// number of the publication, and how many members it has reached. With up to 64 members these are as a
// rule the members that have taken it. Otherwise they are the members that it is on its way to, those
// in except included; they get it after Publish has returned. A channel that does not exist has no
// members, and the number is 0.
//
// Errors: ErrBusy, ErrSealed.
func (r *Registry) Publish(channel string, msg Message, except []Member) (sequence uint64, reached int, err error) {
	h, ch := r.hub, r.shard(channel).find(channel)
	if ch == nil {
		if h.sealed.Load() {
			return 0, 0, ErrSealed
		}
		return 0, 0, nil
	}
	shard := ch.ref.index()
	if !h.begin(shard) {
		return 0, 0, ErrSealed
	}
	if ch.spread.Load() == nil || ch.count.Load() <= smallLen {
		var done bool
		if sequence, reached, done = r.publishAtOnce(ch, msg, except); done {
			return sequence, reached, nil
		}
	}
	p := &publication{registry: r, channel: ch, msg: msg, except: except, shard: shard}
	if err := h.publishQueued(p); err != nil {
		return 0, 0, err
	}
	return p.sequence, int(ch.count.Load()), nil
}

// publishAtOnce reports false if the publication has to be queued. Otherwise it ends its flight. Deferred is
// what must happen although Deliver panics.
func (r *Registry) publishAtOnce(ch *channel, msg Message, except []Member) (sequence uint64, reached int, done bool) {
	h, shard := r.hub, ch.ref.index()
	ch.order.Lock()
	defer func() {
		ch.order.Unlock()
		if !done {
			return
		}
		h.end(shard)
		if ch.count.Load() == 0 {
			r.settle(ch)
		}
	}()
	var members [smallLen]Member
	to, sequence, ok := ch.next(members[:0])
	if !ok {
		return 0, 0, false
	}
	done = true
	h.published.Add(shard, 1)
	return sequence, h.deliver(to, msg, except), true
}

// publishQueued numbers the publication and puts it into the queues, in the order of the numbers.
func (h *Hub) publishQueued(p *publication) error {
	if !h.admit(p) {
		return ErrBusy
	}
	p.channel.spread.Load().waiting.Add(1)
	p.channel.order.Lock()
	p.sequence = p.channel.seq.Add(1)
	h.enqueue(p)
	p.channel.order.Unlock()
	if p.channel.count.Load() == 0 {
		p.registry.settle(p.channel)
	}
	h.dropIfClosed()
	return nil
}

// Set is a set of members that the caller keeps: all that there are, for instance.
type Set interface {
	// Scan appends members to list, until it is full, and returns it with the position to go on at. It
	// looks at every step-th position, beginning with at. more is false at the end. Several goroutines
	// call it, each with its own positions. What is said of Deliver holds for it too.
	Scan(list []Member, at, step uint32) (full []Member, next uint32, more bool)
}

// PublishTo sends msg to the members of a set, without those in except, which it keeps. It is served as a
// publication to a large channel is. All members see all publications to sets in the same order.
//
// Errors: ErrBusy, ErrSealed.
func (h *Hub) PublishTo(set Set, msg Message, except []Member) error {
	if !h.begin(0) {
		return ErrSealed
	}
	p := &publication{set: set, msg: msg, except: except}
	if !h.admit(p) {
		return ErrBusy
	}
	h.sets.Lock()
	h.enqueue(p)
	h.sets.Unlock()
	h.dropIfClosed()
	return nil
}

// admit counts a publication as waiting if there is room for it. Otherwise its flight ends.
func (h *Hub) admit(p *publication) bool {
	n := int64(p.msg.Size())
	if h.waiting.Add(1) <= h.limit {
		if h.waitingBytes.Add(n) <= h.bytes {
			h.published.Add(p.shard, 1)
			return true
		}
		h.waitingBytes.Add(-n)
	}
	h.waiting.Add(-1)
	h.refused.Add(1)
	h.end(p.shard)
	return false
}

// enqueue expects the lock that orders the publication among others.
func (h *Hub) enqueue(p *publication) {
	p.left.Store(int32(len(h.queues)))
	for _, q := range h.queues {
		q <- p // has room, see limit
	}
}

// deliver returns how many members have taken the message.
func (h *Hub) deliver(to []Member, msg Message, except []Member) (taken int) {
	if len(to) == 0 {
		return 0
	}
	missed := 0
	for _, m := range to {
		switch {
		case len(except) > 0 && slices.Contains(except, m):
		case h.to.Deliver(m, msg):
			taken++
		default:
			missed++
		}
	}
	shard := to[0].Index()
	h.delivered.Add(shard, uint64(taken))
	if missed > 0 {
		h.missed.Add(shard, uint64(missed))
	}
	return taken
}
