package client

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	_ "wsgateway/internal/linuxonly" // stops a build for another system
)

const (
	wakeIndex  = -1                     // epoll data of the wake-up descriptor
	scanPeriod = 500 * time.Millisecond // how often deadlines are looked at
	batch      = 512                    // events taken at once
)

// request is a command for one loop. done gets exactly one answer.
type request struct {
	cmd   Command
	abort bool
	done  chan *Stats
}

// loop is one goroutine with its connections. Everything but inbox and prog
// belongs to that goroutine.
type loop struct {
	// Fixed after newLoop.
	cfg     *Config
	clk     clock
	epfd    int
	wakefd  int
	conns   []conn
	targets []unix.Sockaddr
	groups  []int // by target
	sources []unix.Sockaddr
	slots   int // send times kept per connection
	share   float64

	// The running phase.
	ph      phase
	waiting *request // who waits for its end
	mark    int64    // when the counters began
	resumed bool     // slow readers read
	kind    string   // of an echo that differs
	size    int      // of an echo
	events  []unix.EpollEvent
	timeout unix.Timespec

	// Buffers.
	rbuf  []byte
	wbuf  []byte // frames for the connection at hand
	colds []*cold
	times []int64 // send times, slots per connection

	now    int64
	nextAt int64 // next look at the deadlines
	rng    uint64
	source int
	depth  int
	st     *Stats

	inbox chan *request // written by the engine, then wakefd
	quit  chan struct{} // closed by the engine, then wakefd
	prog  progress
}

func newLoop(cfg *Config, clk clock, index int) (*loop, error) {
	l := &loop{
		cfg: cfg, clk: clk, epfd: -1, wakefd: -1,
		sources: sourceList(cfg.SourceFirst, cfg.SourceCount), source: index,
		slots: cfg.MaxInFlight, kind: KindMismatch,
		events: make([]unix.EpollEvent, batch),
		rbuf:   make([]byte, max(64<<10, cfg.MaxMessage+64)),
		wbuf:   make([]byte, 0, 64<<10),
		rng:    mix(cfg.Secret + uint64(cfg.FirstID) + golden*uint64(index+1)),
		st:     NewStats(),
		inbox:  make(chan *request, 4), quit: make(chan struct{}),
	}
	l.ph = &idle{}
	l.now = clk.now()
	l.mark = l.now
	l.populate(index)
	if len(l.sources) > 0 {
		l.source = index * len(l.sources) / cfg.Loops
	}
	var err error
	if l.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	if l.wakefd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, errors.Join(fmt.Errorf("eventfd: %w", err), unix.Close(l.epfd))
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeIndex}
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, l.wakefd, &ev); err != nil {
		return nil, errors.Join(fmt.Errorf("epoll_ctl: %w", err), unix.Close(l.wakefd), unix.Close(l.epfd))
	}
	return l, nil
}

// populate makes this loop's share of the connections of every target.
func (l *loop) populate(index int) {
	id, total := l.cfg.FirstID, 0
	for i, t := range l.cfg.Targets {
		l.targets = append(l.targets, sockaddr(netip.MustParseAddrPort(t.Addr)))
		l.groups = append(l.groups, t.Group)
		for n := range t.Conns {
			c := conn{fd: -1, id: id, target: uint16(i)}
			if l.cfg.Broadcast {
				c.role = roleReader
			}
			if n < t.Slow {
				c.role = roleSlow
			}
			if l.cfg.Stall {
				c.role = roleStalled
			}
			if n%l.cfg.Loops == index {
				l.conns = append(l.conns, c)
			}
			id++
			total++
		}
		if t.Publisher {
			if index == 0 {
				l.conns = append(l.conns, conn{fd: -1, id: id, target: uint16(i), role: rolePublisher})
			}
			id++
			total++
		}
	}
	l.times = make([]int64, len(l.conns)*l.slots)
	l.share = float64(len(l.conns)) / float64(max(1, total))
}

func (l *loop) indexOf(c *conn) int32 {
	return int32((uintptr(unsafe.Pointer(c)) - uintptr(unsafe.Pointer(&l.conns[0]))) / unsafe.Sizeof(conn{}))
}

// mask is a masking key: xorshift, unpredictable enough for a load.
func (l *loop) mask() uint32 {
	l.rng ^= l.rng << 13
	l.rng ^= l.rng >> 7
	l.rng ^= l.rng << 17
	return uint32(l.rng >> 16)
}

// run serves until quit is closed.
func (l *loop) run() {
	defer l.close()
	for {
		select {
		case <-l.quit:
			return
		default:
		}
		wake := l.tick()
		n := l.wait(wake)
		l.now = l.clk.now()
		for _, ev := range l.events[:n] {
			if ev.Fd == wakeIndex {
				l.commands()
				continue
			}
			c := &l.conns[ev.Fd]
			if c.gen == uint32(ev.Pad) && c.state != stateDead {
				l.event(c, ev.Events)
			}
		}
	}
}

// event handles the readiness of one connection.
func (l *loop) event(c *conn, ev uint32) {
	gen := c.gen
	ended := ev&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	if c.state == stateConnecting {
		if ev&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			errno, _ := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
			l.ended(c, unix.Errno(errno))
			return
		}
		if ev&unix.EPOLLOUT == 0 {
			return
		}
		l.request(c)
	} else if ev&unix.EPOLLOUT != 0 {
		l.writable(c)
	}
	if c.gen != gen || ev&unix.EPOLLIN == 0 && !ended {
		return
	}
	if c.role == roleSlow && c.state == stateOpen && !l.resumed {
		if ev&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			l.ended(c, unix.ECONNRESET)
		}
		return
	}
	l.readable(c, ended)
}

// tick lets the phase act and returns when it wants to act again.
func (l *loop) tick() int64 {
	l.now = l.clk.now()
	wake, done := l.ph.tick(l.now)
	if done {
		l.finish()
		wake = 0
	}
	if l.now >= l.nextAt {
		l.nextAt = l.now + int64(scanPeriod)
		l.deadlines()
	}
	if wake == 0 || wake > l.nextAt {
		wake = l.nextAt
	}
	return wake
}

// rawWait is how long the loop may sleep without telling the scheduler. A
// told sleep costs several times the system call, because its processor is
// handed to another thread; an untold one delays the collector by this much.
const rawWait = int64(time.Millisecond)

// wait returns the number of events, after the time wake at the latest.
func (l *loop) wait(wake int64) int {
	ns := max(0, wake-l.clk.now())
	n, errno := l.epoll(unix.RawSyscall6, min(ns, rawWait))
	if n == 0 && errno == 0 && ns > rawWait {
		n, errno = l.epoll(unix.Syscall6, ns-rawWait)
	}
	if errno == unix.ENOSYS { // before Linux 5.11: milliseconds, rounded down
		n, _ = unix.EpollWait(l.epfd, l.events, int(ns/1e6))
	}
	return max(0, n)
}

type syscall6 func(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err unix.Errno)

func (l *loop) epoll(call syscall6, ns int64) (int, unix.Errno) {
	l.timeout = unix.NsecToTimespec(ns) // not on the stack, which may move
	n, _, errno := call(unix.SYS_EPOLL_PWAIT2, uintptr(l.epfd),
		uintptr(unsafe.Pointer(unsafe.SliceData(l.events))), uintptr(len(l.events)),
		uintptr(unsafe.Pointer(&l.timeout)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// deadlines ends connections that have waited too long.
func (l *loop) deadlines() {
	for i := range l.conns {
		c := &l.conns[i]
		switch c.state {
		case stateConnecting, stateHandshaking:
			if d := l.cfg.HandshakeTimeout; !c.stalled && l.now-c.since > int64(d) {
				l.refused(c, KindTimeout, "no answer to the handshake in "+d.String())
			}
		case stateOpen:
			if d := l.cfg.ReplyTimeout; c.role == roleEcho && c.sent != c.recv && l.now-l.sentAt(c, c.recv) > int64(d) {
				l.fail(c, KindTimeout, "no answer to a message in %v", d)
			}
		case stateClosing, stateDraining:
			if d := l.cfg.CloseTimeout; l.now-c.since > int64(d) {
				what := "answer to our Close frame"
				if c.state == stateDraining {
					what = "end of the stream after the closing handshake"
				}
				l.fail(c, KindClosing, "no %s in %v", what, d)
			}
		}
	}
}

// close ends everything the loop owns.
func (l *loop) close() {
	for i := range l.conns {
		l.drop(&l.conns[i])
	}
	_ = unix.Close(l.wakefd)
	_ = unix.Close(l.epfd)
}
