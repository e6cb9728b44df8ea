package client

import "time"

// connecting opens every dead connection, a bounded number at a time.
type connecting struct {
	idle
	l        *loop
	next     int
	inFlight int
	max      int
	pace     pacer

	again  bool // refusals are tried again
	queue  []int32
	due    []int64
	giveUp int64
}

// dialBurst connections are begun between two looks at the events, so that
// the answers do not wait behind a burst of our own.
const dialBurst = 16

const (
	retryDelay = 200 * time.Millisecond
	retryFor   = 60 * time.Second
)

func newConnecting(l *loop, cmd *Command) *connecting {
	p := &connecting{
		l: l, again: cmd.Retry, max: max(1, l.cfg.MaxHandshakes/l.cfg.Loops),
		giveUp: l.now + int64(retryFor),
	}
	if r := l.cfg.ConnectRate; r > 0 {
		p.pace = newPacer(l.now, r*l.share)
	}
	return p
}

func (p *connecting) tick(now int64) (int64, bool) {
	for range dialBurst {
		c, wake := p.pick(now)
		if c == nil {
			done := wake == 0 && p.next == len(p.l.conns) && p.inFlight == 0 && len(p.queue) == 0
			return wake, done
		}
		p.inFlight++
		p.l.dial(c)
	}
	return now, false
}

// pick returns the next connection to dial, or when to ask again.
func (p *connecting) pick(now int64) (*conn, int64) {
	if p.inFlight >= p.max {
		return nil, 0
	}
	if p.pace.on() && p.next < len(p.l.conns) {
		if at := p.pace.due(); at > now {
			return nil, at
		}
		p.pace.issued++
	}
	for p.next < len(p.l.conns) {
		c := &p.l.conns[p.next]
		p.next++
		if c.state == stateDead {
			return c, 0
		}
	}
	if len(p.queue) == 0 {
		return nil, 0
	}
	if p.due[0] > now {
		return nil, p.due[0]
	}
	c := &p.l.conns[p.queue[0]]
	p.queue, p.due = p.queue[1:], p.due[1:]
	return c, 0
}

func (p *connecting) opened(*conn) {
	p.inFlight--
	p.l.prog.done.Add(1)
}

func (p *connecting) gone(_ *conn, opened bool) {
	if !opened {
		p.inFlight--
	}
}

func (p *connecting) retry(c *conn) bool {
	if !p.again || p.l.now > p.giveUp {
		return false
	}
	p.inFlight--
	p.queue = append(p.queue, p.l.indexOf(c))
	p.due = append(p.due, p.l.clk.now()+int64(retryDelay))
	return true
}
