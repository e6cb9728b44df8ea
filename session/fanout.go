package session

import (
	"runtime"
	"sync"
	"sync/atomic"

	"wsgateway/internal/counter"
	"wsgateway/netpoll"
)

// fanout sends publications to the members of channels. Each of its goroutines has its share of
// the members, those of one part of every channel, and a queue: what is published to a channel by one
// goroutine reaches every member in that order.
type fanout struct {
	srv    *Server
	queues []chan job
	stop   chan struct{}
	stops  sync.Once
	closed atomic.Bool
	ended  sync.WaitGroup

	waiting atomic.Int64 // publications
	bytes   atomic.Int64 // of them
	limit   int64        // of waiting; every queue has room for as many
	most    int64        // of bytes

	published atomic.Uint64
	refused   atomic.Uint64
	delivered counter.Sharded // to a session: sent or queued
	missed    counter.Sharded // members whose session was over, or did not read
}

// job is one publication for the members of a part.
type job struct {
	*publication
	part uint32
}

type publication struct {
	ch     *channel // nil: all sessions of a route
	route  int      // -1 for all
	m      *Prepared
	except []conn
	left   atomic.Int32 // parts that have not been sent to
}

// sliceLen is how many members are sent to before others get the processor: some 250 µs.
const sliceLen = 64

func newFanout(s *Server, parts int, limit int, most int64) *fanout {
	f := &fanout{srv: s, stop: make(chan struct{}), limit: int64(limit), most: most}
	for range parts {
		f.queues = append(f.queues, make(chan job, limit))
	}
	return f
}

// start starts the goroutines; close ends them and waits for them. What waits is then dropped.
func (f *fanout) start() {
	for i := range f.queues {
		f.ended.Go(func() { f.run(f.queues[i]) })
	}
}

func (f *fanout) close() {
	f.closed.Store(true)
	f.stops.Do(func() { close(f.stop) })
	f.ended.Wait()
	f.drain()
}

// drain drops what waits when nobody serves the queues any more.
func (f *fanout) drain() {
	for _, q := range f.queues {
		for len(q) > 0 {
			select {
			case j := <-q:
				f.done(j)
			default: // somebody else drains it
			}
		}
	}
}

// publish sends m to the members of ch, but for those in except, which it keeps. A small channel
// is served at once, unless something waits to be sent to it.
func (f *fanout) publish(ch *channel, m *Prepared, except []conn) error {
	if ch.pending.Load() == 0 {
		var members [sliceLen]conn
		if list, ok := ch.few(members[:0]); ok {
			f.published.Add(1)
			f.send(list, m, except)
			return nil
		}
	}
	if !f.admit(int64(len(m.frame))) {
		f.refused.Add(1)
		return ErrBusy
	}
	f.published.Add(1)
	p := &publication{ch: ch, m: m, except: except}
	ch.pending.Add(1)
	f.enqueue(p)
	return nil
}

// broadcast sends m to all sessions of a route.
func (f *fanout) broadcast(route int, m *Prepared, except []conn) error {
	if !f.admit(int64(len(m.frame))) {
		f.refused.Add(1)
		return ErrBusy
	}
	f.published.Add(1)
	f.enqueue(&publication{route: route, m: m, except: except})
	return nil
}

func (f *fanout) enqueue(p *publication) {
	p.left.Store(int32(len(f.queues)))
	for i, q := range f.queues {
		q <- job{p, uint32(i)} // has room, see limit
	}
	if f.closed.Load() {
		f.ended.Wait()
		f.drain()
	}
}

// admit counts a publication of n bytes, if there is room for it.
func (f *fanout) admit(n int64) bool {
	if f.waiting.Add(1) > f.limit {
		f.waiting.Add(-1)
		return false
	}
	if f.bytes.Add(n) > f.most {
		f.bytes.Add(-n)
		f.waiting.Add(-1)
		return false
	}
	return true
}

func (f *fanout) run(queue chan job) {
	buf := make([]conn, 0, sliceLen)
	for {
		select {
		case <-f.stop:
			return
		case j := <-queue:
			f.serve(j, buf)
		}
	}
}

// serve sends one publication to the members of a part.
func (f *fanout) serve(j job, buf []conn) {
	if j.ch == nil {
		f.serveAll(j, buf)
	} else {
		p := &(*j.ch.spread.Load())[j.part] // it is not small: it was not sent to at once
		end := p.begin()
		for at := 0; at < end; at += sliceLen {
			f.send(p.slice(buf, at, end), j.m, j.except)
			runtime.Gosched() // loops and workers wait no longer than for a slice
		}
		p.end(f.srv.channels)
	}
	f.done(j)
}

// done says that a part of a publication has been sent, or dropped.
func (f *fanout) done(j job) {
	if j.left.Add(-1) == 0 {
		f.bytes.Add(-int64(len(j.m.frame)))
		f.waiting.Add(-1)
		if j.ch != nil {
			f.srv.channels.sent(j.ch)
		}
	}
}

// serveAll sends to this part of all sessions.
func (f *fanout) serveAll(j job, buf []conn) {
	s := f.srv
	for i, high := j.part, s.tr.High(); i < high; i += uint32(len(f.queues)) {
		if !s.table.has(i) {
			continue // its first connection is being admitted
		}
		m := s.table.at(i).load()
		if m.phase() == phaseOpen && (j.route < 0 || m.route() == uint16(j.route)) {
			buf = append(buf, netpoll.MakeConn(i, m.gen()))
		}
		if len(buf) == cap(buf) {
			f.send(buf, j.m, j.except)
			buf = buf[:0]
			runtime.Gosched()
		}
	}
	f.send(buf, j.m, j.except)
}

func (f *fanout) send(list []conn, m *Prepared, except []conn) {
next:
	for _, c := range list {
		for _, x := range except {
			if x == c {
				continue next
			}
		}
		if (Session{f.srv, c}).SendPrepared(m) == nil { // otherwise the server ends the session by itself
			f.delivered.Add(c.Index(), 1)
		} else {
			f.missed.Add(c.Index(), 1)
		}
	}
}
