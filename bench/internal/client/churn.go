package client

// churn repeats the whole life of a connection: connect, echo a secret that no
// other connection and no other cycle has, end. Half of the ends are closing
// handshakes, a quarter FIN without a Close frame, a quarter RST.
type churn struct {
	l       *loop
	todo    int64   // cycles not begun
	running int     // cycles begun and not ended
	dialing int     // of those, not open yet
	max     int     // of dialing
	free    []int32 // connections between two cycles
}

func newChurn(l *loop, cmd *Command) *churn {
	l.kind = KindCross
	p := &churn{l: l, todo: cmd.Cycles, max: max(1, l.cfg.MaxHandshakes/l.cfg.Loops)}
	for i := range l.conns {
		if l.conns[i].state == stateDead {
			p.free = append(p.free, int32(i))
		}
	}
	return p
}

func (p *churn) tick(now int64) (int64, bool) {
	for range dialBurst {
		if p.todo == 0 || len(p.free) == 0 || p.dialing >= p.max {
			return 0, p.running == 0 && (p.todo == 0 || len(p.free) == 0)
		}
		at := p.free[len(p.free)-1]
		p.free = p.free[:len(p.free)-1]
		p.todo--
		p.running++
		p.dialing++
		p.l.dial(&p.l.conns[at])
	}
	return now, false
}

func (p *churn) opened(c *conn) {
	p.dialing--
	p.l.say(c, p.l.now)
}

func (p *churn) reply(c *conn, sent int64) {
	l := p.l
	l.count(l.now-sent, true)
	switch mix(uint64(c.id)<<32|uint64(c.cycle)) % 4 {
	case 0:
		l.drop(c)
		l.st.Fin++
		p.ended(c)
	case 1:
		l.reset(c)
		l.st.Rst++
		p.ended(c)
	default:
		l.st.Clean++
		l.beginClose(c) // gone is told when the server has closed
	}
}

func (p *churn) gone(c *conn, opened bool) {
	if !opened {
		p.dialing--
	}
	p.ended(c)
}

func (p *churn) ended(c *conn) {
	p.running--
	p.l.st.Cycles++
	p.free = append(p.free, p.l.indexOf(c))
}
