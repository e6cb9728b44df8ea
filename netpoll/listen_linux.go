package netpoll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ListenConfig says where and how to listen. The zero value of a field means its default.
type ListenConfig struct {
	// Network is "tcp", "tcp4", "tcp6" or "unix". By default Addr tells: "unix:/path" is a unix
	// socket, everything else TCP.
	Network string
	// Addr is a TCP address as net.Listen takes it, or the path of a unix socket, which may have
	// "unix:" in front; '@' instead of '/' is the abstract namespace. ":8080" is every address of
	// both IP versions. "0.0.0.0:8080" is IPv4 alone and "[::]:8080" IPv6 alone (IPV6_V6ONLY), so
	// that both can be listened on.
	Addr string
	// Backlog is how many connections wait in the kernel to be accepted. Default 65535; the kernel
	// cuts it to net.core.somaxconn.
	Backlog int
	// ReusePort lets several processes listen on one TCP port (SO_REUSEPORT). The kernel spreads
	// new connections over them by hash. It does not hold for unix sockets.
	ReusePort bool
}

const maxBacklog = 65535

// Listen adds a listener. Before Start it accepts nobody; after Start it accepts at once.
//
// A socket file that nobody listens on any more is replaced. Meanwhile other reactors that listen
// in its directory wait, for 3 s at most (flock(2)).
//
// Errors: those of the system; ErrStopped after StopAccepting, and ErrReactorClosed after Close.
func (r *Reactor) Listen(lc ListenConfig) (net.Addr, error) {
	addr, err := r.acceptor.listen(lc)
	if err != nil {
		return nil, listenError(lc.Addr, err)
	}
	return addr, nil
}

func (a *acceptor) listen(lc ListenConfig) (net.Addr, error) {
	a.r.life.Lock()
	err := a.r.tooLate()
	a.r.life.Unlock()
	if err != nil {
		return nil, err
	}
	switch {
	case lc.Backlog < 0:
		return nil, errors.New("the backlog is negative")
	case lc.Backlog == 0:
		lc.Backlog = maxBacklog
	}
	path, named := strings.CutPrefix(lc.Addr, "unix:")
	switch {
	case lc.Network == "unix" || lc.Network == "" && named:
		if path == "" || path == "@" {
			return nil, errors.New("no path")
		}
		return a.listenUnix(path, lc.Backlog)
	case lc.Network == "" || lc.Network == "tcp":
		lc.Network = tcpNetwork(lc.Addr)
	case lc.Network != "tcp4" && lc.Network != "tcp6":
		return nil, net.UnknownNetworkError(lc.Network)
	}
	return a.listenTCP(lc)
}

// tcpNetwork returns the network that has package net listen where addr says and nowhere else:
// for "tcp" it takes an unspecified address, whatever its version, for all of both versions.
func tcpNetwork(addr string) string {
	host, _, _ := net.SplitHostPort(addr)
	switch ip, err := netip.ParseAddr(host); {
	case err != nil || !ip.IsUnspecified():
		return "tcp"
	case ip.Is4():
		return "tcp4"
	default:
		return "tcp6"
	}
}

func (a *acceptor) listenTCP(lc ListenConfig) (net.Addr, error) {
	before := []option{{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}}
	if lc.ReusePort {
		before = append(before, option{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1})
	}
	nlc := net.ListenConfig{
		KeepAliveConfig: net.KeepAliveConfig{Enable: false}, // of accepted net.Conns, which there are none of
		Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			cerr := c.Control(func(fd uintptr) {
				for _, o := range before {
					err = errors.Join(err, o.set(int(fd)))
				}
			})
			return errors.Join(err, cerr)
		},
	}
	nlc.SetMultipathTCP(false)
	ln, err := nlc.Listen(context.Background(), lc.Network, lc.Addr)
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	own := &listener{addr: ln.Addr(), backlog: lc.Backlog}
	if err := a.addListener(own, ln.(*net.TCPListener)); err != nil {
		return nil, err
	}
	return own.addr, nil
}

// ListenOn adds a listener of package net, a *net.TCPListener or *net.UnixListener, and takes it
// over: on success the caller must not use it any more. A TCP listener is closed, and the reactor
// accepts from a duplicate of its descriptor. A unix listener is closed by StopAccepting, so that
// its file then goes or stays as net.UnixListener.SetUnlinkOnClose says. Config.Socket is set on
// it. On an error the listener remains the caller's.
//
// Errors: as those of Listen.
func (r *Reactor) ListenOn(ln net.Listener) error {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return fmt.Errorf("listen on %s: a %T has no socket of its own", ln.Addr(), ln)
	}
	own := &listener{addr: ln.Addr()}
	if _, file := ln.(*net.UnixListener); file {
		own.owner = ln
	}
	if err := r.acceptor.addListener(own, sc); err != nil {
		return listenError(own.addr.String(), err)
	}
	if own.owner == nil {
		_ = ln.Close() // Go's own poller watches it
	}
	return nil
}

// ListenFD adds a listening descriptor that the process has inherited, from systemd for instance
// (sd_listen_fds(3)). On success it belongs to the reactor. The file of a unix socket stays when
// the listener is closed, because another process made it. On an error the descriptor remains the
// caller's.
//
// Errors: as those of Listen; ENOTSOCK, EPROTOTYPE if it is not a stream socket, and EINVAL if it
// does not listen.
func (r *Reactor) ListenFD(fd int) (net.Addr, error) {
	addr, err := r.acceptor.listenFD(fd)
	if err != nil {
		return nil, fmt.Errorf("listen on descriptor %d: %w", fd, err)
	}
	_ = unix.Close(fd)
	return addr, nil
}

func (a *acceptor) listenFD(fd int) (net.Addr, error) {
	_, listening, err := streamSocket(fd)
	if err == nil && !listening {
		err = unix.EINVAL
	}
	if err != nil {
		return nil, err
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(dup), "")
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	own := &listener{addr: ln.Addr()}
	return own.addr, a.addListener(own, ln.(syscall.Conn))
}

func listenError(addr string, err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fmt.Errorf("listen on %s: %w", addr, err)
}

// addListener adds a duplicate of sc's descriptor as ln's.
func (a *acceptor) addListener(ln *listener, sc syscall.Conn) error {
	fd, err := duplicate(sc)
	if err != nil {
		return err
	}
	ln.fd = fd
	if err = a.prepareListener(ln); err == nil {
		err = a.add(ln)
	}
	if err != nil {
		_ = unix.Close(fd)
	}
	return err
}

func (a *acceptor) prepareListener(ln *listener) (err error) {
	domain, listening, err := streamSocket(ln.fd)
	if err != nil {
		return err
	}
	if !listening {
		return unix.EINVAL
	}
	if domain != unix.AF_UNIX {
		if ln.each, err = setOptions(ln.fd, a.r.cfg.Socket.tcp()); err != nil {
			return err
		}
	}
	if ln.backlog > 0 { // only now: Go has called listen(2) with a backlog of its own
		if err = unix.Listen(ln.fd, ln.backlog); err != nil {
			return os.NewSyscallError("listen", err)
		}
	}
	if ln.backlog == 0 {
		ln.backlog = maxBacklog
	}
	if err = unix.SetNonblock(ln.fd, true); err != nil {
		return err
	}
	ln.name, err = unix.Getsockname(ln.fd)
	return err
}
