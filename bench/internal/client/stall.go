package client

import (
	"golang.org/x/sys/unix"

	"wsgateway/bench/internal/frame"
	"wsgateway/bench/internal/handshake"
)

// Places where a stalled connection stops, a third of them at each.
const (
	StallHeader    = "header"    // upgraded, one byte of a frame header sent
	StallPayload   = "payload"   // upgraded, a frame header and half of the payload sent
	StallHandshake = "handshake" // half of the request head sent
)

const stallBytes = 128 // of the payload of which half is sent

// stallsAt says where c stops. It holds for the connection's whole life, so
// that each place has its third over all processes.
func (c *conn) stallsAt() string {
	switch c.id % 3 {
	case 0:
		return StallHeader
	case 1:
		return StallPayload
	}
	return StallHandshake
}

// stallHead sends half of the request head. Where the socket is not connected
// yet, the connection stays as it is.
func (l *loop) stallHead(c *conn) {
	p := handshake.AppendRequest(l.wbuf[:0], l.cfg.Host, l.cfg.Path, l.key(c))
	_, errno := send(c.fd, p[:len(p)/2])
	switch {
	case errno == unix.EAGAIN:
		return
	case errno != 0:
		l.refused(c, KindDial, "connect: "+errno.Error())
		return
	}
	c.state, c.stalled = stateHandshaking, true
	l.ph.opened(c)
}

// stallFrame begins a frame on an upgraded connection; the caller flushes.
func (l *loop) stallFrame(c *conn) {
	c.stalled = true
	mask := l.mask()
	from := len(l.wbuf)
	l.wbuf = frame.AppendHeader(l.wbuf, frame.Binary, stallBytes, mask)
	if c.stallsAt() == StallHeader {
		l.wbuf = l.wbuf[:from+1]
		return
	}
	at := len(l.wbuf)
	l.wbuf = append(l.wbuf, make([]byte, stallBytes/2)...)
	fill(l.wbuf[at:], seedOf(l.cfg.Secret, c.id, c.cycle, 0))
	frame.Mask(l.wbuf[at:], mask)
}

// evicted counts a stalled connection that the server has ended: its right.
func (l *loop) evicted(c *conn, how string) {
	bump(&l.st.StallClosed, c.stallsAt()+" "+how, 1)
	c.evicted = true
	l.end(c)
}

// held counts the connections that are stalled now.
func (l *loop) held() (m map[string]int64) {
	for i := range l.conns {
		if c := &l.conns[i]; c.stalled && c.state != stateDead {
			bump(&m, c.stallsAt(), 1)
		}
	}
	return m
}

// stalling opens every connection and leaves each in the middle of something.
// Those in the handshake come last, because a server gives them the least
// time, and paced: no answer tells whether the server keeps up.
type stalling struct {
	idle
	l        *loop
	queue    []int32 // to be opened
	inFlight int
	max      int
	rate     float64 // of those in the handshake
	pace     pacer
}

func newStalling(l *loop, cmd *Command) *stalling {
	p := &stalling{l: l, max: max(1, l.cfg.MaxHandshakes/l.cfg.Loops), rate: cmd.Rate}
	var last []int32
	for i := range l.conns {
		switch c := &l.conns[i]; {
		case c.state != stateDead:
		case c.stallsAt() == StallHandshake:
			last = append(last, int32(i))
		default:
			p.queue = append(p.queue, int32(i))
		}
	}
	p.queue = append(p.queue, last...)
	return p
}

func (p *stalling) tick(now int64) (int64, bool) {
	for range dialBurst {
		if len(p.queue) == 0 {
			return 0, p.inFlight == 0
		}
		c := &p.l.conns[p.queue[0]]
		if p.inFlight >= p.max {
			return 0, false
		}
		if c.stallsAt() == StallHandshake && p.rate > 0 {
			if !p.pace.on() {
				if p.inFlight > 0 { // the upgraded ones are not complete
					return 0, false
				}
				p.pace = newPacer(now, p.rate)
			}
			if due := p.pace.due(); due > now {
				return due, false
			}
			p.pace.issued++
		}
		p.queue = p.queue[1:]
		p.inFlight++
		p.l.dial(c)
	}
	return now, false
}

func (p *stalling) opened(c *conn) {
	p.inFlight--
	p.l.prog.done.Add(1)
	if !c.stalled {
		p.l.stallFrame(c)
	}
}

func (p *stalling) gone(c *conn, _ bool) {
	if !c.stalled { // never came to its place
		p.inFlight--
	}
}

// holding keeps the number of connections that are stalled in the handshake,
// where the server's patience is shortest: it opens anew what the server has
// ended there, at a bounded rate.
type holding struct {
	stalling
	stopping bool
}

func newHolding(l *loop, cmd *Command) *holding {
	p := &holding{stalling: *newStalling(l, cmd)}
	all := p.queue
	p.queue = nil
	for _, at := range all {
		if c := &l.conns[at]; c.evicted && c.stallsAt() == StallHandshake {
			p.queue = append(p.queue, at)
		}
	}
	return p
}

func (p *holding) tick(now int64) (int64, bool) {
	if p.stopping {
		return 0, true
	}
	wake, _ := p.stalling.tick(now)
	return wake, false
}

func (p *holding) opened(c *conn) {
	p.stalling.opened(c)
	p.l.st.Renewed++
}

func (p *holding) gone(c *conn, opened bool) {
	p.stalling.gone(c, opened)
	if !c.evicted || c.stallsAt() != StallHandshake {
		return
	}
	if len(p.queue) == 0 {
		p.pace = pacer{} // time without need is not saved up
	}
	p.queue = append(p.queue, p.l.indexOf(c))
}

func (p *holding) stop(*loop) { p.stopping = true }
