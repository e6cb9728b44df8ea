package netpoll

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrDetached is passed to Handler.Closed when Turn.Detach has given the socket away.
var ErrDetached = errors.New("netpoll: connection detached")

// Socket is an established connection on its way into a reactor (Reactor.Adopt) or out of one
// (Turn.Detach): a descriptor, and what its last owner knows beside it. What Detach returns can
// be passed to Adopt, also in another process.
type Socket struct {
	FD     int            // a connected stream socket, TCP or unix
	Peer   netip.AddrPort // the client; zero to ask the kernel
	Unread []byte         // input that has been read from FD and not been handled; comes before what FD has
	Unsent []byte         // output that has yet to be sent, before anything else
	Value  any            // for Turn.Adopted
}

// Adopt serves a connection that other code has accepted. The handler's first call is Opened,
// where Turn.Adopted returns so.Value; then it gets so.Unread, as if it had been read from the
// socket, and what the socket has. Adopt sets those of Config.Socket that the socket knows, and
// makes it non-blocking. Any goroutine may call it, before Start too.
//
// On success the descriptor and so.Unread are the reactor's, and so.Unsent is the caller's
// again. On an error everything remains the caller's.
//
// Errors: ErrFull with Config.MaxConns connections, ErrStopped after StopAccepting,
// ErrReactorClosed after Close; those of the system, such as ENOTCONN.
func (r *Reactor) Adopt(so Socket) (Conn, error) {
	if err := r.prepareSocket(&so); err != nil {
		return 0, fmt.Errorf("netpoll: adopt: %w", err)
	}
	r.life.Lock()
	err := r.tooLate()
	r.life.Unlock()
	if err != nil {
		return 0, err
	}
	switch refuse, ok := r.reserve(); {
	case !ok:
		return 0, ErrFull
	case refuse:
		r.unreserve(true)
		return 0, ErrFull
	}
	c, err := r.adopt(&so)
	if err != nil {
		r.unreserve(false) // without a lock: it may log
	}
	return c, err
}

// adopt is Adopt for a prepared socket. The caller has reserved the connection.
func (r *Reactor) adopt(so *Socket) (Conn, error) {
	// Held until the connection is admitted: Close finds it then, or it is not admitted at all.
	r.life.Lock()
	defer r.life.Unlock()
	if err := r.tooLate(); err != nil {
		return 0, err
	}
	c, s := r.open(so.FD, makePeer(so.Peer), oAdopted)
	r.adopted.put(c, &adoption{value: so.Value, unread: so.Unread})
	if err := r.watch(c, s); err != nil {
		r.adopted.remove(c)
		return 0, fmt.Errorf("netpoll: adopt: %w", err)
	}
	if len(so.Unsent) > 0 {
		s.wmu.Lock()
		_ = r.output.write(c, s, &outgoing{body: so.Unsent, msgs: 1, force: true}, nil) // its turn finds out what failed
		s.wmu.Unlock()
	}
	s.admit()
	r.pool.enlist(c.Index())
	return c, nil
}

// AdoptConn is Adopt for a connection of package net, such as one that net/http has hijacked: a
// *net.TCPConn or *net.UnixConn. On success nc has been closed, and the reactor has a duplicate
// of its descriptor. unread is what has been read from nc and not been handled; the reactor
// keeps it.
func (r *Reactor) AdoptConn(nc net.Conn, unread []byte, value any) (Conn, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("netpoll: adopt: a %T has no socket of its own", nc)
	}
	fd, err := duplicate(sc)
	if err != nil {
		return 0, fmt.Errorf("netpoll: adopt: %w", err)
	}
	c, err := r.Adopt(Socket{FD: fd, Unread: unread, Value: value})
	if err != nil {
		_ = unix.Close(fd)
		return 0, err
	}
	_ = nc.Close() // the connection lives on in the duplicate
	return c, nil
}

// duplicate returns a duplicate of the descriptor of something of package net. File would do as
// well, but for one trap: os.File.Fd makes the description that all duplicates share blocking.
func duplicate(sc syscall.Conn) (fd int, err error) {
	rc, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := rc.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 3) })
	return fd, errors.Join(err, cerr)
}

// prepareSocket checks and sets up a socket that is to be adopted.
func (r *Reactor) prepareSocket(so *Socket) error {
	domain, listening, err := streamSocket(so.FD)
	if err != nil {
		return err
	}
	if listening {
		return unix.ENOTCONN
	}
	name, err := unix.Getpeername(so.FD)
	if err != nil {
		return os.NewSyscallError("getpeername", err)
	}
	if !so.Peer.IsValid() {
		so.Peer = addrPort(name)
	}
	if err := unix.SetNonblock(so.FD, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	unix.CloseOnExec(so.FD)
	if domain == unix.AF_UNIX {
		return nil
	}
	_, err = setOptions(so.FD, r.cfg.Socket.tcp())
	return err
}

// addrPort returns the address in a sockaddr, the zero AddrPort for a unix socket's.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// Adopted returns the Socket.Value of a connection that has come by Adopt. Call it in Opened: the
// reactor does not keep the value for longer.
func (t *Turn) Adopted() (value any, ok bool) {
	if t.s.oflags&oAdopted == 0 {
		return nil, false
	}
	return t.r.adopted.value(t.c)
}

// Detach takes the connection out of the reactor without closing it. What is queued, and what this
// turn has collected, is sent as far as the socket takes it. The rest is Socket.Unsent. Input that
// was passed to Adopt and that the handler has not got yet is Socket.Unread. The socket and the
// slices are the caller's, and the descriptor is non-blocking. From now on Send returns ErrClosed,
// and the handler gets no more calls except Closed, with ErrDetached.
//
// Errors: ErrClosed when the connection is being closed, its last message has been sent, a message
// was refused with ErrQueueFull (there would be a gap), or its socket has failed.
func (t *Turn) Detach() (Socket, error) {
	c, s, r := t.c, t.s, t.r
	if t.finished() {
		return Socket{}, ErrClosed
	}
	s.wmu.Lock()
	if s.wflags&(wFinal|wFull) != 0 {
		s.wmu.Unlock()
		return Socket{}, ErrClosed
	}
	r.output.spill(c, s, &t.cork)
	r.output.flush(c, s)
	if s.wflags&wBroken != 0 {
		s.wmu.Unlock()
		t.done = ErrWrite
		return Socket{}, ErrClosed
	}
	so := Socket{FD: int(s.fd), Peer: r.peers.At(c.Index()).addrPort(), Unsent: r.output.take(s)}
	s.fd = -1
	s.wflags |= wFinal
	s.wmu.Unlock()
	r.unwatch(so.FD) // the entry in the epoll set would live as long as any duplicate
	if s.oflags&oAdopted != 0 {
		so.Unread = r.adopted.remove(c)
		s.oflags &^= oAdopted
	}
	t.done, t.rst = ErrDetached, false
	return so, nil
}

// adoption is what a connection has brought along.
type adoption struct {
	value  any
	unread []byte
}

// adoptions holds what adopted connections have brought along, until it is used up. It stands
// beside the slots, which hold no pointers. Its lock is taken alone, or under Reactor.life.
type adoptions struct {
	mu sync.Mutex
	of map[Conn]*adoption
}

func (a *adoptions) put(c Conn, ad *adoption) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of == nil {
		a.of = make(map[Conn]*adoption)
	}
	a.of[c] = ad
}

func (a *adoptions) value(c Conn) (value any, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ad := a.of[c]
	if ad == nil {
		return nil, false
	}
	return ad.value, true
}

// remove forgets a connection and returns what of its input is left.
func (a *adoptions) remove(c Conn) (unread []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ad := a.of[c]; ad != nil {
		unread = ad.unread
		delete(a.of, c)
	}
	return unread
}

// read copies the next input into p. When there is none left it forgets the connection and
// returns 0.
func (a *adoptions) read(c Conn, p []byte) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	ad := a.of[c]
	if ad == nil || len(ad.unread) == 0 {
		delete(a.of, c)
		return 0
	}
	n := copy(p, ad.unread)
	ad.unread = ad.unread[n:]
	return n
}
