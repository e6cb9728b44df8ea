package netpoll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listen adds a listener, before Start. addr is a TCP address as net.Listen takes it
// ("127.0.0.1:8080", ":8080" for every address of both IP versions), or "unix:/path" (with
// '@' in front of the name for the abstract namespace). reusePort lets several processes
// listen on one TCP port; the kernel spreads new connections over them by hash.
//
// A socket file that nobody listens on any more is replaced. Meanwhile others that listen in its directory
// wait, for 3 s at most (flock(2)). After Start the error is
// ErrStarted, after StopAccepting ErrStopped, and after Close ErrReactorClosed.
func (r *Reactor) Listen(addr string, reusePort bool) (net.Addr, error) {
	r.life.Lock()
	err := r.fresh()
	r.life.Unlock()
	if err != nil {
		return nil, listenError(addr, err)
	}
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		if path == "" || path == "@" {
			return nil, fmt.Errorf("listen on %s: no path", addr)
		}
		return r.listenUnix(path)
	}
	lc := net.ListenConfig{
		KeepAliveConfig: net.KeepAliveConfig{Enable: false}, // of accepted net.Conns, which there are none of
		Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			if cerr := c.Control(func(fd uintptr) { err = r.tcpOptions(int(fd), reusePort) }); cerr != nil {
				return cerr
			}
			return err
		},
	}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, listenError(addr, err)
	}
	defer ln.Close()
	got, err := r.adopt(ln, nil, ln.(*net.TCPListener).SyscallConn)
	if err != nil {
		return nil, listenError(addr, err)
	}
	return got, nil
}

func (r *Reactor) listenUnix(path string) (net.Addr, error) {
	hasFile := path != "" && !strings.HasPrefix(path, "@")
	if hasFile {
		unlock, err := lockDir(filepath.Dir(path))
		if err != nil {
			return nil, listenError("unix:"+path, err)
		}
		defer unlock()
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if errors.Is(err, unix.EADDRINUSE) && hasFile && deadSocket(path) {
		_ = os.Remove(path)
		ln, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	}
	if err != nil {
		return nil, listenError("unix:"+path, err)
	}
	defer ln.Close()
	var file os.FileInfo
	if hasFile {
		if file, err = os.Lstat(path); err != nil {
			return nil, listenError("unix:"+path, err)
		}
	}
	got, err := r.adopt(ln, file, ln.SyscallConn)
	if err != nil {
		return nil, listenError("unix:"+path, err)
	}
	ln.SetUnlinkOnClose(false) // the net.Listener is closed, the socket lives on
	return got, nil
}

// lockTimeout is how long Listen waits for others that listen in the same directory.
const lockTimeout = 3 * time.Second

// lockDir takes the lock of a directory (flock(2)), which is held while a socket file is looked at and
// replaced: of two processes that find the same dead one, both could replace it, and one the other's.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if errors.Is(err, os.ErrPermission) {
		return func() {}, nil // sockets can be made in it all the same
	}
	if err != nil {
		return nil, err
	}
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EWOULDBLOCK) && time.Since(begin) < lockTimeout {
			continue
		}
		_ = f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return func() {}, nil // a file system without locks
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
}

// deadSocket reports whether path is a socket that nobody listens on.
func deadSocket(path string) bool {
	st, err := os.Lstat(path)
	if err != nil || st.Mode()&os.ModeSocket == 0 {
		return false
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = c.Close()
		return false
	}
	return errors.Is(err, unix.ECONNREFUSED)
}

func listenError(addr string, err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fmt.Errorf("listen on %s: %w", addr, err)
}

// adopt adds a duplicate of a net.Listener's descriptor. The original is to be closed, since Go's
// own poller watches it.
func (r *Reactor) adopt(ln net.Listener, file os.FileInfo, raw func() (syscall.RawConn, error)) (net.Addr, error) {
	rc, err := raw()
	if err != nil {
		return nil, err
	}
	fd := -1
	cerr := rc.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 3) })
	if err = errors.Join(err, cerr); err != nil {
		return nil, err
	}
	name, err := r.prepare(fd)
	if err == nil {
		err = r.acceptor.add(&listener{fd: fd, addr: ln.Addr(), name: name, file: file})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return ln.Addr(), nil
}

func (r *Reactor) prepare(fd int) (unix.Sockaddr, error) {
	// Only now: Go has called listen(2) with a backlog of its own.
	if err := unix.Listen(fd, r.cfg.Socket.Backlog); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	return unix.Getsockname(fd)
}

// tcpOptions sets what accepted sockets inherit.
func (r *Reactor) tcpOptions(fd int, reusePort bool) error {
	o := r.cfg.Socket
	seconds := func(d time.Duration) int { return max(1, int(d/time.Second)) }
	opts := []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(o.KeepIdle)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(o.KeepIntvl)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, o.KeepCount},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(o.UserTimeout / time.Millisecond)},
	}
	if reusePort {
		opts = append(opts, struct{ level, name, value int }{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1})
	}
	for _, o := range opts {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

// FDBudget says how many connections RLIMIT_NOFILE allows, and how many more may be open only
// to be refused. A reserve is kept back for them and for everything else the process opens: a
// fifth of the limit, at least 48 and at most 256 descriptors. Of it 40 are never used for
// refusals, since a process that is merely full must still answer whoever asks how it is.
func FDBudget() (conns, spare int, err error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, 0, os.NewSyscallError("getrlimit", err)
	}
	const (
		most  = 1 << 26 // slots are allocated as needed, their directory is not
		least = 64
	)
	n := int(min(lim.Cur, most))
	if n < least {
		return 0, 0, fmt.Errorf("netpoll: the limit of open files (RLIMIT_NOFILE) is %d: at least %d are needed", n, least)
	}
	reserve := min(max(n/5, 48), 256)
	return n - reserve, min(reserve-40, 128), nil
}
