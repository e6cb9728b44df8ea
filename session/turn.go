package session

import (
	"time"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// turn is one goroutine's tenure of one connection: what all steps of serving it need. It is part of its
// worker's state, made anew for each of netpoll's calls, and never outlives one. So nothing that runs in
// another goroutine may keep it.
type turn struct {
	*netpoll.Turn
	srv   *Server
	state *workerState
	c     conn
	rec   *record
	route *route // of the session; nil before the upgrade

	request    *request // the client's, until it has been answered; nil if none is complete
	headMethod bool     // the client has asked for the head of the answer only
	decoding   bool     // state.dec is in use
}

// begin makes the turn of a call of netpoll's.
func (s *Server) begin(poll *netpoll.Turn) *turn {
	state := poll.Local().(*workerState)
	t := &state.turn
	if t.decoding { // a handler has ended the goroutine, or something panicked
		state.dec.Release(s.bufs)
		state.dec = wsproto.Decoder{}
	}
	c := poll.Conn()
	*t = turn{Turn: poll, srv: s, state: state, c: c, rec: s.table.record(c)}
	if m := t.rec.load(); m.phase() == phaseOpen || m.phase() == phaseClosing {
		t.route = s.table.route(m)
	} else if pending := t.pending(); pending != nil {
		t.request = &pending.request
	}
	return t
}

// end lets go of the route, which a worker at rest would keep in memory although its table is gone.
func (t *turn) end() {
	t.route = nil
	if t.request != nil {
		t.request, t.state.request = nil, request{}
	}
}

func (t *turn) phase() phase { return t.rec.load().phase() }

func (t *turn) session() Session { return Session{t.srv, t.c} }

// now is the gateway's time in milliseconds.
func (t *turn) now() uint32 { return t.srv.tr.Now() }

// partial returns what is incomplete of the client's input, nil if nothing is.
func (t *turn) partial() *partial { return t.srv.table.partial(t.rec) }

func (t *turn) newPartial() *partial { return t.srv.table.newPartial(t.rec) }

func (t *turn) dropPartial() { t.srv.table.dropPartial(t.rec, t.srv.bufs) }

// wake brings about another turn.
func (t *turn) wake() { _ = t.srv.tr.Wake(t.c) } // this one is running: the connection exists

// deadline sets the deadline of an open session; while closing it is the closing handshake's.
func (t *turn) deadline(d time.Duration) {
	if t.phase() == phaseOpen {
		t.SetDeadline(d)
	}
}
