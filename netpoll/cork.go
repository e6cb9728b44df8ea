package netpoll

import "encoding/binary"

// cork is what a turn collects of its connection's output, so that it leaves with one system call.
// The connection's write lock guards it.
type cork struct {
	buf  []byte
	msgs int
	last int // where the last message of the connection begins in buf, plus 1; 0 if it is not there
}

// add collects m, unless the buffer or the queue that it may have to go to is full. mark is that of
// the queue: what is collected is promised.
func (k *cork) add(s *slot, m *Message, mark int) bool {
	n := len(k.buf)
	if n+m.Prefix.len()+len(m.Body) > cap(k.buf) || n+int(s.queued.Load()) >= mark {
		return false
	}
	if n+16 <= cap(k.buf) {
		b := k.buf[n : n+16]
		binary.LittleEndian.PutUint64(b[:8], m.Prefix.low)
		binary.LittleEndian.PutUint64(b[8:], m.Prefix.high)
		k.buf = k.buf[:n+m.Prefix.len()]
	} else {
		var b [16]byte
		k.buf = append(k.buf, m.Prefix.put(&b)...)
	}
	k.buf = append(k.buf, m.Body...)
	k.msgs++
	if m.Final {
		k.last = n + 1
		s.wflags |= wFinal
	}
	return true
}

// spill sends what a turn has collected so far.
func (o *output) spill(c Conn, s *slot, k *cork) {
	if len(k.buf) == 0 {
		return
	}
	if s.queue != 0 && k.last != 0 {
		// By itself, so that DropQueued can keep it without what was collected before.
		first, last := k.buf[:k.last-1], k.buf[k.last-1:]
		if len(first) > 0 {
			o.sendCollected(c, s, outgoing{body: first, msgs: k.msgs - 1})
		}
		o.sendCollected(c, s, outgoing{body: last, msgs: 1, final: true})
	} else {
		o.sendCollected(c, s, outgoing{body: k.buf, msgs: k.msgs})
	}
	k.buf, k.msgs, k.last = k.buf[:0], 0, 0
}

// sendCollected sends m, which a turn has collected.
func (o *output) sendCollected(c Conn, s *slot, m outgoing) {
	m.force = true // it was promised
	msgs := m.msgs
	_ = o.write(c, s, &m, nil)
	if s.wflags&wBroken != 0 {
		o.stats.dropped.Add(uint64(msgs))
	}
}

// uncork sends what the turn has collected, and from now on everybody writes directly. It takes
// the write lock.
func (t *Turn) uncork() {
	s := t.s
	s.wmu.Lock()
	t.r.output.spill(t.c, s, &t.cork)
	s.cork.Store(0)
	flags := s.wflags
	s.wmu.Unlock()
	t.checkWrite(flags)
}

// checkWrite ends a connection that could not be written to, given its wflags.
func (t *Turn) checkWrite(flags uint8) {
	switch {
	case flags&wBroken == 0 || t.done != nil:
	case flags&wTimedOut != 0:
		t.done = t.unacknowledged()
	default:
		t.done = ErrWrite
	}
}

// DropQueued discards all messages that wait behind a queue: those in it, except the one that may
// be partly sent, and those that this turn has collected. They count as dropped. If nothing is
// queued, the socket has taken all there was, and what the turn has collected is sent. After that
// only the last message (Message.Final) is sent. Others are refused with ErrQueueFull, so that the
// peer never sees a gap.
func (t *Turn) DropQueued() {
	s, o, k := t.s, &t.r.output, &t.cork
	s.wmu.Lock()
	defer s.wmu.Unlock()
	s.wflags |= wFull
	if s.queue == 0 {
		return // all has been sent, what is collected is next
	}
	o.drop(s)
	lost, keep := k.msgs, k.buf[:0]
	if k.last != 0 {
		lost, keep = lost-1, k.buf[k.last-1:]
		k.last = 1
	}
	o.stats.dropped.Add(uint64(lost))
	k.buf, k.msgs = k.buf[:copy(k.buf, keep)], k.msgs-lost
}
