package netpoll

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"wsgateway/internal/slab"
)

// sink is the sending side of one connection, a part of its slot.
type sink struct {
	wmu    sync.Mutex    // guards writing: the descriptor against being closed, flags, queue
	queue  uint32        // what the socket had no room for: its index + 1, 0 for none; under wmu
	queued atomic.Uint32 // bytes in it; written under wmu
	cork   atomic.Uint32 // id of the turn that collects output, 0 for none; set by the owner, cleared under wmu
	wflags uint8         // under wmu
}

const (
	wFinal    uint8 = 1 << iota // the last message has been accepted, nothing may follow
	wBroken                     // the socket failed
	wTimedOut                   // as output was not acknowledged; wBroken is set too
	wFull                       // a message was refused: none but the last may follow, it would hide the gap
)

// output is the sending side of a reactor: all that is sent goes into a turn's cork, to the socket,
// or into a queue, in this order of preference. Its methods expect the connection's write lock,
// unless they say otherwise.
type output struct {
	queues *slab.Pool[queue]
	corks  []*cork // by a turn's id - 1
	now    *atomic.Uint32

	queueBytes, queueMessages int
	totalBytes                int64

	bytes, messages atomic.Int64 // in all queues
	stats           outputStats
}

func (o *output) init(cfg Config, capacity int, now *atomic.Uint32) {
	o.queues, o.now = slab.NewPool[queue](capacity), now
	o.queueBytes, o.queueMessages, o.totalBytes = cfg.QueueBytes, cfg.QueueMessages, cfg.QueueTotalBytes
}

// outgoing is a message on its way into a socket or a queue. A body that may be kept goes beside
// it, as shared: so that the compiler sees that the others are not.
type outgoing struct {
	head, body []byte
	msgs       int
	key        uint64
	policy     Policy
	force      bool // has been begun or promised, see output.enqueue
	final      bool // is the last message, and nothing else
}

// keep returns what is to be kept of m or shared.
func (m *outgoing) keep(shared []byte) []byte {
	if shared != nil {
		return shared
	}
	return append(append(make([]byte, 0, len(m.head)+len(m.body)), m.head...), m.body...)
}

// send takes the write lock and sends m. why is the reason of a turn that is to be brought about.
func (o *output) send(c Conn, s *slot, m *Message) (why Reason, err error) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if uint32(s.word.Load()>>32) != c.Gen() || s.wflags&(wFinal|wBroken) != 0 {
		return 0, ErrClosed
	}
	if s.wflags&wFull != 0 && !m.Final {
		if !m.Urgent {
			o.stats.dropped.Add(1)
		}
		return 0, ErrQueueFull
	}
	if id := s.cork.Load(); id != 0 {
		k := o.corks[id-1]
		if (s.queue == 0 || !m.Urgent && m.Policy == CloseSlow) && k.add(s, m, o.queueBytes) {
			return 0, nil
		}
		o.spill(c, s, k) // nothing overtakes what was sent before
	}
	if m.Urgent && s.queue != 0 {
		o.queueUrgent(s, m)
		return 0, nil
	}
	return o.sendNow(c, s, m)
}

// sendNow is send for a message that is not collected.
func (o *output) sendNow(c Conn, s *slot, m *Message) (why Reason, err error) {
	var head [16]byte
	x := outgoing{head: m.Prefix.put(&head), msgs: 1, key: m.Key, policy: m.Policy}
	var shared []byte
	if m.Shared && len(x.head) == 0 {
		shared = m.Body
	} else {
		x.body = m.Body
	}
	if m.Final {
		s.wflags |= wFinal // before, so that exceeds knows
		x.force, x.final = true, true
	}
	if m.Urgent {
		x.policy = CloseSlow
	}
	err = o.write(c, s, &x, shared)
	switch {
	case s.wflags&wBroken != 0:
		o.stats.dropped.Add(1)
		return WriteFailed, ErrClosed
	case err == ErrQueueFull && m.Urgent: // all queues together are full, nothing of it has been sent
		o.stats.dropped.Add(1)
		return 0, nil
	case err == ErrQueueFull:
		s.wflags |= wFull
		o.stats.dropped.Add(1)
		return Overflow, err
	}
	return 0, err
}

// write sends m, or queues what the socket does not take. On a broken connection it does nothing:
// what has been sent may be half a message.
//
// Errors: ErrQueueFull, ErrDropped.
func (o *output) write(c Conn, s *slot, m *outgoing, shared []byte) error {
	if s.wflags&wBroken != 0 {
		return nil
	}
	if s.queue != 0 {
		return o.enqueue(c, s, m, shared)
	}
	second := m.body
	if shared != nil {
		second = shared
	}
	sent, full := o.transmit(c, s, m.head, second)
	switch {
	case s.wflags&wBroken != 0:
		return nil
	case !full:
		o.stats.sentMessages.Add(c.Index(), uint64(m.msgs))
		return nil
	}
	m.force = m.force || sent > 0
	if shared != nil {
		return o.enqueue(c, s, m, shared[sent:])
	}
	k := min(sent, len(m.head))
	m.head, m.body = m.head[k:], m.body[sent-k:]
	return o.enqueue(c, s, m, nil)
}

// transmit sends a and b until the socket takes no more. It returns how many bytes the socket
// took, and whether it is full; where it has failed the connection is broken. Nothing else writes
// to a socket.
func (o *output) transmit(c Conn, s *slot, a, b []byte) (sent int, full bool) {
	for len(a)+len(b) > 0 {
		var n int
		var errno unix.Errno
		switch {
		case len(b) == 0:
			n, errno = sendBytes(s.fd, a)
		case len(a) == 0:
			n, errno = sendBytes(s.fd, b)
		default:
			n, errno = sendTwo(s.fd, a, b)
		}
		switch errno {
		case 0:
			sent += n
			k := min(n, len(a))
			a, b = a[k:], b[n-k:]
			continue
		case unix.EINTR:
			continue
		case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
			full = true
		default:
			s.wflags |= wBroken
			if errno == unix.ETIMEDOUT {
				s.wflags |= wTimedOut
			}
		}
		break
	}
	o.stats.sentBytes.Add(c.Index(), uint64(sent))
	return sent, full
}

// flush sends what is queued, as far as the socket takes it.
func (o *output) flush(c Conn, s *slot) {
	if s.queue == 0 || s.wflags&wBroken != 0 {
		return
	}
	q := o.queues.At(s.queue - 1)
	for q.head < len(q.segs) {
		seg := &q.segs[q.head]
		n, full := o.transmit(c, s, seg.p, nil) // until EAGAIN: only then is the next writable edge certain
		if n > 0 || !full {
			q.moved.Store(o.now.Load())
		}
		if n < len(seg.p) {
			seg.p = seg.p[n:]
			o.count(s, q, -n, 0)
		}
		if full || s.wflags&wBroken != 0 {
			return
		}
		o.stats.sentMessages.Add(c.Index(), uint64(seg.msgs))
		o.count(s, q, -len(seg.p)-cost(seg.key), -int(seg.msgs))
		q.keyed.remove(seg.key, q.head)
		*seg = segment{}
		q.head++
		if q.urgent != nil {
			q.head--
			*seg = segment{p: q.urgent, msgs: 1}
			q.urgent = nil
		}
	}
	o.free(s)
}
