package client

import (
	"slices"
	"time"

	"wsgateway/bench/internal/frame"
)

// published judges a broadcast message: each comes once, and in order.
func (l *loop) published(c *conn, p []byte) {
	group := l.groups[c.target]
	seq, at, ok := readBroadcast(p, l.cfg.Secret, group)
	if !ok || len(p) != l.size && l.size > 0 {
		l.fail(c, KindMismatch, "a broadcast message of %d bytes that was not published: %.24x", len(p), p)
		return
	}
	switch {
	case seq == c.recv:
		c.recv++
	case seq > c.recv:
		c.skipped += seq - c.recv
		c.recv = seq + 1
	case c.skipped > 0:
		c.skipped--
		l.misordered(c, KindOrder, seq)
	default:
		l.misordered(c, KindDuplicate, seq)
		return
	}
	l.prog.done.Add(1)
	if c.role == roleReader {
		l.st.Received++
		l.st.RoundTrip.Record(l.now - at)
	}
}

func (l *loop) misordered(c *conn, kind string, seq uint32) {
	l.st.Fault(kind, 1, "connection %d: message %d after message %d", c.id, seq, c.recv-1)
	l.prog.errors.Add(1)
}

// publishing sends numbered messages at a fixed rate from each publisher, each
// to its own group, until it is stopped.
type publishing struct {
	idle
	l        *loop
	pubs     []*conn
	paces    []pacer
	stopping bool
}

func newPublishing(l *loop, cmd *Command) *publishing {
	p := &publishing{l: l}
	for i := range l.conns {
		if c := &l.conns[i]; c.role == rolePublisher && c.state == stateOpen {
			p.pubs = append(p.pubs, c)
			p.paces = append(p.paces, newPacer(l.now, cmd.Rate))
		}
	}
	return p
}

func (p *publishing) tick(now int64) (wake int64, done bool) {
	for i, c := range p.pubs {
		if c.state != stateOpen {
			continue
		}
		blocked := c.cold != nil && len(c.cold.out) > 0
		if blocked || p.stopping {
			p.stopping = p.stopping || c.state != stateOpen
			if blocked && p.stopping {
				return 0, false
			}
			continue
		}
		pace := &p.paces[i]
		if due := pace.due(); due > now {
			wake = sooner(wake, due)
			continue
		}
		p.publish(c, pace.due())
		pace.issued++
		wake = now
	}
	return wake, p.stopping
}

func (p *publishing) publish(c *conn, due int64) {
	l, group := p.l, p.l.groups[c.target]
	mask := l.mask()
	l.wbuf = frame.AppendHeader(l.wbuf, frame.Binary, l.size, mask)
	from := len(l.wbuf)
	l.wbuf = slices.Grow(l.wbuf, l.size)[:from+l.size]
	fillBroadcast(l.wbuf[from:], l.cfg.Secret, group, c.sent, due)
	frame.Mask(l.wbuf[from:], mask)
	c.sent++
	l.st.Sent++
	bump(&l.st.Published, group, 1)
	l.flush(c)
}

func (p *publishing) stop(l *loop) {
	p.stopping = true
	l.st.Nanos = l.now - l.mark
}

func sooner(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// draining waits until every reader of a role has what was published, or
// nothing has come for a while. Slow readers read again.
type draining struct {
	idle
	l      *loop
	role   role
	expect map[int]int64
	began  bool
	seen   int64 // progress at the last look
	since  int64 // of that progress
	next   int64 // look
}

const (
	drainPatience = 5 * time.Second
	drainPeriod   = 20 * time.Millisecond
)

func newDraining(l *loop, cmd *Command, r role) *draining {
	return &draining{l: l, role: r, expect: cmd.Expect, since: l.now, seen: -1}
}

func (p *draining) tick(now int64) (int64, bool) {
	l := p.l
	if !p.began {
		p.began = true
		if p.role == roleSlow {
			l.resumed = true
			for i := range l.conns {
				if c := &l.conns[i]; c.role == roleSlow && c.state == stateOpen {
					l.readable(c, true)
				}
			}
		}
	}
	if now < p.next {
		return p.next, false
	}
	p.next = now + int64(drainPeriod)
	if done := l.prog.done.Load() + l.prog.open.Load(); done != p.seen {
		p.seen, p.since = done, now
	}
	if p.waits() && now-p.since < int64(drainPatience) {
		return p.next, false
	}
	p.judge()
	return 0, true
}

// waits reports whether an open reader lacks a message.
func (p *draining) waits() bool {
	for i := range p.l.conns {
		c := &p.l.conns[i]
		if c.role == p.role && c.state == stateOpen && int64(c.recv) < p.expect[p.l.groups[c.target]] {
			return true
		}
	}
	return false
}

// judge counts what was lost. A slow reader may lose messages, or be ended.
func (p *draining) judge() {
	l := p.l
	for i := range l.conns {
		c := &l.conns[i]
		if c.role != p.role {
			continue
		}
		lost := p.expect[l.groups[c.target]] - int64(c.recv) + int64(c.skipped)
		switch {
		case p.role == roleSlow && c.state == stateOpen:
			l.st.SlowSurvived++
			l.st.SlowSkipped += max(0, lost)
		case p.role == roleReader && lost > 0:
			l.st.Fault(KindMissing, lost, "connection %d: %d messages never came, %d skipped", c.id, lost, c.skipped)
			l.prog.errors.Add(lost)
		}
	}
}
