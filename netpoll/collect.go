package netpoll

// spill sends what the turn has collected so far. It expects the write lock.
func (t *Turn) spill(s *slot) {
	if len(t.out) == 0 {
		return
	}
	if s.out != 0 && t.last != 0 {
		// By itself, so that DropQueued can keep it without what was collected before.
		first, last := t.out[:t.last-1], t.out[t.last-1:]
		if len(first) > 0 {
			t.sendCollected(s, outgoing{body: first, msgs: t.outMsgs - 1})
		}
		t.sendCollected(s, outgoing{body: last, msgs: 1, final: true})
	} else {
		t.sendCollected(s, outgoing{body: t.out, msgs: t.outMsgs})
	}
	t.out, t.outMsgs, t.last = t.out[:0], 0, 0
}

// sendCollected sends m, which the turn has collected. It expects the write lock.
func (t *Turn) sendCollected(s *slot, m outgoing) {
	m.force = true // it was promised
	msgs := m.msgs
	_ = t.r.write(t.c, s, &m, nil)
	if s.wflags&wBroken != 0 {
		t.r.stats.dropped.Add(uint64(msgs))
	}
}

// uncork sends what the turn has collected, and from now on everybody writes directly.
func (t *Turn) uncork() {
	s := t.s
	s.wmu.Lock()
	t.spill(s)
	s.cork.Store(0)
	broken := s.wflags&wBroken != 0
	s.wmu.Unlock()
	if broken && t.done == nil {
		t.done = ErrWrite
	}
}

// DropQueued discards the queued messages that have not been begun, what this turn has collected behind
// them included, and counts them as dropped. Only the last message, sent before or after, follows what has been
// begun: others are refused with ErrQueueFull, as they would hide the gap.
func (t *Turn) DropQueued() {
	s := t.s
	s.wmu.Lock()
	defer s.wmu.Unlock()
	s.wflags |= wFull
	if s.out == 0 {
		return // all has been sent, what is collected is next
	}
	t.r.dropQueue(s)
	lost, keep := t.outMsgs, t.out[:0]
	if t.last != 0 {
		lost, keep = lost-1, t.out[t.last-1:]
		t.last = 1
	}
	t.r.stats.dropped.Add(uint64(lost))
	t.out, t.outMsgs = t.out[:copy(t.out, keep)], t.outMsgs-lost
}
