package netpoll

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// InjectAcceptErrors makes every accept4 fail with what next returns, until that is 0. Call it
// before Start.
func (r *Reactor) InjectAcceptErrors(next func() unix.Errno) {
	r.acceptor.accept4 = func(fd int) (int, peer, unix.Errno) {
		if errno := next(); errno != 0 {
			return -1, peer{}, errno
		}
		return accept4(fd)
	}
}

// AcceptOne tries to accept a connection from the first listener, as its loop does. It reports an
// error of accept4.
func (r *Reactor) AcceptOne() unix.Errno {
	refuse, _ := r.reserve()
	_, errno := r.acceptor.acceptOne(r.acceptor.all()[0], refuse)
	return errno
}

// SlotSize is the size of a slot in bytes.
const SlotSize = unsafe.Sizeof(slot{})

// QueueSlots returns how many messages the list of c's outbound queue has room for.
func (r *Reactor) QueueSlots(c Conn) int {
	s := r.slots.At(c.Index())
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.queue == 0 {
		return 0
	}
	return cap(r.output.queues.At(s.queue - 1).segs)
}

// ListenLate is Listen on a unix socket, behind its first look at whether it is too late.
func (r *Reactor) ListenLate(path string) error {
	_, err := r.acceptor.listenUnix(path, 1)
	return err
}

// Closing reports whether Close has told loops and workers to stop.
func (r *Reactor) Closing() bool { return r.closing.Load() }

// Takeover reports whether a connection of generation 1, in state 0 idle to 3 dirty, can be seized by
// Close for generation gen, and whether whoever has it in a list can begin with it after that.
func Takeover(state uint64, gen uint32) (seized, begun bool) {
	var s slot
	s.word.Store(1<<32 | state)
	seized = s.seize(MakeConn(0, gen))
	_, _, begun = s.begin()
	return seized, begun
}

// WriteBroken sends p on a connection whose socket has failed meanwhile.
func (r *Reactor) WriteBroken(c Conn, p []byte) error {
	s := r.slots.At(c.Index())
	s.wmu.Lock()
	defer s.wmu.Unlock()
	s.wflags |= wBroken
	return r.output.write(c, s, &outgoing{body: p, msgs: 1}, nil)
}

// Due reports whether c has a deadline that has passed.
func (r *Reactor) Due(c Conn) bool { return r.timers.overdue(c) >= 0 }

// SetSendBuffer makes the kernel's buffer behind c as small as n, or as the kernel allows.
func (r *Reactor) SetSendBuffer(c Conn, n int) error {
	return r.SetSocketOption(c, unix.SOL_SOCKET, unix.SO_SNDBUF, n)
}

// SetSocketOption sets an option of the socket behind c.
func (r *Reactor) SetSocketOption(c Conn, level, name, value int) error {
	s := r.slots.At(c.Index())
	s.wmu.Lock()
	defer s.wmu.Unlock()
	return unix.SetsockoptInt(int(s.fd), level, name, value)
}

// Corked reports whether a turn collects what is sent to c.
func (r *Reactor) Corked(c Conn) bool { return r.slots.At(c.Index()).cork.Load() != 0 }

// SocketOption returns an option of the socket behind c.
func (r *Reactor) SocketOption(c Conn, level, name int) (int, error) {
	s := r.slots.At(c.Index())
	s.wmu.Lock()
	defer s.wmu.Unlock()
	return unix.GetsockoptInt(int(s.fd), level, name)
}

// Unacked returns how many bytes the socket behind c holds that its peer has not acknowledged.
func (r *Reactor) Unacked(c Conn) int {
	s := r.slots.At(c.Index())
	s.wmu.Lock()
	defer s.wmu.Unlock()
	return look(int(s.fd)).unacked
}

// Idle reports whether no turn of c runs or waits.
func (r *Reactor) Idle(c Conn) bool {
	w := r.slots.At(c.Index()).word.Load()
	return uint32(w>>32) == c.Gen() && w&(stateMask|reasonMask) == stateIdle
}

// An Option is the level and name of a socket option.
type Option struct{ Level, Name int }

func exported(opts []option) (names []Option) {
	for _, o := range opts {
		names = append(names, Option{o.level, o.name})
	}
	return names
}

// Options returns the options that are set on TCP sockets.
func Options(o SocketOptions) []Option { return exported(o.tcp()) }

// OptionsOfEach returns the options that are set on each connection of the first listener.
func (r *Reactor) OptionsOfEach() []Option { return exported(r.acceptor.all()[0].each) }

// ListenerOption returns an option of the first listener's socket.
func (r *Reactor) ListenerOption(level, name int) (int, error) {
	return unix.GetsockoptInt(r.acceptor.all()[0].fd, level, name)
}

// Marks reports whether the reactor has memory for what peers had acknowledged, which it needs when
// an answer is late.
func (r *Reactor) Marks(c Conn) bool { return r.marks.Chunk(c.Index()) != nil }

// HasDeadline reports whether c has a deadline, passed or not.
func (r *Reactor) HasDeadline(c Conn) bool { return r.timers.dues.At(c.Index()).Load() != 0 }

// ResumeFailing has the first listener watched again, which fails because it is being watched:
// at the end of its rest, or because a connection has been closed.
func (r *Reactor) ResumeFailing(closed bool) {
	a := &r.acceptor
	a.mu.Lock()
	a.all()[0].rest = restFull
	a.resting.Add(1)
	a.waiting.Store(true)
	a.mu.Unlock()
	if closed {
		a.freed()
	} else {
		a.resume(0, restFull)
	}
}

// WaitForRoom has the next close of a connection look for listeners that wait for it.
func (r *Reactor) WaitForRoom() { r.acceptor.waiting.Store(true) }
