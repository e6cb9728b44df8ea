package netpoll

import "errors"

// ErrFull is returned by Adopt when Config.MaxConns connections are open.
var ErrFull = errors.New("netpoll: as many connections are open as may be")

// reserve takes the right to open one connection. refuse: only to be refused.
func (r *Reactor) reserve() (refuse, ok bool) {
	if r.conns.Add(1) <= int64(r.cfg.MaxConns) {
		return false, true
	}
	r.conns.Add(-1)
	if r.refused.Add(1) <= int64(r.cfg.Spare) {
		return true, true
	}
	r.refused.Add(-1)
	return false, false
}

// unreserve gives that right back, and lets listeners go on that waited for it.
func (r *Reactor) unreserve(refuse bool) {
	if refuse {
		r.refused.Add(-1)
	} else {
		r.conns.Add(-1)
	}
	r.acceptor.freed()
	r.tellGone()
}

// free reports whether reserve would succeed.
func (r *Reactor) free() bool {
	return r.conns.Load() < int64(r.cfg.MaxConns) || r.refused.Load() < int64(r.cfg.Spare)
}

// open gives a socket a slot. The caller has reserved it. The connection is running, and thereby
// the caller's alone, until slot.admit.
func (r *Reactor) open(fd int, p peer, flags uint16) (Conn, *slot) {
	index, _ := r.slots.Get() // there are as many as can be reserved
	r.peers.Ensure(index)
	*r.peers.At(index) = p
	s := r.slots.At(index)
	gen := max(1, uint32(s.word.Load()>>32))
	c := MakeConn(index, gen)
	r.timers.open(c)
	s.oflags, s.drain = flags, 0
	s.cork.Store(0)
	s.wmu.Lock()
	s.fd, s.wflags, s.queue = int32(fd), 0, 0
	s.queued.Store(0)
	s.word.Store(word(gen)<<32 | inline | stateRunning)
	s.wmu.Unlock()
	return c, s
}

// watch adds an open connection to a loop's epoll set. On an error its slot is free again, the
// descriptor is the caller's, and so is the reservation.
func (r *Reactor) watch(c Conn, s *slot) error {
	l := r.loops[r.acceptor.nextLoop.Add(1)%uint32(len(r.loops))]
	err := l.watch(s.fd, c)
	if err == nil {
		r.stats.accepted.Add(1)
		return nil
	}
	s.wmu.Lock()
	s.fd = -1
	r.output.free(s)
	s.wflags = 0
	s.word.Store(word(c.Gen()+1) << 32)
	s.wmu.Unlock()
	r.slots.Put(c.Index())
	return err
}

// unwatch removes a descriptor from the epoll set that it is in.
func (r *Reactor) unwatch(fd int) {
	for _, l := range r.loops {
		if l.unwatch(fd) == nil {
			return
		}
	}
}

// release gives a closed connection's slot back.
func (r *Reactor) release(index uint32, refused bool) {
	r.slots.Put(index)
	r.stats.closed.Add(1)
	r.unreserve(refused)
}
