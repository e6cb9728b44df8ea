package netpoll

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Handler handles what happens on connections. For one connection the calls come one at a time and
// in order. The goroutine that owns the connection at that moment makes them: a worker, or the loop
// for connections that Turn.SetInline has marked. No call may block. If a call panics or calls
// runtime.Goexit, its connection is closed with ErrPanic.
//
//	Opened { Data | Ended | Notice } Closed
type Handler interface {
	// Opened is the first call for a connection, accepted or adopted (Turn.Adopted). refused says
	// that the connection is over the limit. The handler then answers with Send and
	// Turn.CloseFlushed, and does not serve it.
	Opened(t *Turn, refused bool)
	// Data delivers input. p is the turn's buffer: it may be changed, and is valid until
	// Data returns.
	Data(t *Turn, p []byte)
	// Ended says that the peer has sent its last byte.
	Ended(t *Turn)
	// Notice delivers the reasons Woken, Deadline, Overflow and Stalled of a turn, and HangUp where
	// the connection is paused. It comes after the waiting input has been delivered, so that
	// silence is judged only then. If input had to be left unread, Deadline is withheld, and
	// Turn.Unread reports true.
	Notice(t *Turn, why Reason)
	// Closed is the last call. The descriptor is closed after it, and the index of the
	// connection is free for another one.
	Closed(t *Turn, err error)
}

// Turn is one goroutine's tenure of one connection, with the buffers it is served from. A
// handler uses it only inside the call that it was passed to.
type Turn struct {
	r     *Reactor
	id    uint32 // 1-based, index+1 into Reactor.turns
	local any

	c    Conn
	s    *slot
	done error // why the connection is to be closed at the end of the turn
	rst  bool  // by RST, unsent and unread data discarded

	resumed bool // reading may go on, although no event will say so
	unread  bool // input may have been left unread
	behind  bool // as its budget was spent
	serving bool // from attach to the end of finish
	over    bool // finish has decided how the connection ends, done and rst stay as they are

	buf  []byte // input
	cork cork   // output

	stats     turnStats
	busySince atomic.Int64
}

// Conn returns the connection whose turn it is.
func (t *Turn) Conn() Conn { return t.c }

// Reactor returns the reactor that the connection belongs to.
func (t *Turn) Reactor() *Reactor { return t.r }

// Local returns what Config.NewLocal made for this turn's goroutine.
func (t *Turn) Local() any { return t.local }

// ID is a number that no other Turn of the reactor has, from 0 to the number of loops and workers.
func (t *Turn) ID() int { return int(t.id - 1) }

// OnLoop reports whether the turn is served by an event loop, which must not be held up.
func (t *Turn) OnLoop() bool { return int(t.id) <= len(t.r.loops) }

// SetInline says whether this connection's turns are short and never block, and may
// therefore run on the loop. New connections are inline.
func (t *Turn) SetInline(yes bool) {
	t.s.setInline(yes)
}

// SetDeadline asks for a turn with the reason Deadline after d, counted by the clock that
// Reactor.Advance advances; 0 withdraws it. A connection has one deadline.
func (t *Turn) SetDeadline(d time.Duration) { t.r.timers.set(t.c, d) }

// Pause stops reading input, until Resume. What arrives meanwhile stays in the kernel, which
// slows the peer down. An orderly end of the input is not seen meanwhile, a reset is.
func (t *Turn) Pause() { t.s.oflags |= oPaused }

// Resume ends a Pause.
func (t *Turn) Resume() {
	if t.s.oflags&oPaused != 0 {
		t.s.oflags &^= oPaused
		t.resumed = true
	}
}

// CloseFlushed closes the connection in an orderly way. What is queued leaves first. Then our side
// is shut down (FIN). With linger, input is then discarded until the peer closes too. Otherwise
// unread input would cause a RST, which could destroy what was sent last. Without linger, for peers
// that have nothing more to send, only input that has already arrived is discarded. The close goes
// on while the peer makes progress (Turn.Progress). After Config.CloseTimeout without progress it
// ends with ErrCloseTimeout. It may take up to twice as long if the kernel cannot tell how old the
// last progress is. The handler gets no more calls except Closed.
func (t *Turn) CloseFlushed(linger bool) {
	s := t.s
	if s.oflags&oClosing != 0 || t.done != nil {
		return
	}
	s.oflags = s.oflags&^(oMarked|oBehind) | oClosing // see closeProgress
	if linger {
		s.oflags |= oLinger
	}
	s.drain = drainMax
	t.setFinal()
	t.r.timers.set(t.c, t.r.cfg.CloseTimeout)
}

// Abort closes the connection at the end of this turn. From now on Send refuses messages. What is
// queued is dropped. If the kernel still holds data it drops that too, and the peer gets a RST. err
// is passed to Closed.
func (t *Turn) Abort(err error) {
	if err == nil {
		err = errFlushed // what is nil for Closed
	}
	if t.done == nil && !t.over {
		t.done, t.rst = err, true
		t.setFinal()
	}
}

func (t *Turn) setFinal() {
	t.s.wmu.Lock()
	t.s.wflags |= wFinal
	t.s.wmu.Unlock()
}

// Unread reports whether input may be waiting that this turn has left unread: because the
// connection is paused, its peer does not read its output, or the turn's budget is used up. The
// peer is then not to be taken for silent.
func (t *Turn) Unread() bool { return t.unread }

// run serves one connection that the caller took from a list. When the reactor is being closed
// it is left as it is, since Close closes whatever is queued.
func (t *Turn) run(index uint32) {
	if t.r.closing.Load() {
		return
	}
	s := t.r.slots.At(index)
	gen, why, ok := s.begin()
	if !ok {
		return
	}
	t.attach(MakeConn(index, gen), s)
	t.serve(why)
}

func (t *Turn) attach(c Conn, s *slot) {
	t.c, t.s, t.done, t.rst, t.resumed, t.unread, t.behind, t.serving, t.over = c, s, nil, false, false, false, false, true, false
}

// serve does a turn for the attached connection, whose word is running, and gives it up.
func (t *Turn) serve(why Reason) {
	s, r := t.s, t.r
	t.stats.turns.Add(1)
	if why&HangUp != 0 {
		s.oflags |= oHangUp
	}
	if why&Broken != 0 {
		s.oflags |= oBroken
	}
	if why&UrgentMark != 0 {
		s.oflags |= oUrgent
	}
	s.cork.Store(t.id)
	if s.queued.Load() > 0 || why&WriteFailed != 0 {
		s.wmu.Lock()
		r.output.flush(t.c, s)
		if s.wflags&wTimedOut != 0 {
			t.done = t.unacknowledged() // before reading, which would find the end of the input
		}
		s.wmu.Unlock()
	}
	more := t.handle(why)
	t.uncork()
	if s.oflags&oClosing != 0 && t.done == nil {
		more = t.closing(why)
	}
	t.finish(more)
}

// handle calls the handler for everything that has happened.
func (t *Turn) handle(why Reason) (more Reason) {
	defer t.contain()
	s := t.s
	fresh := s.oflags&oOpened == 0
	if fresh {
		s.oflags |= oOpened
		t.r.handler.Opened(t, s.oflags&oRefused != 0)
	}
	if s.oflags&oClosing == 0 {
		// There is nothing to read yet right after accept, as a rule, and epoll says when.
		if !fresh || why != 0 || s.oflags&oAdopted != 0 {
			more = t.read()
		}
		note := why & (Woken | Deadline | Overflow | Stalled)
		if s.oflags&oPaused != 0 {
			note |= why & HangUp // which the handler does not come to read
		}
		if note != 0 && !t.finished() {
			t.notice(note)
		}
	}
	if t.resumed {
		more |= Readable
	}
	return more
}

// finished reports whether the handler is to get no more calls but Closed.
func (t *Turn) finished() bool {
	return t.done != nil || t.over || t.s.oflags&oClosing != 0 || t.r.closing.Load()
}

// notice passes on what still holds after the input has been read.
func (t *Turn) notice(note Reason) {
	if note&Deadline != 0 && t.excused() {
		note &^= Deadline // another Sweep will find it
	}
	if note&Stalled != 0 && !t.stalled() {
		note &^= Stalled
	}
	if note != 0 {
		t.r.handler.Notice(t, note)
	}
}

// excused reports whether the handler is not to hear of a deadline: because it has set another one, or
// because what the peer owes may be among the input that has not been read. A handler that has paused the
// connection knows that it has.
func (t *Turn) excused() bool {
	overdue := t.Overdue()
	if overdue < 0 {
		return true
	}
	if t.behind {
		return overdue < t.r.cfg.CloseTimeout // a peer that sends all the time is never read to the end
	}
	return t.unread && t.s.oflags&oPaused == 0
}

// Overdue returns how long ago the deadline passed. It is negative if the deadline has not passed
// or there is none. Callers that tolerate a missed deadline must bound for how long: the peer may
// go on for ever.
func (t *Turn) Overdue() time.Duration {
	return t.r.timers.overdue(t.c)
}

// stalled reports whether the queue has not moved for too long, this turn's flush included: the
// edge that reports room comes only when a good part of the socket's buffer is free.
func (t *Turn) stalled() bool {
	t.s.wmu.Lock()
	defer t.s.wmu.Unlock()
	if t.s.queue == 0 {
		return false
	}
	moved := t.r.output.queues.At(t.s.queue - 1).moved.Load()
	return Since(moved, t.r.Now()) >= t.r.cfg.WriteStall
}

// choked reports whether so much output waits that the connection is not to be read. It looks
// under the write lock: a sender that publishes its message tries once more before it unlocks, so
// that what still waits then has met a full socket, whose edge will bring the next turn.
// After the last message no input can add to the output, and the peer's end is worth reading.
func (t *Turn) choked() bool {
	if int(t.s.queued.Load()) <= t.r.cfg.ReadHighWater {
		return false
	}
	t.s.wmu.Lock()
	defer t.s.wmu.Unlock()
	return int(t.s.queued.Load()) > t.r.cfg.ReadHighWater && t.s.wflags&wFinal == 0
}

// read delivers input until there is none, the turn's budget is spent, or the handler or
// the peer's slowness in reading say otherwise. It returns Readable when input may be left
// that no event will report again.
func (t *Turn) read() (more Reason) {
	s, r := t.s, t.r
	for budget := r.cfg.TurnBytes; ; {
		switch {
		case t.finished():
			return 0
		case s.oflags&oPaused != 0 && s.oflags&oBroken != 0:
			t.done = t.pendingError() // nobody would read it otherwise
			return 0
		case s.oflags&oPaused != 0 || t.choked():
			t.unread = true
			return 0
		case budget <= 0:
			t.unread, t.behind = true, true
			return Readable
		}
		n, errno := t.receive()
		switch {
		case n > 0:
			t.stats.readBytes.Add(uint64(n))
			r.handler.Data(t, t.buf[:n])
			budget -= n
			// A short read has emptied the socket, unless it has stopped at an urgent mark. What
			// arrives later makes a new edge, but an end that had been reported already would not.
			if n < len(t.buf) && s.oflags&(oHangUp|oUrgent|oAdopted) == 0 {
				return 0
			}
		case errno == unix.EAGAIN:
			s.oflags &^= oUrgent
			return 0
		case errno == unix.EINTR:
		case errno == 0:
			r.handler.Ended(t)
			if t.done == nil && s.oflags&oClosing == 0 {
				t.CloseFlushed(false)
			}
			s.drain = 0 // nothing more can come
			return 0
		default:
			t.done = t.failure(errno)
			return 0
		}
	}
}

// receive reads input into the turn's buffer: what an adopted connection has brought along, then
// what its socket has. Nothing else reads from a socket.
func (t *Turn) receive() (int, unix.Errno) {
	if s := t.s; s.oflags&oAdopted != 0 {
		if n := t.r.adopted.read(t.c, t.buf); n > 0 {
			return n, 0
		}
		s.oflags &^= oAdopted
	}
	return recvBytes(t.s.fd, t.buf)
}

func (t *Turn) notifyClosed() {
	defer t.contain()
	t.r.handler.Closed(t, t.done)
}

// finish gives the connection up, or closes it. Where Closed ends the goroutine it is called
// again, and goes on behind that. A fault in Closed changes nothing in how the connection ends.
func (t *Turn) finish(more Reason) {
	c, s, r := t.c, t.s, t.r
	if t.done == nil && !t.over {
		if s.end(more) {
			r.pool.enlist(c.Index())
		}
		t.serving = false
		return
	}
	if !t.over {
		t.over = true
		switch t.done {
		case errFlushed:
			t.done = nil
		case ErrCloseTimeout, ErrReactorClosed:
			r.stats.cutOff.Add(1)
		}
		t.setFinal()
	}
	if s.oflags&oOpened != 0 {
		s.oflags &^= oOpened // the last call
		t.notifyClosed()
	}
	if s.oflags&oAdopted != 0 {
		r.adopted.remove(c)
	}
	r.timers.set(c, 0)
	s.wmu.Lock()
	fd := s.fd
	s.fd = -1
	r.output.free(s)
	s.wflags = 0
	refused := s.oflags&oRefused != 0
	s.word.Store(uint64(c.Gen()+1) << 32)
	s.wmu.Unlock()
	if fd >= 0 {
		closeSocket(int(fd), t.rst)
	}
	r.release(c.Index(), refused)
	t.serving = false
}

// closeSocket closes a socket, with an RST if unsent and unread data is to be discarded. It leaves
// its epoll set.
func closeSocket(fd int, rst bool) {
	if rst {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	_ = unix.Close(fd)
}
