package netpoll

import (
	"fmt"
	"runtime"
	"time"

	"github.com/mailru/easygo/netpoll"
	"golang.org/x/sys/unix"
)

// loop is one event loop. easygo's Epoll owns the goroutine and sleeps in epoll_wait; what it
// watches is a single descriptor, the inner epoll set, in which the listeners and clients
// of the loop are registered. When anything in it is ready, easygo calls ready, which fetches
// the events in batches. So no memory of easygo's, no closure and no lock is spent on a
// connection, and the end of a batch is known.
type loop struct {
	r     *Reactor
	epoll *netpoll.Epoll // nil before start
	inner int            // epoll descriptor

	// Owned by easygo's goroutine from start on.
	turn    Turn
	yielded time.Time // when the scheduler last ran on this P
	events  []unix.EpollEvent
	fast    []uint32 // scratch of a batch: ready inline connections
	ears    []int    // scratch of a batch: ready listeners
}

const loopEvents = 512

// yieldEvery is how often a loop that serves everything itself goes through the scheduler.
// Go's monitor thread takes the P from a goroutine that has not done so for 10 ms, even if it
// sleeps in a system call most of that time, and polls every 20 µs for a while after each such
// intervention. For a loop that is woken a few thousand times a second this cost a third of
// the process's CPU.
const yieldEvery = 5 * time.Millisecond

func newLoop(r *Reactor, n int) (*loop, error) {
	inner, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("netpoll: epoll_create1: %w", err)
	}
	return &loop{r: r, inner: inner, events: make([]unix.EpollEvent, loopEvents), fast: make([]uint32, 0, loopEvents)}, nil
}

// start has easygo start the loop's goroutine. stop ends it and waits for it.
func (l *loop) start() error {
	ep, err := netpoll.EpollCreate(&netpoll.EpollConfig{OnWaitError: l.failed})
	if err != nil {
		return fmt.Errorf("netpoll: starting a loop: %w", err)
	}
	l.epoll = ep
	if err := ep.Add(l.inner, netpoll.EPOLLIN, l.ready); err != nil {
		return fmt.Errorf("netpoll: watching the inner epoll set: %w", err)
	}
	return nil
}

func (l *loop) stop() {
	if l.epoll != nil {
		if err := l.epoll.Close(); err != nil {
			l.r.cfg.Logger.Error("closing an event loop failed", "err", err)
		}
	}
}

func (l *loop) closeInner() { _ = unix.Close(l.inner) }

// failed is called when easygo's epoll_wait fails for good: nothing would ever be read again,
// and a supervisor has to start the process anew.
func (l *loop) failed(err error) {
	l.r.cfg.Logger.Error("event loop failed", "err", err)
	panic(fmt.Sprintf("netpoll: epoll_wait: %v", err))
}

// watch adds a connection to the inner set: edge-triggered, for everything, once and for all.
func (l *loop) watch(fd int32, c Conn) error {
	return unix.EpollCtl(l.inner, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     int32(c.Index()),
		Pad:    int32(c.Gen()),
	})
}

// Listeners are told from connections by an index that no slot has.
const listenerTag = 1 << 30

func (l *loop) watchListener(fd int, n int) error {
	return unix.EpollCtl(l.inner, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(listenerTag | n)})
}

func (l *loop) unwatch(fd int) error { return unix.EpollCtl(l.inner, unix.EPOLL_CTL_DEL, fd, nil) }

// ready is easygo's callback. easygo watches the inner set level-triggered, so returning
// before it is empty loses nothing.
func (l *loop) ready(netpoll.EpollEvent) {
	for !l.r.closing.Load() { // easygo calls once more when it has been closed
		n, errno := epollPoll(l.inner, l.events)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 || n == 0 {
			return
		}
		if handed := l.batch(l.events[:n]); handed {
			// The goroutines just made runnable sit on this P. Going back into epoll_wait
			// would strand them until another P steals them or the monitor takes this one
			// away; let them run here instead.
			runtime.Gosched()
			l.yielded = time.Now()
		} else if now := time.Now(); now.Sub(l.yielded) > yieldEvery {
			runtime.Gosched()
			l.yielded = now
		}
		if n <= 2 {
			return // after so few there is rarely more: one call saved
		}
	}
}

// batch moves the state words of what is ready, and has it served. It reports whether
// workers were given something.
func (l *loop) batch(events []unix.EpollEvent) (handed bool) {
	r := l.r
	st := &l.turn.stats
	st.batches.Add(1)
	st.events.Add(uint64(len(events)))
	var slow list
	fast := l.fast[:0]
	l.ears = l.ears[:0]
	for i := range events {
		ev := &events[i]
		if ev.Fd >= listenerTag {
			l.ears = append(l.ears, int(ev.Fd&^listenerTag))
			continue
		}
		index := uint32(ev.Fd)
		s := r.slots.At(index)
		var why Reason
		if ev.Events&unix.EPOLLIN != 0 {
			why = Readable
		}
		if ev.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			why |= HangUp
		}
		if ev.Events&unix.EPOLLERR != 0 {
			why |= Broken
		}
		if ev.Events&unix.EPOLLOUT != 0 && s.queued.Load() > 0 {
			why |= Writable
		}
		if why == 0 {
			continue // a fresh or drained socket has room, and nobody waits for that
		}
		enlist, ok := s.mark(MakeConn(index, uint32(ev.Pad)), why)
		switch {
		case !ok:
			st.stale.Add(1)
		case !enlist:
		case s.kind.Load() == kindInline:
			fast = append(fast, index)
		default:
			slow.push(r, index)
		}
	}
	if len(fast) > r.cfg.InlineBatch || r.cfg.InlineBatch == NoInline {
		for _, index := range fast {
			slow.push(r, index)
		}
		fast = fast[:0]
	}
	handed = slow.n > 0
	r.dispatch(slow)
	for _, index := range fast {
		l.turn.run(index)
	}
	for _, n := range l.ears {
		r.acceptor.serve(l, n)
	}
	return handed
}
