// Package plain is the least a WebSocket echo server can be: one goroutine,
// one epoll set, raw system calls. It has no timeouts, no limits and no
// fragments, and trusts its client. It is the floor that a real server is
// compared with, not something to run.
package plain

import (
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	_ "wsgateway/internal/linuxonly" // stops a build for another system
)

// Server echoes on one listening socket. Run serves, Close ends it.
type Server struct {
	// Raw sleeps without telling the scheduler, as a loop in C would. It is for
	// a process that does nothing else: a sleeping server then holds up the
	// garbage collector. Set it before Run.
	Raw bool

	epfd, listen, wake int

	conns []conn // by descriptor
	rbuf  []byte
	wbuf  []byte
}

// conn is a connection; its buffers exist only while they hold something.
type conn struct {
	cold *cold
	live bool
	open bool // the handshake is done
}

type cold struct{ in, out []byte }

// Listen binds an IPv4 or IPv6 address of the form ip:port.
func Listen(addr string, reusePort bool) (*Server, error) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())})
	if a.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	s := &Server{epfd: -1, listen: -1, wake: -1, rbuf: make([]byte, 64<<10), wbuf: make([]byte, 0, 64<<10)}
	if err := s.setup(family, sa, reusePort); err != nil {
		s.closeAll()
		return nil, fmt.Errorf("listen %s: %w", addr, err)
	}
	return s, nil
}

func (s *Server) setup(family int, sa unix.Sockaddr, reusePort bool) (err error) {
	if s.listen, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err = unix.SetsockoptInt(s.listen, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if reusePort {
		if err = unix.SetsockoptInt(s.listen, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return err
		}
	}
	if err = unix.Bind(s.listen, sa); err != nil {
		return err
	}
	if err = unix.Listen(s.listen, 1<<16); err != nil { // the kernel lowers it to somaxconn
		return err
	}
	if s.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if s.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return err
	}
	if err = s.watch(unix.EPOLL_CTL_ADD, s.wake, unix.EPOLLIN); err != nil {
		return err
	}
	return s.watch(unix.EPOLL_CTL_ADD, s.listen, unix.EPOLLIN)
}

// Addr is the address in the form ip:port.
func (s *Server) Addr() string {
	sa, err := unix.Getsockname(s.listen)
	if err != nil {
		return ""
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)).String()
	}
	return ""
}

// Close makes Run return. It may be called from any goroutine, once.
func (s *Server) Close() {
	_, _ = unix.Write(s.wake, []byte{1, 0, 0, 0, 0, 0, 0, 1})
}

// Run serves until Close. It closes every connection when it returns.
func (s *Server) Run() error {
	defer s.closeAll()
	events := make([]unix.EpollEvent, 1024)
	for {
		n, err := s.wait(events)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for i := range events[:n] {
			switch fd := int(events[i].Fd); {
			case fd == s.wake:
				return nil
			case fd == s.listen:
				s.accept()
			case events[i].Events&unix.EPOLLOUT != 0:
				s.resume(fd)
			default:
				s.readable(fd)
			}
		}
	}
}

func (s *Server) wait(events []unix.EpollEvent) (int, error) {
	if !s.Raw {
		return unix.EpollWait(s.epfd, events, -1)
	}
	forever := -1
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.epfd),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(forever), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func (s *Server) watch(op, fd int, events uint32) error {
	return unix.EpollCtl(s.epfd, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (s *Server) accept() {
	for {
		r, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(s.listen), 0, 0,
			unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if errno != 0 {
			return
		}
		fd := int(r)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		for fd >= len(s.conns) {
			s.conns = append(s.conns, conn{})
		}
		s.conns[fd] = conn{live: true}
		if err := s.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN); err != nil {
			s.end(fd)
		}
	}
}

func (s *Server) end(fd int) {
	s.conns[fd] = conn{}
	_ = unix.Close(fd)
}

// readable reads once: what is left keeps a level-triggered set ready.
func (s *Server) readable(fd int) {
	c := &s.conns[fd]
	have := 0
	if c.cold != nil {
		if have = copy(s.rbuf, c.cold.in); have == len(s.rbuf) {
			s.rbuf = append(s.rbuf, make([]byte, len(s.rbuf))...)
			have = copy(s.rbuf, c.cold.in)
		}
	}
	in := s.rbuf[have:]
	r, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(in))), uintptr(len(in)))
	switch {
	case errno == unix.EAGAIN:
		return
	case errno != 0 || r == 0:
		s.end(fd)
		return
	}
	p := s.rbuf[:have+int(r)]
	s.wbuf = s.wbuf[:0]
	used, ended := s.serve(c, p)
	c.keepInput(p[used:])
	if len(s.wbuf) > 0 && !s.write(fd, c) || ended {
		s.end(fd)
	}
}

func (c *conn) keepInput(rest []byte) {
	switch {
	case len(rest) > 0:
		if c.cold == nil {
			c.cold = new(cold)
		}
		c.cold.in = append(c.cold.in[:0], rest...)
	case c.cold != nil && len(c.cold.out) == 0:
		c.cold = nil
	case c.cold != nil:
		c.cold.in = nil
	}
}

// write sends wbuf; what the socket does not take is kept, and nothing more is
// read until it has gone. It returns false when the connection is broken.
func (s *Server) write(fd int, c *conn) bool {
	r, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(s.wbuf))), uintptr(len(s.wbuf)))
	n := int(r)
	switch {
	case errno == unix.EAGAIN:
		n = 0
	case errno != 0:
		return false
	}
	if n == len(s.wbuf) {
		return true
	}
	if c.cold == nil {
		c.cold = new(cold)
	}
	c.cold.out = append(c.cold.out, s.wbuf[n:]...)
	return s.watch(unix.EPOLL_CTL_MOD, fd, unix.EPOLLOUT) == nil
}

// resume writes what was kept.
func (s *Server) resume(fd int) {
	c := &s.conns[fd]
	if !c.live || c.cold == nil {
		return
	}
	s.wbuf = append(s.wbuf[:0], c.cold.out...)
	c.cold.out = nil
	c.keepInput(append([]byte(nil), c.cold.in...))
	if !s.write(fd, c) {
		s.end(fd)
		return
	}
	if c.cold == nil || len(c.cold.out) == 0 {
		if s.watch(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN) != nil {
			s.end(fd)
		}
	}
}

func (s *Server) closeAll() {
	for fd := range s.conns {
		if s.conns[fd].live {
			s.end(fd)
		}
	}
	for _, fd := range []int{s.listen, s.wake, s.epfd} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}
