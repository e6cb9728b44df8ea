package netpoll

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	acceptBatch     = 16                     // connections accepted per readiness, some 300 µs, before clients get their turn again
	refuseBatch     = 64                     // connections refused before the listener rests
	refuseRest      = 100 * time.Millisecond // so that clients that dial again at once cost little
	acceptBackoff   = 5 * time.Millisecond   // after an error that retrying at once would only repeat
	acceptBackoffTo = time.Second
)

// Why a listener is not being watched; they add up.
const (
	restFull  uint8 = 1 << iota // no slot is free; ends when a connection closes
	restError                   // accept4 failed; ends after a back-off
	restPace                    // many were refused; ends after refuseRest
	restAll   uint8 = 0xff      // not started, or closed
)

// listener is one listening socket, watched by one loop.
type listener struct {
	addr    net.Addr
	name    unix.Sockaddr // addr
	backlog int           // no more connections wait at once
	each    []option      // to be set on every connection: the listening socket does not know them
	file    os.FileInfo   // of a unix socket that has one and is ours
	owner   io.Closer     // knows what to do with the file of one that is not; nil for none
	loop    *loop

	mu sync.Mutex // held for each use of fd, so that it is not closed meanwhile
	fd int        // -1 once closed

	// Guarded by acceptor.mu.
	rest   uint8
	closed bool

	backoff  atomic.Int64 // of the last error, 0 after a success; nanoseconds
	refusals int          // in a row without a rest; the loop's
}

// acceptor admits connections: it keeps their number below the limit, and survives every error
// of accept4 without spinning.
type acceptor struct {
	r       *Reactor
	closing sync.Mutex // held by close from beginning to end

	mu sync.Mutex // guards listeners' rest and closed, and spareFD; taken before a listener's own

	listeners atomic.Pointer[[]*listener] // a list is replaced, not changed, under mu
	spareFD   int                         // given up for a moment to get rid of a connection when descriptors run out
	waiting   atomic.Bool                 // a listener rests because no slot is free
	resting   atomic.Int32                // listeners that rest, for the metrics
	nextLoop  atomic.Uint32               // that gets a connection

	accept4 func(fd int) (int, peer, unix.Errno) // replaced by tests
}

func (a *acceptor) init(r *Reactor) {
	a.r = r
	a.listeners.Store(new([]*listener))
	a.accept4 = accept4
	a.spareFD = openSpare()
}

func openSpare() int {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

// all returns the listeners, closed ones included. A listener's index never changes.
func (a *acceptor) all() []*listener { return *a.listeners.Load() }

// add adds a listener, unless it is too late for that. On an error its descriptor is the caller's.
func (a *acceptor) add(ln *listener) error {
	a.r.life.Lock()
	defer a.r.life.Unlock()
	if err := a.r.tooLate(); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.all())
	ln.loop = a.r.loops[n%len(a.r.loops)]
	ln.rest = restAll
	list := append(slices.Clone(a.all()), ln)
	a.listeners.Store(&list)
	if !a.r.started {
		return nil
	}
	err := a.begin(n)
	if err != nil {
		ln.closed = true
		ln.mu.Lock()
		ln.fd = -1
		ln.mu.Unlock()
	}
	return err
}

// begin starts accepting from a listener. It expects mu.
func (a *acceptor) begin(n int) error {
	ln := a.all()[n]
	ln.rest = 0
	if err := ln.loop.watchListener(ln.fd, n); err != nil {
		return fmt.Errorf("netpoll: watching %s: %w", ln.addr, err)
	}
	return nil
}

// resumeAll starts accepting.
func (a *acceptor) resumeAll() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n := range a.all() {
		if err := a.begin(n); err != nil {
			return err
		}
	}
	return nil
}

// pause stops watching a listener for one more reason.
func (a *acceptor) pause(n int, why uint8, reason string) {
	var failed []unwatched
	defer func() { a.report(failed) }() // without the lock
	a.mu.Lock()
	defer a.mu.Unlock()
	ln := a.all()[n]
	if ln.closed || ln.rest&why != 0 {
		return
	}
	if ln.rest == 0 {
		_ = ln.loop.unwatch(ln.fd)
		a.resting.Add(1)
	}
	ln.rest |= why
	a.r.stats.pauses.Inc(reason)
	switch why {
	case restFull:
		a.waiting.Store(true)
		if a.r.free() { // the last slot was freed before waiting was set
			failed = a.resumeLocked(n, restFull, nil)
		}
	case restPace:
		time.AfterFunc(refuseRest, func() { a.resume(n, restPace) })
	case restError:
		d := min(max(2*time.Duration(ln.backoff.Load()), acceptBackoff), acceptBackoffTo)
		ln.backoff.Store(int64(d))
		time.AfterFunc(d, func() { a.resume(n, restError) })
	}
}

func (a *acceptor) resume(n int, why uint8) {
	a.mu.Lock()
	failed := a.resumeLocked(n, why, nil)
	a.mu.Unlock()
	a.report(failed)
}

// unwatched is a listener that could not be watched again, and why.
type unwatched struct {
	ln  *listener
	err error
}

// report logs what failed. A log may block, and so no lock is held.
func (a *acceptor) report(failed []unwatched) {
	for _, f := range failed {
		a.r.cfg.Logger.Error("watching a listener again failed", "addr", f.ln.addr.String(), "err", f.err)
	}
}

// resumeLocked ends one reason for which a listener rests. What fails is appended to failed, to be
// reported when the lock has been given up.
func (a *acceptor) resumeLocked(n int, why uint8, failed []unwatched) []unwatched {
	ln := a.all()[n]
	if ln.closed || ln.rest&why == 0 {
		return failed
	}
	ln.rest &^= why
	if ln.rest != 0 {
		return failed
	}
	if err := ln.loop.watchListener(ln.fd, n); err != nil {
		ln.rest = restError
		time.AfterFunc(acceptBackoffTo, func() { a.resume(n, restError) })
		return append(failed, unwatched{ln, err})
	}
	a.resting.Add(-1)
	return failed
}

// freed is called after every close of a connection.
func (a *acceptor) freed() {
	if !a.waiting.Load() {
		return
	}
	var failed []unwatched
	a.mu.Lock()
	a.waiting.Store(false)
	for n := range a.all() {
		failed = a.resumeLocked(n, restFull, failed)
	}
	a.mu.Unlock()
	a.report(failed)
}

// serve accepts from a ready listener. It runs on the listener's loop.
func (a *acceptor) serve(l *loop, n int) {
	ln := a.all()[n]
	for range acceptBatch {
		refuse, ok := a.r.reserve()
		if !ok {
			a.pause(n, restFull, "full")
			return
		}
		index, errno := a.acceptOne(ln, refuse)
		switch errno {
		case 0:
			if refuse {
				ln.refusals++
			} else {
				ln.refusals = 0
			}
			l.turn.run(index)
			if ln.refusals >= refuseBatch {
				ln.refusals = 0
				a.pause(n, restPace, "refusals")
				return
			}
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED, unix.EPROTO, unix.EPERM,
			unix.ENETDOWN, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.ENONET, unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH:
			// Of this one connection, as accept(2) says; the next may be fine.
			a.r.stats.acceptErrors.Inc(unix.ErrnoName(errno))
		default:
			a.r.stats.acceptErrors.Inc(unix.ErrnoName(errno))
			if errno == unix.EMFILE || errno == unix.ENFILE {
				a.shed(ln)
			}
			if errno == unix.EINVAL {
				a.revive(ln)
			}
			a.pause(n, restError, "error")
			return
		}
	}
}

// shed gets rid of one waiting connection although there is no descriptor to accept it with:
// the client learns at once, instead of waiting for its own timeout.
func (a *acceptor) shed(ln *listener) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ln.closed {
		return
	}
	if a.spareFD >= 0 {
		_ = unix.Close(a.spareFD)
		if fd, _, errno := a.take(ln); errno == 0 {
			_ = unix.Close(fd)
			a.r.stats.refusals.Inc("fd_limit")
		}
	}
	a.spareFD = openSpare()
}

// revive makes a socket listen that does not any more, as after somebody's shutdown(2).
func (a *acceptor) revive(ln *listener) {
	ln.mu.Lock()
	if ln.fd < 0 {
		ln.mu.Unlock()
		return
	}
	_ = unix.Bind(ln.fd, ln.name) // fails where it still is bound
	err := unix.Listen(ln.fd, ln.backlog)
	ln.mu.Unlock() // a log may block
	a.r.cfg.Logger.Error("a socket did not listen any more", "addr", ln.addr.String(), "listening_again", err == nil, "err", err)
}

// take accepts a connection; EAGAIN when there is none, or the listener is closed.
func (a *acceptor) take(ln *listener) (int, peer, unix.Errno) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.fd < 0 {
		return -1, peer{}, unix.EAGAIN
	}
	return a.accept4(ln.fd)
}

// acceptOne accepts one connection into a slot that was reserved, and gives the reservation
// back when there is none. The connection is queued, in nobody's list; until it is watched it
// is running, so that it is the caller's alone.
func (a *acceptor) acceptOne(ln *listener, refuse bool) (uint32, unix.Errno) {
	r := a.r
	fd, p, errno := a.take(ln)
	if errno != 0 {
		r.unreserve(refuse)
		return 0, errno
	}
	var flags uint16
	if refuse {
		flags = oRefused
	}
	c, s := r.open(fd, p, flags)
	if err := r.watch(c, s); err != nil {
		_ = unix.Close(fd)
		r.unreserve(refuse)
		var e unix.Errno
		errors.As(err, &e)
		return 0, e // ENOMEM or ENOSPC (max_user_watches)
	}
	if refuse {
		r.stats.refusals.Inc("limit")
	}
	for _, o := range ln.each {
		_ = o.set(fd) // a client's socket may not know it either
	}
	s.admit()
	ln.backoff.Store(0)
	return c.Index(), 0
}

// close accepts what waits in the backlogs and closes the listeners. Workers serve what was
// accepted.
func (a *acceptor) close() {
	a.closing.Lock()
	defer a.closing.Unlock()
	a.mu.Lock()
	type ending struct {
		*listener
		watched bool // once: who waits in its backlog is accepted
	}
	var fresh []ending
	for _, ln := range a.all() {
		if ln.closed {
			continue
		}
		watched := ln.rest != restAll
		switch ln.rest {
		case restAll: // not started
		case 0:
			_ = ln.loop.unwatch(ln.fd)
		default:
			a.resting.Add(-1)
		}
		ln.rest, ln.closed = restAll, true
		fresh = append(fresh, ending{ln, watched})
	}
	if a.spareFD >= 0 {
		_ = unix.Close(a.spareFD)
		a.spareFD = -1
	}
	a.mu.Unlock()
	for _, ln := range fresh {
		ln.unlink() // while it listens: a successor would replace the file of a dead one, and lose its own
		for n := 0; ln.watched && n < ln.backlog; n++ {
			refuse, ok := a.r.reserve()
			if !ok {
				break
			}
			index, errno := a.acceptOne(ln.listener, refuse)
			if errno != 0 && errno != unix.EINTR && errno != unix.ECONNABORTED {
				break
			}
			if errno == 0 {
				a.r.pool.enlist(index)
			}
		}
		ln.mu.Lock()
		_ = unix.Close(ln.fd)
		ln.fd = -1
		ln.mu.Unlock()
	}
}

// accept4 is accept4(2) without the allocations of unix.Accept4. It returns the peer by value:
// behind the function variable that tests replace, a pointer to it would escape.
func accept4(fd int) (_ int, p peer, _ unix.Errno) {
	var sa unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	r, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&sa)),
		uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, p, errno
	}
	switch sa.Addr.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sa))
		copy(p.ip[:], v4.Addr[:])
		p.port, p.len = bigEndian(&v4.Port), 4
	case unix.AF_INET6:
		v6 := (*unix.RawSockaddrInet6)(unsafe.Pointer(&sa))
		p.ip = v6.Addr
		p.port, p.len = bigEndian(&v6.Port), 16
	}
	return int(r), p, 0
}

// bigEndian reads a port that the kernel wrote in network byte order.
func bigEndian(p *uint16) uint16 { return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:]) }
