package netpoll

import "fmt"

// Policy says what happens to a message that does not fit into the bounds of the outbound queue of its
// connection, because the peer does not read as fast as it is sent to.
type Policy uint8

const (
	// CloseSlow refuses it with ErrQueueFull, and the connection gets a turn with the reason
	// Overflow. It is the policy of Send.
	CloseSlow Policy = iota
	// DropOldest drops the oldest messages that wait, as many as are needed.
	DropOldest
	// DropNewest drops the message itself: ErrDropped.
	DropNewest
	// KeepLatest has a message take the place of one that waits and has the same key, whether
	// there is room or not: what waits is never more than the latest of each key. Beyond the
	// bounds, and for messages without a key, it is CloseSlow.
	KeepLatest
)

// String returns the policy's name as in the constant, in lower case with hyphens: "drop-oldest".
func (p Policy) String() string {
	names := [...]string{"close-slow", "drop-oldest", "drop-newest", "keep-latest"}
	if int(p) >= len(names) {
		return fmt.Sprintf("Policy(%d)", uint8(p))
	}
	return names[p]
}

// MarshalText implements encoding.TextMarshaler: logs and JSON show the name.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// SendLossy is Send with a policy. Messages that were sent without one are never dropped, nor
// is what has been begun or collected by a turn. key is for KeepLatest, 0 for none.
//
// Errors: ErrClosed, ErrQueueFull, ErrDropped.
func (r *Reactor) SendLossy(c Conn, prefix Prefix, body []byte, p Policy, key uint64) error {
	return r.send(c, outgoing{head: prefix.b[:prefix.n], body: body, policy: p, key: key}, nil, 0)
}

// SendLossyShared is SendLossy for one buffer that many connections are sent, see SendShared.
func (r *Reactor) SendLossyShared(c Conn, p []byte, policy Policy, key uint64) error {
	return r.send(c, outgoing{policy: policy, key: key}, p, 0)
}

// makeRoom does what the policy of m demands before it can be queued in q, nil for a new one. It reports whether
// m is through. It expects the write lock.
func (r *Reactor) makeRoom(s *slot, q *outQueue, m *outgoing, shared []byte, size int) (done bool, err error) {
	switch m.policy {
	case KeepLatest:
		if i := q.find(m.key); q != nil && i > q.head && r.replace(s, q, i, m.keep(shared)) {
			r.stats.conflated.Add(1)
			return true, nil
		}
		return false, nil
	case DropOldest:
		if r.dropOldest(s, q, size) {
			return false, nil
		}
	case DropNewest:
		if r.over(s, q, false, size) == "" {
			return false, nil
		}
	}
	r.stats.droppedNewest.Add(1)
	return true, ErrDropped
}

// replace has p take the place of segment i. It reports false if it is too large for that.
func (r *Reactor) replace(s *slot, q *outQueue, i int, p []byte) bool {
	seg := &q.segs[i]
	more := len(p) - len(seg.p)
	if more > 0 && (int(s.queued.Load())+more > r.cfg.QueueBytes || r.queuedBytes.Load()+int64(more) > r.cfg.QueueTotalBytes) {
		return false
	}
	seg.p = p
	r.unqueue(s, q, -more, 0)
	return true
}

// dropOldest drops as many of the oldest messages as make room for size bytes. It drops none, and
// reports false, if that is not enough.
func (r *Reactor) dropOldest(s *slot, q *outQueue, size int) bool {
	if q == nil {
		return r.over(s, q, false, size) == ""
	}
	bytes := int(s.queued.Load()) + size - r.cfg.QueueBytes
	total := int(r.queuedBytes.Load()+int64(size)) - int(r.cfg.QueueTotalBytes)
	msgs := q.waiting() + 1 - r.cfg.QueueMessages
	need := max(bytes, total)
	last := q.head // the last one to be dropped
	for i := q.head + 1; i < len(q.segs) && (need > 0 || msgs > 0); i++ {
		if seg := &q.segs[i]; seg.lossy {
			need, msgs, last = need-seg.size(), msgs-1, i
		}
	}
	if need > 0 || msgs > 0 {
		return false
	}
	// What stays, the front one and a few without a policy, moves up to the first that is not looked at.
	to := last
	for i := last; i >= q.head && last > q.head; i-- {
		seg := &q.segs[i]
		if i > q.head && seg.lossy {
			r.unqueue(s, q, seg.size(), int(seg.msgs))
			r.stats.droppedOldest.Add(uint64(seg.msgs))
			q.keyed.remove(seg.key, i)
			continue
		}
		q.keyed.moved(seg.key, i, to)
		q.segs[to] = *seg
		to--
	}
	if last > q.head {
		clear(q.segs[q.head : to+1])
		q.head = to + 1
	}
	return true
}

// append adds a segment at the end.
func (q *outQueue) append(g segment) {
	if g.key != 0 {
		if q.keyed == nil {
			q.keyed = &keys{place: make(map[uint64]int)}
		}
		q.keyed.place[g.key] = len(q.segs) + q.keyed.shifted
	}
	q.segs = append(q.segs, g)
}

// find returns the index of the segment with that key, or -1.
func (q *outQueue) find(key uint64) int {
	if q != nil && q.keyed != nil {
		if i, ok := q.keyed.place[key]; ok {
			return i - q.keyed.shifted
		}
	}
	return -1
}

// keys knows where segments with a key are. A nil one knows none.
type keys struct {
	place   map[uint64]int // index in outQueue.segs, plus shifted
	shifted int            // by how much segments have moved to the front
}

func (k *keys) shift(n int) {
	if k != nil {
		k.shifted += n
	}
}

// moved says that a segment has moved.
func (k *keys) moved(key uint64, from, to int) {
	if k == nil || key == 0 {
		return
	}
	if i, ok := k.place[key]; ok && i == from+k.shifted {
		k.place[key] = to + k.shifted
	}
}

// remove says that the segment at index i is gone. A later one may have the same key.
func (k *keys) remove(key uint64, i int) {
	if k != nil && key != 0 && k.place[key] == i+k.shifted {
		delete(k.place, key)
	}
}
