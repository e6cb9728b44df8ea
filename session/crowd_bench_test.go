package session_test

import (
	"strings"

	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// crowdEnv makes the test binary a crowd of clients instead of running tests: "network address number".
const crowdEnv = "WSGATEWAY_BENCH_CROWD"

func init() {
	if v := os.Getenv(crowdEnv); v != "" {
		if err := beCrowd(v); err != nil {
			fmt.Fprintln(os.Stderr, "crowd:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// beCrowd opens connections and tells so with a byte on standard output. Then it reads numbers of
// bytes from standard input: it takes that many off its connections, throws them away, and answers
// with a byte. It ends with its input. In between it sleeps, so that it costs the server neither a
// processor nor wake-ups.
func beCrowd(spec string) error {
	var network, addr string
	var n int
	if _, err := fmt.Sscan(spec, &network, &addr, &n); err != nil {
		return err
	}
	var sa unix.Sockaddr = &unix.SockaddrUnix{Name: addr}
	family := unix.AF_UNIX
	if network == "tcp" {
		ap, err := netip.ParseAddrPort(addr)
		if err != nil {
			return err
		}
		sa, family = &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}, unix.AF_INET
	}
	fds, input := make([]int, n), make([]unix.PollFd, n)
	for i := range fds {
		var err error
		if fds[i], err = upgraded(family, sa); err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
		input[i] = unix.PollFd{Fd: int32(fds[i]), Events: unix.POLLIN}
	}
	done, buf := []byte{0}, make([]byte, 64<<10)
	for {
		if _, err := os.Stdout.Write(done); err != nil {
			return err
		}
		var want uint64
		if err := binary.Read(os.Stdin, binary.NativeEndian, &want); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		for want > 0 {
			before := want
			for _, fd := range fds {
				got, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
				switch {
				case err == unix.EAGAIN || err == unix.EINTR:
				case err != nil:
					return err
				case got == 0:
					return io.ErrUnexpectedEOF
				case uint64(got) > want:
					return fmt.Errorf("%d bytes too many", uint64(got)-want)
				default:
					want -= uint64(got)
				}
			}
			if want == before { // what is missing is under way
				if _, err := unix.Poll(input, -1); err != nil && err != unix.EINTR {
					return err
				}
			}
		}
	}
}

// upgraded opens a connection and has it upgraded. It returns the descriptor.
func upgraded(family int, server unix.Sockaddr) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, server); err != nil {
		return -1, err
	}
	const request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	if _, err := unix.Write(fd, []byte(request)); err != nil {
		return -1, err
	}
	var answer []byte
	for buf := make([]byte, 1024); !bytes.HasSuffix(answer, []byte("\r\n\r\n")); {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, err
		}
		if n == 0 {
			return -1, io.ErrUnexpectedEOF
		}
		answer = append(answer, buf[:n]...)
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 101 ")) {
		return -1, fmt.Errorf("answer %.100q", answer)
	}
	return fd, nil
}

// crowd is a server with the clients of a child process.
type crowd struct {
	b        *testing.B
	srv      *session.Server
	sessions []session.Session
	fds      []int // the server's ends, in the order of the sessions
	child    *exec.Cmd
	in       io.WriteCloser
	out      io.Reader
}

// newCrowd opens n sessions over TCP or unix sockets: network is "tcp" or "unix". Everything ends with
// the benchmark.
func newCrowd(b *testing.B, network string, n int) *crowd {
	b.Helper()
	c := &crowd{b: b}
	opened := make(chan session.Session, n)
	cfg := oneRoute(session.HandlerFuncs{Open: func(s session.Session, _ *wsproto.Request) { opened <- s }})
	cfg.PingInterval = time.Hour // the crowd does not answer
	listen := "127.0.0.1:0"
	if network == "unix" {
		listen = "unix:" + filepath.Join(b.TempDir(), "s")
	}
	srv, addr := wstest.ServeOn(b, cfg, listen)
	c.srv = srv
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	c.child = exec.Command(exe)
	c.child.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", crowdEnv, network, strings.TrimPrefix(addr, "unix:"), n))
	c.child.Stderr = os.Stderr
	if c.in, err = c.child.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	if c.out, err = c.child.StdoutPipe(); err != nil {
		b.Fatal(err)
	}
	if err := c.child.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = c.in.Close()
		if err := c.child.Wait(); err != nil {
			b.Error(err)
		}
	})
	c.answer()
	for range n {
		c.sessions = append(c.sessions, waits.Receive(b, opened, "the call of OnOpen"))
	}
	c.fds = accepted(b, strings.TrimPrefix(addr, "unix:"))
	if len(c.fds) != n {
		b.Fatalf("%d connections, want %d", len(c.fds), n)
	}
	return c
}

func (c *crowd) join(channel string, sessions ...session.Session) {
	c.b.Helper()
	for _, s := range sessions {
		if err := s.Join(channel); err != nil {
			c.b.Fatal(err)
		}
	}
}

// answer waits for the child's.
func (c *crowd) answer() {
	c.b.Helper()
	if _, err := io.ReadFull(c.out, make([]byte, 1)); err != nil {
		c.b.Fatal(err)
	}
}

// read has the clients read n bytes, all together.
func (c *crowd) read(n int) {
	c.b.Helper()
	if err := binary.Write(c.in, binary.NativeEndian, uint64(n)); err != nil {
		c.b.Fatal(err)
	}
	c.answer()
}

// accepted returns the descriptors of the connections that a listener of this process has accepted, in
// the order of their numbers, which is that of accepting if nothing has been closed.
func accepted(b *testing.B, addr string) (fds []int) {
	b.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := unix.Getpeername(fd); err != nil {
			continue // the listener itself, or no socket
		}
		sa, err := unix.Getsockname(fd)
		if err != nil {
			b.Fatal(err)
		}
		local := ""
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			local = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String()
		case *unix.SockaddrUnix:
			local = sa.Name
		}
		if local == addr {
			fds = append(fds, fd)
		}
	}
	slices.Sort(fds)
	return fds
}

// processCPU returns the CPU time of this process, user and system.
func processCPU(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// publish publishes m n times and waits until it has been sent to all. What the waiting costs, some 10 µs
// every 20 ms or less than a thousandth, counts as the server's.
func (c *crowd) publish(channel string, m *session.Prepared, n int) {
	c.b.Helper()
	for range n {
		if _, err := c.srv.Publish(channel, m); err != nil {
			c.b.Fatal(err)
		}
	}
	waits.Eventually(c.b, func() bool { return c.srv.Waiting() == 0 }, "all publications have been sent")
}

// send calls write n times for each connection, on as many threads as said, each of which has its share
// of the connections, every second one if they are two, as the server's goroutines have.
func (c *crowd) send(frame []byte, n, threads int, write func(fd int, p []byte) bool) {
	c.b.Helper()
	var wg sync.WaitGroup
	for t := range threads {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for range n {
				for i := t; i < len(c.fds); i += threads {
					if !write(c.fds[i], frame) {
						c.b.Error("a write failed or fell short: is a socket full?")
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// bareWrite is the system call and nothing else: no other goroutine is told of it.
func bareWrite(fd int, p []byte) bool {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return errno == 0 && int(n) == len(p)
}

// bareSend is the system call that the server uses.
func bareSend(fd int, p []byte) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return errno == 0 && int(n) == len(p)
}

// unixWrite is what a Go program writes with that knows nothing but descriptors.
func unixWrite(fd int, p []byte) bool {
	n, err := unix.Write(fd, p)
	return err == nil && n == len(p)
}
