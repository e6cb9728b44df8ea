package netpoll_test

import (
	"encoding/binary"
	"errors"
	"io"

	"wsgateway/netpoll"
)

const (
	kindUrgent byte = kindEnd + 1
	urgentKey       = int(kindUrgent) << 8
	outCost         = 96 // what a message costs beside its bytes, at most
)

// dropped is told that the handler has called DropQueued.
func (m *outModel) dropped(was netpoll.Stats, queued int) {
	m.full, m.drop = true, true
	n := m.r.Stats().Dropped - was.Dropped
	m.expect(n == 0 || queued > 0, "messages were dropped from an empty queue", n)
	if u := m.latest[urgentKey]; u != nil && u.waits {
		u.lost = true
	}
}

// judge checks the error of a message that has been sent, and what sending it has changed.
func (m *outModel) judge(msg *outMessage, was netpoll.Stats, queued int) {
	is, now := m.r.Stats(), m.r.Queued(m.c)
	size := msg.size + 10
	count := m.accepted - int(was.SentMessages) // at most so many wait, and so many bytes
	need := m.bytes - int(was.SentBytes) + size + outCost*(count+1)
	tight := need > int(m.cfg.QueueTotalBytes)
	urgent, lossy := msg.kind == kindUrgent, msg.kind == kindLossy
	tight = (tight || need-size-outCost >= m.cfg.QueueBytes || count >= m.cfg.QueueMessages) && !urgent
	total := is.Overflows["total"] - was.Overflows["total"]
	got := [3]int{int(is.Dropped - was.Dropped), int(is.DroppedNewest - was.DroppedNewest), int(is.Overflows["queue"] - was.Overflows["queue"] + total)}
	var want [3]int
	ok := false
	switch msg.err {
	case nil:
		ok = !m.last && !m.broken && (!m.full || msg.kind == kindEnd)
		if urgent && got[0] > 0 && need > int(m.cfg.QueueTotalBytes) {
			msg.lost, want[0] = true, 1
		}
	case netpoll.ErrClosed:
		m.broken = m.broken || !m.last && is.Overflows["total"] > 0
		ok = m.last || m.broken
	case netpoll.ErrQueueFull:
		ok = !m.last && msg.kind != kindEnd && (m.full || tight)
		if !m.full {
			m.full, m.overflow, want[2] = true, true, 1
		}
		if !urgent || want[2] > 0 {
			want[0] = 1
			m.refused++
		}
	case netpoll.ErrDropped:
		ok = !m.last && !m.full && tight && lossy && (m.policy == netpoll.DropOldest || m.policy == netpoll.DropNewest || m.mayWait(msg))
		want[1] = 1
		m.refused++
	}
	m.expect(ok, "not the error that is documented", *msg, tight)
	m.expect(got == want || total > 0 && (msg.err == nil || msg.err == netpoll.ErrClosed), "wrong counts: dropped, newest, overflows", *msg, got, want)
	m.expect(now <= max(m.cfg.QueueBytes, 5010+outCost)+2*(5010+outCost), "more than QueueBytes", now)
	m.expect(is.Overflows["total"] > 0 || now <= need && int(is.QueueMessages) <= count+1, "more than can wait", now, need, is.QueueMessages, count+1)
	m.expect(is.QueueBytes <= m.cfg.QueueTotalBytes+2*(128+48), "more than QueueTotalBytes", is.QueueBytes)
	m.supersede(msg, was, is)
	if msg.err != nil {
		return
	}
	m.accepted++
	m.bytes += size
	m.last = m.last || msg.kind == kindEnd
	if m.queued >= 0 && queued > 0 { // nothing is flushed meanwhile
		msg.waits = urgent
		if lossy && m.policy != netpoll.CloseSlow {
			m.queued += 1 - msg.drops - int(is.Conflated-was.Conflated)
			m.expect(m.queued < m.cfg.QueueMessages, "more than QueueMessages", m.queued)
		}
		if m.cfg.QueueMessages == 1000 && m.cfg.QueueTotalBytes == 1<<30 {
			msg.room = m.cfg.QueueBytes - now
		}
	}
}

// mayWait reports whether a message that msg replaces may be waiting.
func (m *outModel) mayWait(msg *outMessage) bool {
	before := m.latest[int(kindLossy)<<8|int(msg.key)]
	return m.policy == netpoll.KeepLatest && msg.kind == kindLossy && msg.key != 0 && before != nil && !before.lost
}

// supersede checks which messages msg has cost.
func (m *outModel) supersede(msg *outMessage, was, is netpoll.Stats) {
	msg.drops = int(is.DroppedOldest - was.DroppedOldest)
	m.expect(msg.drops == 0 || msg.err == nil && msg.kind == kindLossy && m.policy == netpoll.DropOldest, "dropped the oldest for this", *msg)
	key := int(msg.kind) << 8
	if msg.kind == kindLossy {
		key |= int(msg.key)
	}
	before := m.latest[key]
	n := [2]int{int(is.Conflated - was.Conflated), int(is.Superseded - was.Superseded)}
	if n != [2]int{} {
		want := [2]int{1, 0}
		if msg.kind == kindUrgent {
			want = [2]int{0, 1}
		}
		ok := n == want && msg.err == nil && before != nil && !before.lost && (msg.kind == kindUrgent || msg.kind == kindLossy && msg.key != 0 && m.policy == netpoll.KeepLatest)
		m.expect(ok, "conflated or superseded", *msg, n)
		if !ok {
			return
		}
		before.lost, msg.place = true, before.place
		m.bytes -= before.size + 10
	} else if m.queued >= 0 && msg.kind == kindUrgent && msg.err == nil && !msg.lost && before != nil {
		m.expect(!before.waits || before.lost, "two urgent ones wait", *msg, *before)
	}
	if msg.err == nil {
		m.latest[key] = msg
	}
}

// check compares what has arrived, and the counts, with what was sent.
func (m *outModel) check(end int) {
	st := m.r.Stats()
	broken := errors.Is(m.closedErr, netpoll.ErrWrite) && end != 'p'
	want := map[int]error{'a': io.ErrNoProgress, 'c': netpoll.ErrReactorClosed}[end]
	m.expect(end == 'p' || broken && st.Overflows["total"] > 0 || !broken && m.closedErr == want, "closed with another error", m.closedErr)
	if m.alone && broken {
		last := m.sent[len(m.sent)-1]
		m.expect(last.err != nil || last.size > 100, "a small last message found no room", *last)
	}
	torn := broken || end == 'a' || end == 'c' || end == 'p'
	whole, place, highest, final := 0, -1, -1, false
	for p := m.stream; len(p) > 0; whole++ {
		if len(p) < 10 || len(p) < 10+int(binary.BigEndian.Uint32(p[6:])) {
			m.expect(torn, "half a message at the end", len(p))
			break
		}
		seq := int(binary.BigEndian.Uint32(p[2:]))
		if seq >= len(m.sent) || len(p) < m.sent[seq].size+10 || string(p[:m.sent[seq].size+10]) != string(m.sent[seq].bytes()) {
			m.expect(false, "garbage", p[:10])
			return
		}
		msg := m.sent[seq]
		p = p[10+msg.size:]
		m.expect(msg.err == nil && !msg.lost, "arrived although refused or lost", *msg)
		m.expect(!msg.arrived && !final, "arrived twice or behind the last", *msg)
		msg.arrived = true
		switch {
		case msg.kind == kindUrgent:
			m.expect(highest < seq, "urgent, and overtaken", *msg, highest)
		case msg.kind == kindEnd:
			final = true
		default:
			m.expect(msg.place > place, "out of order", *msg, place)
			place = msg.place
		}
		highest = max(highest, seq)
	}
	m.checkMissing(torn, place)
	sum := int(st.SentMessages + st.Dropped + st.Superseded + st.DroppedOldest + st.DroppedNewest + st.Conflated)
	d := sum - m.accepted - m.refused // the message that finds the connection broken is counted, those behind it are not
	m.expect(d == 0 || d == 1 && st.Overflows["total"] > 0, "not all are counted", m.accepted, m.refused, sum)
	m.expect(end == 'p' || int(st.SentBytes) == len(m.stream), "wrong count of bytes", len(m.stream))
	m.expect(end == 'p' || int(st.SentMessages) == whole || torn && int(st.SentMessages) < whole, "wrong count of messages", whole)
}

// checkMissing checks that what has not arrived is what was dropped, or the end of all behind place.
func (m *outModel) checkMissing(torn bool, place int) {
	byPlace := make([]*outMessage, len(m.sent))
	var drops []*outMessage // who dropped, once for each message that it did
	for _, msg := range m.sent {
		if msg.err == nil && !msg.lost {
			byPlace[msg.place] = msg
		}
		for range msg.drops {
			drops = append(drops, msg)
		}
	}
	// Where the end is torn off, the front message may be missing, too, which nothing drops: then only their number is known.
	var dropper, gap *outMessage // of the last one that is missing; of the last one that is behind one that arrived
	for _, msg := range byPlace {
		switch {
		case msg == nil:
		case msg.arrived:
			if msg.kind == kindLossy {
				gap = dropper
			}
		case msg.kind == kindLossy && len(drops) > 0:
			dropper, drops = drops[0], drops[1:]
			m.expect(torn || dropper.seq > msg.seq && dropper != gap, "dropped, and not the oldest", *msg, *dropper)
			last := len(drops) == 0 || drops[0] != dropper
			m.expect(torn || !last || dropper.room == 0 || dropper.room < msg.size+10+outCost, "dropped more than is needed", *msg, *dropper)
		case torn && (msg.kind != kindLossy && msg.kind != kindPlain || msg.place > place):
		case m.drop && (msg.kind == kindUrgent || msg.kind != kindEnd && msg.place > place):
		default:
			m.expect(false, "missing", *msg)
		}
	}
	m.expect(len(drops) == 0, "fewer are missing than were dropped", len(drops))
}
