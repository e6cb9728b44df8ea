package netpoll

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
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
	inner int // epoll descriptor

	mu        sync.Mutex     // guards epoll and replacing; easygo's own lock is taken under it
	epoll     *netpoll.Epoll // nil before start, and when its goroutine is gone for good
	replacing chan struct{}  // set from the end of easygo's goroutine, by a handler, until there is another; closed then

	// Owned by easygo's goroutine from start on, and while replacing is set by the one that replaces it.
	turn           Turn
	yielded        time.Time // when the scheduler last ran on this P
	events         []unix.EpollEvent
	fast           []uint32 // of a batch: ready inline connections
	readyListeners []int    // of a batch: ready listeners
	served         int      // fast[served:] has yet to be served
	nextListener   int      // readyListeners[nextListener:] has yet to be accepted from
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

// start has easygo start the loop's goroutine.
func (l *loop) start() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := roomForTwo()
	var ep *netpoll.Epoll
	if err == nil {
		ep, err = netpoll.EpollCreate(&netpoll.EpollConfig{OnWaitError: l.reportFailure})
	}
	if err != nil {
		return fmt.Errorf("netpoll: starting a loop: %w", err)
	}
	if err := ep.Add(l.inner, netpoll.EPOLLIN, l.ready); err != nil {
		_ = ep.Close()
		return fmt.Errorf("netpoll: watching the inner epoll set: %w", err)
	}
	l.epoll = ep
	if l.replacing != nil {
		close(l.replacing)
		l.replacing = nil
	}
	return nil
}

// roomForTwo tries for the two descriptors that easygo needs: it loses the first if it cannot have
// the second.
func roomForTwo() error {
	a, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(a)
	b, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	return unix.Close(b)
}

// end ends the loop, waits for its goroutine, and leaves in its place.
func (l *loop) end() {
	for l.stop() {
	}
	l.turn.keep(func() { l.r.leave(&l.turn) })
}

// stop waits for easygo's goroutine or for its replacement, and reports whether there can be
// another.
func (l *loop) stop() bool {
	l.mu.Lock()
	ep, replacing := l.epoll, l.replacing
	l.mu.Unlock()
	if replacing != nil {
		<-replacing
		return true
	}
	if ep == nil {
		return false
	}
	if err := ep.Close(); err != nil && !errors.Is(err, netpoll.ErrClosed) {
		l.r.cfg.Logger.Error("closing an event loop failed", "err", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoll == ep && l.replacing == nil {
		l.epoll = nil
	}
	return true
}

func (l *loop) closeInner() { _ = unix.Close(l.inner) }

// reportFailure is called when easygo's epoll_wait fails for good: nothing would ever be read again,
// and a supervisor has to start the process anew.
func (l *loop) reportFailure(err error) {
	l.r.cfg.Logger.Error("event loop failed", "err", err)
	panic(fmt.Sprintf("netpoll: epoll_wait: %v", err))
}

// watch adds a connection to the inner set: edge-triggered, for everything, once and for all.
func (l *loop) watch(fd int32, c Conn) error {
	return unix.EpollCtl(l.inner, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET,
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
func (l *loop) ready(ev netpoll.EpollEvent) {
	if ev&netpoll.EPOLLIN == 0 {
		return // easygo calls once more when it has been closed
	}
	defer l.lost()
	for !l.r.closing.Load() {
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
	l.readyListeners = l.readyListeners[:0]
	l.served, l.nextListener = 0, 0
	for i := range events {
		ev := &events[i]
		if ev.Fd >= listenerTag {
			l.readyListeners = append(l.readyListeners, int(ev.Fd&^listenerTag))
			continue
		}
		index := uint32(ev.Fd)
		s := r.slots.At(index)
		var why Reason
		if ev.Events&unix.EPOLLIN != 0 {
			why = Readable
		}
		if ev.Events&unix.EPOLLPRI != 0 {
			why |= Readable | UrgentMark
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
		case s.isInline():
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
	l.fast = fast
	handed = slow.n > 0
	r.pool.dispatch(slow)
	l.serve()
	return handed
}

// serve serves what is left of a batch.
func (l *loop) serve() {
	for l.served < len(l.fast) {
		index := l.fast[l.served]
		l.served++
		l.turn.run(index)
	}
	for l.nextListener < len(l.readyListeners) {
		n := l.readyListeners[l.nextListener]
		l.nextListener++
		l.r.acceptor.serve(l, n)
	}
}
