package netpoll

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// listenUnix adds a unix socket.
func (a *acceptor) listenUnix(path string, backlog int) (net.Addr, error) {
	hasFile := path != "" && !strings.HasPrefix(path, "@")
	if hasFile {
		unlock, err := lockDir(filepath.Dir(path))
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if errors.Is(err, unix.EADDRINUSE) && hasFile && deadSocket(path) {
		_ = os.Remove(path)
		ln, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	}
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	own := &listener{addr: ln.Addr(), backlog: backlog}
	if hasFile {
		if own.file, err = os.Lstat(path); err != nil {
			return nil, err
		}
	}
	if err := a.addListener(own, ln); err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false) // the net.Listener is closed, the socket lives on
	return own.addr, nil
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

// unlink removes the file of a unix socket, unless it is another's by now.
func (ln *listener) unlink() {
	if ln.owner != nil {
		_ = ln.owner.Close()
	}
	if ln.file == nil {
		return
	}
	if file, err := os.Lstat(ln.addr.String()); err == nil && os.SameFile(file, ln.file) {
		_ = os.Remove(ln.addr.String())
	}
}
