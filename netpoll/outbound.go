package netpoll

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

var (
	// ErrClosed is returned when the connection is gone, or has been given its last message.
	ErrClosed = errors.New("netpoll: connection closed")
	// ErrQueueFull is returned when a message does not fit into the bounds of the
	// outbound queue. The message is not sent, nor any but the last one after it, so that
	// nothing hides that it is missing. The connection gets a turn with the reason Overflow.
	ErrQueueFull = errors.New("netpoll: outbound queue full")
	// ErrDropped is returned when a message was dropped as its policy demands. The connection goes
	// on.
	ErrDropped = errors.New("netpoll: message dropped, outbound queue full")
)

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

// outgoing is a message on its way into a socket or a queue. What may be kept of it goes beside it, as
// shared, instead of head and body: so that the compiler sees that these are not.
type outgoing struct {
	head, body []byte
	msgs       int
	force      bool // see Reactor.queue
	final      bool // is the last message, and nothing else
	policy     Policy
	key        uint64
}

// keep returns what is to be kept of m or shared.
func (m *outgoing) keep(shared []byte) []byte {
	if shared != nil {
		return shared
	}
	return append(append(make([]byte, 0, len(m.head)+len(m.body)), m.head...), m.body...)
}

// outQueue holds what the socket had no room for. It exists only while there is such.
// Everything in it is guarded by the write lock of its connection, but for the atomics,
// which Sweep reads.
type outQueue struct {
	segs []segment
	head int // segs[:head] have been sent
	msgs int
	// urgent leaves as soon as the message under way is through; nil for none. A later one
	// takes its place. It counts towards msgs and the bytes of the queue.
	urgent []byte
	keyed  *keys         // where segments with a key are; nil if there are none
	conn   atomic.Uint64 // whose it is, 0 while free
	moved  atomic.Uint32 // tick of the last progress, or of its creation
	asked  uint32        // bytes that waited when Turn.progress was called last, 0 for never
}

// waiting returns how many segments wait. Against Config.QueueMessages it is they that count:
// what a turn has collected leaves together and counts once.
func (q *outQueue) waiting() int { return len(q.segs) - q.head }

// compact makes room at the end of a list out of what has been sent at its front, so that a queue that
// is never quite empty does not grow with all that passes through it. It moves at most three for each
// that has been sent: where less than a quarter of a full list has, the list grows.
func (q *outQueue) compact() {
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

// Prefix is the short beginning of a message, such as a frame header. It is passed by value,
// so that nobody has to keep one on the heap.
type Prefix struct {
	b [15]byte
	n uint8
}

// MakePrefix returns a Prefix of p, which must not be longer than 15 bytes.
func MakePrefix(p []byte) (x Prefix) {
	x.n = uint8(copy(x.b[:], p))
	if int(x.n) != len(p) {
		panic("netpoll: prefix too long")
	}
	return x
}

// Send sends one message, prefix and body, in the order of the calls. It never blocks: what
// the socket does not take is copied into the connection's queue. body is the caller's again
// when it returns. While a turn of this connection runs, the message is collected and leaves at
// the turn's end.
//
// Send may be called from any goroutine. Errors: ErrClosed, ErrQueueFull.
func (r *Reactor) Send(c Conn, prefix Prefix, body []byte) error {
	return r.send(c, outgoing{head: prefix.b[:prefix.n], body: body}, nil, 0)
}

// SendShared is Send for one buffer that many connections are sent. The reactor may keep
// a reference: p must never change again.
func (r *Reactor) SendShared(c Conn, p []byte) error {
	return r.send(c, outgoing{}, p, 0)
}

// SendFinal is Send for the last message of a connection: every later one is refused with
// ErrClosed, so that it is also the way to find out who was first. It is let in even where
// the queue is full.
func (r *Reactor) SendFinal(c Conn, p []byte) error {
	return r.send(c, outgoing{body: p}, nil, wFinal)
}

// SendUrgent is Send for a message that only matters if it is the latest of its kind, such as a
// pong (RFC 6455 §5.5.3). Where messages wait it overtakes all but the one that has been begun,
// and takes the place of an urgent one that still waits. It never fills the queue: where all queues
// together are full it is dropped.
//
// Errors: ErrClosed; ErrQueueFull if an earlier message was refused.
func (r *Reactor) SendUrgent(c Conn, prefix Prefix, body []byte) error {
	return r.send(c, outgoing{head: prefix.b[:prefix.n], body: body}, nil, sendUrgent)
}

// queueUrgent makes a message the urgent one of a queue that exists. It expects the write lock.
func (r *Reactor) queueUrgent(s *slot, head, body []byte) {
	q := r.outs.At(s.out - 1)
	if q.urgent != nil {
		r.stats.superseded.Add(1)
		r.unqueue(s, q, len(q.urgent)+segmentCost, 1)
	}
	p := append(append(q.urgent[:0], head...), body...)
	if r.queuedBytes.Load()+int64(len(p)+segmentCost) > r.cfg.QueueTotalBytes {
		q.urgent = nil
		r.stats.dropped.Add(1)
		return
	}
	q.urgent = p
	r.unqueue(s, q, -(len(p) + segmentCost), -1)
}

// sendUrgent is passed to send, where wFinal may be.
const sendUrgent uint8 = 1 << 7

func (r *Reactor) send(c Conn, m outgoing, shared []byte, flags uint8) error {
	final, urgent := flags&wFinal, flags&sendUrgent != 0
	if !r.known(c) {
		return ErrClosed
	}
	s := r.slots.At(c.Index())
	s.wmu.Lock()
	if uint32(s.word.Load()>>32) != c.Gen() || s.wflags&(wFinal|wBroken) != 0 {
		s.wmu.Unlock()
		return ErrClosed
	}
	if s.wflags&wFull != 0 && final == 0 {
		s.wmu.Unlock()
		if !urgent {
			r.stats.dropped.Add(1)
		}
		return ErrQueueFull
	}
	if id := s.cork.Load(); id != 0 && (s.out == 0 || !urgent && m.policy == CloseSlow) {
		// What is collected is promised: it must fit into the queue as well as into the buffer.
		t := r.turns[id-1]
		size := len(t.out) + len(m.head) + len(m.body) + len(shared)
		if size <= cap(t.out) && int(s.queued.Load())+size+segmentCost <= r.cfg.QueueBytes {
			if final != 0 {
				t.last = len(t.out) + 1
			}
			t.out = append(append(append(t.out, m.head...), m.body...), shared...)
			t.outMsgs++
			s.wflags |= final
			s.wmu.Unlock()
			return nil
		}
		t.spill(s)
	} else if id != 0 {
		r.turns[id-1].spill(s) // nothing overtakes what was sent before
	}
	if urgent && s.out != 0 {
		r.queueUrgent(s, m.head, m.body)
		s.wmu.Unlock()
		return nil
	}
	s.wflags |= final // before, so that queue knows
	m.msgs, m.force, m.final = 1, final != 0, final != 0
	err := r.write(c, s, &m, shared)
	broken := s.wflags&wBroken != 0
	if urgent && err == ErrQueueFull { // all queues together are full, nothing of it has been sent
		s.wmu.Unlock()
		r.stats.dropped.Add(1)
		return nil
	}
	if err == ErrQueueFull {
		s.wflags |= wFull
	}
	s.wmu.Unlock()
	switch {
	case broken:
		r.stats.dropped.Add(1)
		r.wake(c, WriteFailed)
		return ErrClosed
	case err == ErrQueueFull:
		r.stats.dropped.Add(1)
		r.wake(c, Overflow)
	}
	return err
}

// write sends m, or queues what the socket does not take. It expects the connection's write
// lock. On a broken connection it does nothing: what has been sent may be half a message.
// Errors: ErrQueueFull, ErrDropped.
func (r *Reactor) write(c Conn, s *slot, m *outgoing, shared []byte) error {
	if s.wflags&wBroken != 0 {
		return nil
	}
	if s.out != 0 {
		return r.queue(c, s, m, shared)
	}
	second := m.body
	if shared != nil {
		second = shared
	}
	sent, errno := sendAll(s.fd, m.head, second)
	r.stats.sentBytes.Add(c.Index(), uint64(sent))
	switch errno {
	case 0:
		r.stats.sentMessages.Add(c.Index(), uint64(m.msgs))
		return nil
	case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
		m.force = m.force || sent > 0
		if shared != nil {
			return r.queue(c, s, m, shared[sent:])
		}
		k := min(sent, len(m.head))
		m.head, m.body = m.head[k:], m.body[sent-k:]
		return r.queue(c, s, m, nil)
	default:
		s.wflags |= wBroken
		return nil
	}
}

// sendAll sends a and b until the socket takes no more. It returns how many bytes it took,
// and why it took no more: 0 if that were all.
func sendAll(fd int32, a, b []byte) (sent int, errno unix.Errno) {
	for len(a)+len(b) > 0 {
		var n int
		switch {
		case len(b) == 0:
			n, errno = sendBytes(fd, a)
		case len(a) == 0:
			n, errno = sendBytes(fd, b)
		default:
			n, errno = sendTwo(fd, a, b)
		}
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return sent, errno
		}
		sent += n
		k := min(n, len(a))
		a, b = a[k:], b[n-k:]
	}
	return sent, 0
}

// smallFinal is the size up to which the last message of a connection may exceed the bound of all
// queues together: a Close frame must not fail for it.
const smallFinal = 128

// queue keeps a message, or the rest of one, for later. It expects the write lock. One
// message always finds room in the empty queue of a connection, whatever its size: a message
// that may be sent at all must be deliverable. Where force is set, the message has been
// begun or promised: the bounds of the connection do not hold for it, and if that of all
// queues forbids it the connection is broken.
func (r *Reactor) queue(c Conn, s *slot, m *outgoing, shared []byte) error {
	size := len(m.head) + len(m.body) + len(shared) + cost(m.key)
	var q *outQueue
	if s.out != 0 {
		q = r.outs.At(s.out - 1)
	}
	if !m.force && m.policy != CloseSlow {
		if done, err := r.makeRoom(s, q, m, shared, size); done {
			return err
		}
	}
	if bound := r.over(s, q, m.force, size); bound != "" {
		if !m.force && (m.policy == DropOldest || m.policy == DropNewest) { // others have taken the room of all
			r.stats.droppedNewest.Add(1)
			return ErrDropped
		}
		r.stats.overflows.Inc(bound)
		if !m.force {
			return ErrQueueFull
		}
		s.wflags |= wBroken // it has been begun, and there is no room for its rest
		return nil
	}
	fresh := q == nil
	if fresh {
		i, _ := r.outs.Get() // there are as many as connections
		s.out = i + 1
		q = r.outs.At(i)
		q.moved.Store(r.now.Load())
		q.conn.Store(uint64(c))
	}
	q.compact()
	q.append(segment{p: m.keep(shared), key: m.key, msgs: int32(m.msgs), lossy: m.policy != CloseSlow && !m.force, final: m.final})
	r.unqueue(s, q, -size, -m.msgs)
	if fresh {
		// The loop ignores a writable edge while nothing is queued, and one may have come
		// between the refused write and now. Asking once more makes it come again.
		r.flush(c, s)
	}
	return nil
}

// over returns the bound that size more bytes in q, nil for none, would break, or "".
func (r *Reactor) over(s *slot, q *outQueue, force bool, size int) string {
	if !force && q != nil && (int(s.queued.Load())+size > r.cfg.QueueBytes || q.waiting() >= r.cfg.QueueMessages) {
		return "queue"
	}
	exempt := s.wflags&wFinal != 0 && size <= smallFinal+segmentCost
	if r.queuedBytes.Load()+int64(size) > r.cfg.QueueTotalBytes && !exempt {
		return "total"
	}
	return ""
}

// flush sends what is queued, as far as the socket takes it. It expects the write lock.
func (r *Reactor) flush(c Conn, s *slot) {
	if s.out == 0 || s.wflags&wBroken != 0 {
		return
	}
	q := r.outs.At(s.out - 1)
	for q.head < len(q.segs) {
		seg := &q.segs[q.head]
		n, errno := sendBytes(s.fd, seg.p)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN || errno == unix.ENOBUFS || errno == unix.ENOMEM:
			return
		case errno != 0:
			s.wflags |= wBroken
			return
		}
		q.moved.Store(r.now.Load())
		r.stats.sentBytes.Add(c.Index(), uint64(n))
		if n < len(seg.p) {
			seg.p = seg.p[n:]
			r.unqueue(s, q, n, 0)
			continue // until EAGAIN: only then is the next writable edge certain
		}
		r.stats.sentMessages.Add(c.Index(), uint64(seg.msgs))
		r.unqueue(s, q, n+cost(seg.key), int(seg.msgs))
		q.keyed.remove(seg.key, q.head)
		*seg = segment{}
		q.head++
		if q.urgent != nil {
			q.head--
			*seg = segment{p: q.urgent, msgs: 1}
			q.urgent = nil
		}
	}
	r.freeQueue(s)
}

// unqueue takes bytes and messages off the counts; negative numbers add them.
func (r *Reactor) unqueue(s *slot, q *outQueue, bytes, msgs int) {
	q.msgs -= msgs
	s.queued.Store(uint32(int(s.queued.Load()) - bytes))
	r.queuedBytes.Add(-int64(bytes))
	r.queuedMessages.Add(-int64(msgs))
}

// dropQueue discards every message in a queue that has not been begun. The front one stays, since a
// part of it may have left and the stream would be garbage without its rest, and the final one. It
// expects the write lock.
func (r *Reactor) dropQueue(s *slot) {
	if s.out == 0 {
		return
	}
	q := r.outs.At(s.out - 1)
	from, to := min(q.head+1, len(q.segs)), len(q.segs)
	if to > from && q.segs[to-1].final {
		to--
	}
	for i := from; i < to; i++ {
		seg := &q.segs[i]
		r.unqueue(s, q, seg.size(), int(seg.msgs))
		r.stats.dropped.Add(uint64(seg.msgs))
	}
	if q.urgent != nil {
		r.unqueue(s, q, len(q.urgent)+segmentCost, 1)
		r.stats.dropped.Add(1)
		q.urgent = nil
	}
	q.keyed = nil // only the front and a final message are left, which nothing replaces
	n := from + copy(q.segs[from:], q.segs[to:])
	clear(q.segs[n:])
	q.segs = q.segs[:n]
}

// freeQueue gives the queue back, with whatever it still holds. It expects the write lock.
func (r *Reactor) freeQueue(s *slot) {
	if s.out == 0 {
		return
	}
	q := r.outs.At(s.out - 1)
	if q.msgs > 0 {
		r.stats.dropped.Add(uint64(q.msgs))
	}
	r.unqueue(s, q, int(s.queued.Load()), q.msgs)
	q.segs, q.head, q.msgs, q.urgent, q.keyed, q.asked = nil, 0, 0, nil, nil, 0
	q.conn.Store(0)
	r.outs.Put(s.out - 1)
	s.out = 0
}

// Queued returns how many bytes wait in the outbound queue of c, the cost of their
// bookkeeping included. Any goroutine may ask.
func (r *Reactor) Queued(c Conn) int {
	if !r.known(c) {
		return 0
	}
	s := r.slots.At(c.Index())
	n := s.queued.Load()
	if uint32(s.word.Load()>>32) != c.Gen() {
		return 0
	}
	return int(n)
}
