package client

import (
	"slices"

	"wsgateway/bench/internal/frame"
)

// say sends the next message of c; at is the time its latency counts from.
// The caller flushes.
func (l *loop) say(c *conn, at int64) {
	mask := l.mask()
	l.wbuf = frame.AppendHeader(l.wbuf, frame.Binary, l.size, mask)
	from := len(l.wbuf)
	l.wbuf = slices.Grow(l.wbuf, l.size)[:from+l.size]
	fill(l.wbuf[from:], seedOf(l.cfg.Secret, c.id, c.cycle, c.sent))
	frame.Mask(l.wbuf[from:], mask)
	*l.slot(c, c.sent) = at
	c.sent++
	l.st.Sent++
}

// echoed judges an echo: it must be the oldest message not yet answered.
func (l *loop) echoed(c *conn, p []byte) {
	if c.recv == c.sent {
		l.fail(c, l.kind, "a message of %d bytes that was not sent", len(p))
		return
	}
	if len(p) != l.size || !matches(p, seedOf(l.cfg.Secret, c.id, c.cycle, c.recv)) {
		l.fail(c, l.kind, "answer %d of %d bytes differs from the message of %d bytes: %.24x", c.recv, len(p), l.size, p)
		return
	}
	at := *l.slot(c, c.recv)
	c.recv++
	l.ph.reply(c, at)
}

// slot is where the send time of a message is kept.
func (l *loop) slot(c *conn, seq uint32) *int64 {
	return &l.times[int(l.indexOf(c))*l.slots+int(seq)%l.slots]
}

func (l *loop) sentAt(c *conn, seq uint32) int64 { return *l.slot(c, seq) }

// outstanding is the number of messages not yet answered.
func (c *conn) outstanding() int { return int(c.sent - c.recv) }

// round has each open connection echo once.
type round struct {
	idle
	l           *loop
	next        int
	outstanding int
	window      int
}

func newRound(l *loop, cmd *Command) *round {
	w := cmd.Window
	if w <= 0 {
		w = 256
	}
	return &round{l: l, window: max(1, w/l.cfg.Loops)}
}

func (p *round) tick(int64) (int64, bool) {
	l := p.l
	for p.outstanding < p.window && p.next < len(l.conns) {
		c := &l.conns[p.next]
		p.next++
		if c.state != stateOpen || c.role != roleEcho {
			continue
		}
		p.outstanding++
		l.say(c, l.clk.now())
		l.flush(c)
	}
	return 0, p.outstanding == 0 && p.next == len(l.conns)
}

func (p *round) reply(_ *conn, sent int64) {
	p.outstanding--
	p.l.count(p.l.now-sent, true)
}

func (p *round) gone(c *conn, opened bool) {
	if opened {
		p.outstanding -= c.outstanding()
	}
}

// count records a right echo.
func (l *loop) count(latency int64, measured bool) {
	l.st.RoundTrip.Record(latency)
	l.prog.done.Add(1)
	if measured {
		l.st.Messages++
		l.st.Bytes += int64(l.size)
	}
}

// load echoes on the active connections until it is stopped: in a closed loop,
// where each answer is the sign to send again, or at a fixed rate, where the
// latency counts from the time a message was due.
type load struct {
	idle
	l           *loop
	active      []int32
	others      []int32
	inFlight    int
	outstanding int
	stopping    bool
	begun       int // of active, those begun
	pace        pacer
	cursor      int
	bystand     pacer
	bycursor    int
}

// paceBurst messages are sent between two looks at the events.
const paceBurst = 64

func newLoad(l *loop, cmd *Command) *load {
	p := &load{l: l, inFlight: min(max(1, cmd.InFlight), l.slots)}
	var all []int32
	for i := range l.conns {
		l.conns[i].active = false
		if l.conns[i].state == stateOpen && l.conns[i].role == roleEcho {
			all = append(all, int32(i))
		}
	}
	want := cmd.Active
	if want <= 0 || want > len(all) {
		want = len(all)
	}
	for i := range want { // spread over all
		at := all[i*len(all)/want]
		p.active = append(p.active, at)
		l.conns[at].active = true
	}
	for _, at := range all {
		if !l.conns[at].active {
			p.others = append(p.others, at)
		}
	}
	if cmd.Rate > 0 {
		p.pace = newPacer(l.now, cmd.Rate)
		p.inFlight = l.slots
		p.begun = len(p.active)
	}
	if cmd.Bystand > 0 && len(p.others) > 0 {
		p.bystand = newPacer(l.now, cmd.Bystand)
	}
	return p
}

func (p *load) tick(now int64) (wake int64, done bool) {
	if p.stopping {
		return 0, p.outstanding == 0
	}
	for range paceBurst {
		if p.begun == len(p.active) {
			break
		}
		p.begin(&p.l.conns[p.active[p.begun]])
		p.begun++
	}
	if p.begun < len(p.active) {
		return now, false
	}
	wake = p.paced(&p.pace, p.active, &p.cursor, now)
	by := p.paced(&p.bystand, p.others, &p.bycursor, now)
	if wake == 0 || by != 0 && by < wake {
		wake = by
	}
	return wake, false
}

// begin sends the first messages of a closed loop.
func (p *load) begin(c *conn) {
	if c.state != stateOpen {
		return
	}
	at := p.l.clk.now()
	for range p.inFlight {
		p.outstanding++
		p.l.say(c, at)
	}
	p.l.flush(c)
}

// paced sends what is due over the connections in rotation, and returns when
// the next is due. A connection with no room is passed over; when none has
// room, the message stays due and its latency grows.
func (p *load) paced(pace *pacer, over []int32, cursor *int, now int64) int64 {
	if !pace.on() {
		return 0
	}
	for range paceBurst {
		due := pace.due()
		if due > now {
			return due
		}
		c := p.room(over, cursor)
		if c == nil {
			return now + 1e6
		}
		pace.issued++
		p.outstanding++
		p.l.say(c, due)
		p.l.flush(c)
	}
	return now
}

// room finds the next connection that may send.
func (p *load) room(over []int32, cursor *int) *conn {
	for range over {
		c := &p.l.conns[over[*cursor]]
		if *cursor++; *cursor == len(over) {
			*cursor = 0
		}
		if c.state == stateOpen && c.outstanding() < p.l.slots {
			return c
		}
	}
	return nil
}

func (p *load) reply(c *conn, sent int64) {
	p.outstanding--
	if !c.active {
		p.l.st.Bystander.Record(p.l.now - sent)
		p.l.st.Messages++ // the server has worked for it
		return
	}
	p.l.count(p.l.now-sent, !p.stopping)
	if !p.stopping && !p.pace.on() {
		p.outstanding++
		p.l.say(c, p.l.now)
	}
}

func (p *load) gone(c *conn, opened bool) {
	if opened {
		p.outstanding -= c.outstanding()
	}
}

func (p *load) stop(l *loop) {
	p.stopping = true
	l.st.Nanos = l.now - l.mark
}
