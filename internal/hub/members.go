package hub

import (
	"slices"
	"sync"
)

// member is one member in a list. It holds no pointers. 16 bytes.
type member struct {
	id    Member // 0: a hole
	sub   uint32 // its subscription's index
	since uint32 // see joinedAt; 0: gets every publication
}

// subscription says that a member is in a channel. Those of one member form a list that begins with
// its Subscriptions. It holds no pointers. 12 bytes.
type subscription struct {
	next    uint32 // index + 1, 0 for none; the member's caller guards it
	channel channelRef
	place   uint32 // in its list; under the list's lock
}

// joinedAt returns the mark of a member that joined after publication sequence: it does not get that
// one, which may still wait. 31 bits are enough, as the first publication that it gets clears the mark.
func joinedAt(sequence uint64) uint32 { return 1<<31 | uint32(sequence) }

// gets reports whether the member is to get a publication.
func (m *member) gets(sequence uint64) bool {
	if m.id == 0 {
		return false
	}
	return m.since == 0 || int32((uint32(sequence)-m.since)<<1) > 0
}

// list is an unordered list of members. Its lock is its owner's.
type list []member

func (l *list) add(h *Hub, m member) {
	h.subs.At(m.sub).place = uint32(len(*l))
	*l = append(*l, m)
}

// remove puts the last member in the place of the one that is removed.
func (l *list) remove(h *Hub, place uint32) {
	s := *l
	last := len(s) - 1
	if int(place) != last {
		s[place] = s[last]
		h.subs.At(s[place].sub).place = place
	}
	*l = s[:last]
	l.shrink()
}

// shrink gives memory back that most members have left.
func (l *list) shrink() {
	if n := len(*l); cap(*l) > smallLen && n < cap(*l)/4 {
		*l = append(make(list, 0, 2*n), *l...)
	}
}

func (l list) appendTo(dst []Member) []Member {
	for i := range l {
		if l[i].id != 0 {
			dst = append(dst, l[i].id)
		}
	}
	return dst
}

// getting appends the members that get a publication to dst, and clears their marks.
func (l list) getting(dst []Member, sequence uint64) []Member {
	for i := range l {
		if m := &l[i]; m.gets(sequence) {
			m.since = 0
			dst = append(dst, m.id)
		}
	}
	return dst
}

// part is one goroutine's share of the members of a large channel. While it is delivered to, a member
// that leaves makes a hole, so that no other is passed over. The holes are closed afterwards.
type part struct {
	mu      sync.Mutex
	list    list
	holes   uint32
	sending bool
}

func (p *part) remove(h *Hub, place uint32) {
	if p.sending {
		p.list[place] = member{}
		p.holes++
		return
	}
	p.list.remove(h, place)
}

// begin says that the part is going to be delivered to from end to end. It returns how many places
// there are. A member that joins later gets only later publications.
func (p *part) begin() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sending = true
	return len(p.list)
}

// appendTo copies all members that get a publication.
func (p *part) appendTo(dst []Member, sequence uint64) []Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.list.getting(dst, sequence)
}

// slice copies the members that get a publication, from place at on, as many as dst has room for.
func (p *part) slice(dst []Member, at, end int, sequence uint64) []Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.list[at:min(end, at+cap(dst))].getting(dst, sequence)
}

// finish closes the holes.
func (p *part) finish(h *Hub) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sending = false
	if p.holes == 0 {
		return
	}
	p.list = slices.DeleteFunc(p.list, func(m member) bool { return m.id == 0 })
	for i := range p.list {
		h.subs.At(p.list[i].sub).place = uint32(i)
	}
	p.holes = 0
	p.list.shrink()
}
