package netpoll

import "fmt"

// String returns the policy's name.
func (p Policy) String() string {
	switch p {
	case CloseSlow:
		return "CloseSlow"
	case DropOldest:
		return "DropOldest"
	case DropNewest:
		return "DropNewest"
	case KeepLatest:
		return "KeepLatest"
	}
	return fmt.Sprintf("Policy(%d)", uint8(p))
}

// MarshalText returns the policy's name, for JSON logs.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// makeRoom does what the policy of m demands before it can be queued in q, nil for a new one. It
// reports whether m is through. It expects the write lock.
func (o *output) makeRoom(s *slot, q *queue, m *outgoing, shared []byte, size int) (done bool, err error) {
	switch m.policy {
	case KeepLatest:
		i := q.find(m.key)
		if q == nil || i <= q.head {
			return false, nil
		}
		if o.replace(s, q, i, m, shared) {
			o.stats.conflated.Add(1)
			return true, nil
		}
	case DropOldest:
		if o.dropOldest(s, q, size) {
			return false, nil
		}
	case DropNewest:
		if o.exceeds(s, q, false, size) == "" {
			return false, nil
		}
	}
	o.stats.droppedNewest.Add(1)
	return true, ErrDropped
}

// replace has m take the place of segment i. It reports false, and changes nothing, if m is larger
// and there would be no room for it without that segment either.
func (o *output) replace(s *slot, q *queue, i int, m *outgoing, shared []byte) bool {
	seg := &q.segs[i]
	more := len(m.head) + len(m.body) + len(shared) - len(seg.p)
	full := int(s.queued.Load())-seg.size() >= o.queueBytes || o.bytes.Load()+int64(more) > o.totalBytes
	if more > 0 && full {
		return false
	}
	seg.p = m.keep(shared)
	o.count(s, q, more, 0)
	return true
}

// dropOldest drops as many of the oldest messages as make room for size bytes. It drops none, and
// reports false, if that is not enough.
func (o *output) dropOldest(s *slot, q *queue, size int) bool {
	if q == nil {
		return o.exceeds(s, q, false, size) == ""
	}
	bytes := int(s.queued.Load()) + 1 - o.queueBytes // below the mark
	total := int(o.bytes.Load()+int64(size)) - int(o.totalBytes)
	msgs := q.waiting() + 1 - o.queueMessages
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
			o.count(s, q, -seg.size(), -int(seg.msgs))
			o.stats.droppedOldest.Add(uint64(seg.msgs))
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
