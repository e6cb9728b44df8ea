package client

// closing performs the closing handshake on every open connection.
type closing struct {
	idle
	l    *loop
	next int
	left int
}

func newClosing(l *loop) *closing { return &closing{l: l} }

func (p *closing) tick(now int64) (int64, bool) {
	l := p.l
	for range paceBurst {
		if p.next == len(l.conns) {
			return 0, p.left == 0
		}
		c := &l.conns[p.next]
		p.next++
		if c.state != stateOpen {
			continue
		}
		p.left++
		l.now = l.clk.now()
		l.beginClose(c)
		l.flush(c)
	}
	return now, false
}

func (p *closing) gone(c *conn, opened bool) {
	// A connection that ends before its turn was not counted.
	if int(p.l.indexOf(c)) < p.next {
		p.left--
	}
	p.l.prog.done.Add(1)
}

// cutting resets every connection at once.
type cutting struct{ finished }

func newCutting(l *loop) cutting {
	for i := range l.conns {
		if c := &l.conns[i]; c.state != stateDead {
			l.reset(c)
		}
	}
	return cutting{}
}
