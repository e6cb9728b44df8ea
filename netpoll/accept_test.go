package netpoll_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// talk sends a line over c and reads it back.
func talk(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	var b [5]byte
	if _, err := io.ReadFull(c, b[:]); err != nil || string(b[:]) != "hello" {
		t.Fatalf("read %q, %v", b, err)
	}
}

func TestAcceptSurvivesErrors(t *testing.T) {
	for _, errno := range []unix.Errno{
		unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED, unix.EINTR, unix.EPROTO, unix.EIO,
	} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			const failures = 5
			var calls atomic.Int32
			r, err := netpoll.New(netpoll.Config{}, &echo{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			r.InjectAcceptErrors(func() unix.Errno {
				if calls.Add(1) <= failures {
					return errno
				}
				return 0
			})
			addr, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Start(); err != nil {
				t.Fatal(err)
			}
			if errno == unix.EMFILE || errno == unix.ENFILE {
				// The spare descriptor serves to get rid of the first that waits.
				if _, err := io.ReadAll(dial(t, addr.String())); err != nil && !errors.Is(err, unix.ECONNRESET) {
					t.Fatal(err)
				}
			}
			talk(t, dial(t, addr.String()))
			st := r.Stats()
			if n := st.AcceptErrors[unix.ErrnoName(errno)]; n == 0 || n > failures {
				t.Errorf("errors counted: %v", st.AcceptErrors)
			}
			// Retrying at once would need no more calls than these, but neither must it
			// spin: each pause makes at most one failing call, and one for the spare.
			if n := calls.Load(); n > failures+3 {
				t.Errorf("%d calls of accept4", n)
			}
		})
	}
}

// While accept4 keeps failing, the loop must rest and not spin on the ready listener.
func TestAcceptErrorsDoNotSpin(t *testing.T) {
	var calls atomic.Int32
	var fail atomic.Bool
	fail.Store(true)
	r, err := netpoll.New(netpoll.Config{}, &echo{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	failed := make(chan struct{}, 100)
	r.InjectAcceptErrors(func() unix.Errno {
		if !fail.Load() {
			return 0
		}
		calls.Add(1)
		failed <- struct{}{}
		return unix.ENOMEM
	})
	addr, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	c := dial(t, addr.String())
	for range 6 {
		<-failed
	}
	// 5+10+20+40+80 ms lie between six failures that back off.
	if d := time.Since(start); d < 155*time.Millisecond {
		t.Errorf("six failures within %v", d)
	}
	waits.Eventually(t, func() bool { return r.Stats().ListenersIdle == 1 }, "the listener pauses")
	fail.Store(false)
	talk(t, c)
}

func TestLimitPausesAndResumes(t *testing.T) {
	r, addr := start(t, netpoll.Config{MaxConns: 2, Spare: 1}, &echo{})
	a, b := dial(t, addr), dial(t, addr)
	talk(t, a)
	talk(t, b)
	refused := dial(t, addr) // takes the spare
	if got, err := io.ReadAll(refused); string(got) != "full" || err != nil {
		t.Fatalf("refused with %q, %v", got, err)
	}
	waiting := dial(t, addr) // the spare is still lingering: stays in the backlog
	a.Close()
	refused.Close()
	_ = waiting.SetDeadline(time.Now().Add(10 * time.Second))
	// It gets in, or is refused if it came before the slot was free: then the next does.
	for {
		if _, err := waiting.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		n, _ := io.ReadFull(waiting, got)
		if string(got[:n]) == "hello" {
			break
		}
		waiting.Close()
		waiting = dial(t, addr)
	}
	talk(t, b)
	if st := r.Stats(); st.Conns != 2 || st.Refusals["limit"] == 0 {
		t.Errorf("%d connections, refused %v", st.Conns, st.Refusals)
	}
}

// With real descriptors: the process runs out of them, refuses to spin, and recovers.
func TestOutOfDescriptors(t *testing.T) {
	r, addr := start(t, netpoll.Config{}, &echo{})
	first := dial(t, addr)
	talk(t, first)
	var hoard []int
	free := func() {
		for _, fd := range hoard {
			_ = unix.Close(fd)
		}
		hoard = nil
	}
	defer free()
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(c)
	var lim, low unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	low = lim
	low.Cur = uint64(openFDs() + 20)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: low.Cur, Max: low.Max}); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: lim.Cur, Max: lim.Max})
	for {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		hoard = append(hoard, fd)
	}
	_, port, _ := net.SplitHostPort(addr)
	tcp, err := net.ResolveTCPAddr("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(c, &unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	waits.Eventually(t, func() bool { return r.Stats().AcceptErrors["EMFILE"] > 0 }, "EMFILE is counted")
	talk(t, first)
	if st := r.Stats(); st.Refusals["fd_limit"] == 0 {
		t.Errorf("refused %v", st.Refusals)
	}
	free()
	talk(t, dial(t, addr))
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	// A socket file left behind by a process that died.
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()

	r, err := netpoll.New(netpoll.Config{}, &echo{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Listen(netpoll.ListenConfig{Addr: "unix:" + path}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Listen(netpoll.ListenConfig{Addr: "unix:" + path}); err == nil {
		t.Error("a socket that is being listened on was replaced")
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	talk(t, c)
	big := bytes.Repeat([]byte("x"), 1<<20)
	go func() { _, _ = c.Write(big) }()
	if got, err := io.ReadAll(io.LimitReader(c, 1<<20)); !bytes.Equal(got, big) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	r.Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket file is left: %v", err)
	}
}

func TestReusePort(t *testing.T) {
	r1, err := netpoll.New(netpoll.Config{}, &echo{})
	if err != nil {
		t.Fatal(err)
	}
	defer r1.Close()
	addr, err := r1.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0", ReusePort: true})
	if err != nil {
		t.Fatal(err)
	}
	r2, err := netpoll.New(netpoll.Config{}, &echo{})
	if err != nil {
		t.Fatal(err)
	}
	defer r2.Close()
	if _, err := r2.Listen(netpoll.ListenConfig{Addr: addr.String()}); err == nil {
		t.Error("listening twice without reusePort")
	}
	if _, err := r2.Listen(netpoll.ListenConfig{Addr: addr.String(), ReusePort: true}); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*netpoll.Reactor{r1, r2} {
		if err := r.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		c := dial(t, addr.String())
		talk(t, c)
	}
	if n1, n2 := r1.Stats().Accepted, r2.Stats().Accepted; n1 == 0 || n2 == 0 || n1+n2 != 50 {
		t.Errorf("accepted %d and %d of 50", n1, n2)
	}
}

// A socket that has been made to stop listening listens again, on the same address.
func TestListensAgain(t *testing.T) {
	opened := make(chan netpoll.Conn, 1)
	r, err := netpoll.New(netpoll.Config{}, &funcs{opened: func(t *netpoll.Turn) { opened <- t.Conn() }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	addr, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for fd := 3; fd < 1000; fd++ {
			listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
			name, _ := unix.Getsockname(fd)
			if in, ok := name.(*unix.SockaddrInet4); err == nil && ok && listening == 1 && in.Port == addr.(*net.TCPAddr).Port {
				_ = unix.Shutdown(fd, unix.SHUT_RD)
			}
		}
		for began := time.Now(); ; {
			c, err := net.Dial("tcp", addr.String())
			if err == nil {
				<-opened
				_ = c.Close()
				break
			}
			if time.Since(began) > 10*time.Second {
				t.Fatal(err, r.Stats().AcceptErrors)
			}
		}
	}
	if n := r.Stats().AcceptErrors["EINVAL"]; n < 3 {
		t.Errorf("%d errors", n)
	}
}

// Accepting allocates nothing by itself. That counts in a storm of connections.
func TestAcceptDoesNotAllocate(t *testing.T) {
	r := reactor(t, netpoll.Config{})
	if _, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"}); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if errno := r.AcceptOne(); errno != unix.EAGAIN {
			t.Fatal(errno)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
