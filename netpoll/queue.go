package netpoll

import "sync/atomic"

// segment is one unsent message or, at the front of a queue, the unsent rest of one. What a
// turn has collected counts as one segment, since it may have been cut anywhere.
type segment struct {
	p     []byte
	key   uint64 // of a message that a later one may replace, 0 for others
	msgs  int32
	lossy bool // may be dropped unless it is the front one
	final bool // the last message of the connection, alone
}

// segmentCost is what a segment costs beside its bytes; it counts towards the bounds, so that
// many tiny messages cannot hold more memory than the bounds say.
const segmentCost = 48

// cost is what a message costs beside its bytes; one with a key has an entry in a map.
func cost(key uint64) int {
	if key != 0 {
		return 2 * segmentCost
	}
	return segmentCost
}

// size is what a segment counts towards the bounds.
func (g *segment) size() int { return len(g.p) + cost(g.key) }

// queue holds what a socket had no room for. It exists only while there is such. The write lock of
// its connection guards everything in it but the atomics, which Sweep reads.
type queue struct {
	segs []segment
	head int // segs[:head] have been sent
	msgs int
	// urgent leaves as soon as the message under way is through; nil for none. A later one
	// takes its place. It counts towards msgs and the bytes of the queue.
	urgent []byte
	keyed  *keys         // where segments with a key are; nil if there are none
	conn   atomic.Uint64 // whose it is, 0 while free
	moved  atomic.Uint32 // tick of the last progress, or of its creation
}

// waiting returns how many segments wait. Against Config.QueueMessages it is they that count:
// what a turn has collected leaves together and counts once.
func (q *queue) waiting() int { return len(q.segs) - q.head }

// compact makes room at the end of a list out of what has been sent at its front, so that a queue
// that is never quite empty does not grow with all that passes through it. It moves at most three
// for each that has been sent: where less than a quarter of a full list has, the list grows.
func (q *queue) compact() {
	least := len(q.segs) / 2
	if len(q.segs) == cap(q.segs) {
		least = len(q.segs) / 4
	}
	if q.head == 0 || q.head < least {
		return
	}
	n := copy(q.segs, q.segs[q.head:])
	clear(q.segs[n:])
	q.keyed.shift(q.head)
	q.segs, q.head = q.segs[:n], 0
}

// append adds a segment at the end.
func (q *queue) append(g segment) {
	if g.key != 0 {
		if q.keyed == nil {
			q.keyed = &keys{place: make(map[uint64]int)}
		}
		q.keyed.place[g.key] = len(q.segs) + q.keyed.shifted
	}
	q.segs = append(q.segs, g)
}

// find returns the index of the segment with that key, or -1.
func (q *queue) find(key uint64) int {
	if q != nil && q.keyed != nil {
		if i, ok := q.keyed.place[key]; ok {
			return i - q.keyed.shifted
		}
	}
	return -1
}

// keys knows where segments with a key are. A nil one knows none.
type keys struct {
	place   map[uint64]int // index in queue.segs, plus shifted
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

// smallFinal is the size up to which the last message of a connection may exceed the bound of all
// queues together: a Close frame must not fail for it.
const smallFinal = 128

// enqueue keeps a message, or the rest of one, for later. Where force is set, the message has been
// begun or promised: the bounds of the connection do not hold for it, and if that of all queues
// forbids it the connection is broken.
func (o *output) enqueue(c Conn, s *slot, m *outgoing, shared []byte) error {
	size := len(m.head) + len(m.body) + len(shared) + cost(m.key)
	var q *queue
	if s.queue != 0 {
		q = o.queues.At(s.queue - 1)
	}
	if !m.force && m.policy != CloseSlow {
		if done, err := o.makeRoom(s, q, m, shared, size); done {
			return err
		}
	}
	if bound := o.exceeds(s, q, m.force, size); bound != "" {
		if !m.force && (m.policy == DropOldest || m.policy == DropNewest) { // others have taken the room of all
			o.stats.droppedNewest.Add(1)
			return ErrDropped
		}
		o.stats.overflows.Inc(bound)
		if !m.force {
			return ErrQueueFull
		}
		s.wflags |= wBroken // it has been begun, and there is no room for its rest
		return nil
	}
	fresh := q == nil
	if fresh {
		i, _ := o.queues.Get() // there are as many as connections
		s.queue = i + 1
		q = o.queues.At(i)
		q.moved.Store(o.now.Load())
		q.conn.Store(uint64(c))
	}
	q.compact()
	q.append(segment{p: m.keep(shared), key: m.key, msgs: int32(m.msgs), lossy: m.policy != CloseSlow && !m.force, final: m.final})
	o.count(s, q, size, m.msgs)
	if fresh {
		// The loop ignores a writable edge while nothing is queued, and one may have come
		// between the refused write and now. Asking once more makes it come again.
		o.flush(c, s)
	}
	return nil
}

// exceeds returns the bound that size more bytes in q, nil for none, would break, or "".
func (o *output) exceeds(s *slot, q *queue, force bool, size int) string {
	if !force && q != nil && (o.reached(s) || q.waiting() >= o.queueMessages) {
		return "queue"
	}
	exempt := s.wflags&wFinal != 0 && size <= smallFinal+segmentCost
	if o.bytes.Load()+int64(size) > o.totalBytes && !exempt {
		return "total"
	}
	return ""
}

// reached reports whether as many bytes wait as may. Below this mark one more message is taken
// whatever its size: a message that may be sent at all must be deliverable, and a client that
// takes one while the next one comes is not slow.
func (o *output) reached(s *slot) bool { return int(s.queued.Load()) >= o.queueBytes }

// count adds bytes and messages to the counts; negative numbers take them off.
func (o *output) count(s *slot, q *queue, bytes, msgs int) {
	q.msgs += msgs
	s.queued.Store(uint32(int(s.queued.Load()) + bytes))
	o.bytes.Add(int64(bytes))
	o.messages.Add(int64(msgs))
}

// queueUrgent makes a message the urgent one of a queue that exists.
func (o *output) queueUrgent(s *slot, m *Message) {
	q := o.queues.At(s.queue - 1)
	if q.urgent != nil {
		o.stats.superseded.Add(1)
		o.count(s, q, -len(q.urgent)-segmentCost, -1)
	}
	var head [16]byte
	p := append(append(q.urgent[:0], m.Prefix.put(&head)...), m.Body...)
	if o.bytes.Load()+int64(len(p)+segmentCost) > o.totalBytes {
		q.urgent = nil
		o.stats.dropped.Add(1)
		return
	}
	q.urgent = p
	o.count(s, q, len(p)+segmentCost, 1)
}

// drop discards every message in a queue that has not been begun. The front one stays, since a
// part of it may have left and the stream would be garbage without its rest, and the final one.
func (o *output) drop(s *slot) {
	if s.queue == 0 {
		return
	}
	q := o.queues.At(s.queue - 1)
	from, to := min(q.head+1, len(q.segs)), len(q.segs)
	if to > from && q.segs[to-1].final {
		to--
	}
	for i := from; i < to; i++ {
		seg := &q.segs[i]
		o.count(s, q, -seg.size(), -int(seg.msgs))
		o.stats.dropped.Add(uint64(seg.msgs))
	}
	if q.urgent != nil {
		o.count(s, q, -len(q.urgent)-segmentCost, -1)
		o.stats.dropped.Add(1)
		q.urgent = nil
	}
	q.keyed = nil // only the front and a final message are left, which nothing replaces
	n := from + copy(q.segs[from:], q.segs[to:])
	clear(q.segs[n:])
	q.segs = q.segs[:n]
}

// take returns what is queued, in the order in which it would leave, and frees the queue.
func (o *output) take(s *slot) (p []byte) {
	if s.queue == 0 {
		return nil
	}
	q := o.queues.At(s.queue - 1)
	for i := q.head; i < len(q.segs); i++ {
		p = append(p, q.segs[i].p...)
		if i == q.head {
			p = append(p, q.urgent...)
		}
	}
	o.count(s, q, 0, -q.msgs) // none of them is dropped
	o.free(s)
	return p
}

// free gives the queue back, with whatever it still holds.
func (o *output) free(s *slot) {
	if s.queue == 0 {
		return
	}
	q := o.queues.At(s.queue - 1)
	if q.msgs > 0 {
		o.stats.dropped.Add(uint64(q.msgs))
	}
	o.count(s, q, -int(s.queued.Load()), -q.msgs)
	q.segs, q.head, q.msgs, q.urgent, q.keyed = nil, 0, 0, nil, nil
	q.conn.Store(0)
	o.queues.Put(s.queue - 1)
	s.queue = 0
}
