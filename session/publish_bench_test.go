package session_test

import (
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
	fds := make([]int, n)
	for i := range fds {
		var err error
		if fds[i], err = upgraded(family, sa); err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
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
			if want == before {
				time.Sleep(time.Millisecond) // what is missing is under way
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
	var err error
	if c.srv, err = session.NewServer(cfg); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.srv.Close() })
	addr, err := c.srv.Listen(listen)
	if err != nil {
		b.Fatal(err)
	}
	if err := c.srv.Start(); err != nil {
		b.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	c.child = exec.Command(exe)
	c.child.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", crowdEnv, network, addr, n))
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
		c.sessions = append(c.sessions, <-opened)
	}
	c.fds = accepted(b, addr.String())
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
// every 5 ms or a thousandth, counts as the server's.
func (c *crowd) publish(channel string, m *session.Prepared, n int) {
	c.b.Helper()
	for range n {
		if _, err := c.srv.Publish(channel, m); err != nil {
			c.b.Fatal(err)
		}
	}
	for c.srv.Waiting() > 0 {
		time.Sleep(5 * time.Millisecond)
	}
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

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

// BenchmarkPublish5000 compares the CPU time of Server.Publish, to a channel of 5,000 members, with
// that of loops that do nothing but write the same bytes to the same sockets:
//
//	go test -run '^$' -bench Publish5000 -count 5 ./session
//
// The clients are a process of their own, so that the CPU time of this one (getrusage, user and system) is
// that of sending. For local sockets it includes what the kernel does to receive, in all cases the same.
// The clients read between the rounds only: no socket is ever full, which is checked, no message wakes
// anybody, and nobody else wants the processors.
//
// One operation is a number of rounds. A round sends to each member, five messages or one, in each of
// these ways, which take turns in being first:
//
//   - publish: Server.Publish, until everybody has been sent to;
//   - write-loop: the bare system call write(2), on one thread;
//   - write-loops: the same on GOMAXPROCS threads, as publications have so many goroutines: what processors
//     cost each other (caches, hyper-threads, locks of the kernel) shows here;
//   - sendto-loop: the bare system call sendto(2), on one thread. The server uses it, and it is cheaper
//     than write(2), which has more to look at before it gets to the socket. What publish costs beyond
//     it is the server's own;
//   - unix.Write: a loop of that, on one thread, which tells Go's scheduler of each call.
//
// Reported are medians, in nanoseconds per message and member, and the ratios of publish to the others.
func BenchmarkPublish5000(b *testing.B) {
	for _, bb := range []struct {
		network                string
		size, messages, rounds int
	}{
		{"tcp", 128, 5, 16},
		{"tcp", 128, 1, 40},
		{"tcp", 1 << 10, 5, 16},
		{"unix", 128, 5, 16},
	} {
		b.Run(fmt.Sprintf("%s/%dx%dB", bb.network, bb.messages, bb.size), func(b *testing.B) {
			benchmarkPublish(b, bb.network, bb.size, bb.messages, bb.rounds)
		})
	}
}

func benchmarkPublish(b *testing.B, network string, size, messages, rounds int) {
	const members, warmUp = 5000, 4
	c := newCrowd(b, network, members)
	c.join("c", c.sessions...)
	payload := bytes.Repeat([]byte("x"), size)
	m := session.Prepare(wsproto.OpText, payload)
	frame := wsproto.AppendFrame(nil, wsproto.OpText, payload)

	ways := []struct {
		name string
		send func()
	}{
		{"publish", func() { c.publish("c", m, messages) }},
		{"write-loop", func() { c.send(frame, messages, 1, bareWrite) }},
		{"write-loops", func() { c.send(frame, messages, runtime.GOMAXPROCS(0), bareWrite) }},
		{"sendto-loop", func() { c.send(frame, messages, 1, bareSend) }},
		{"unix.Write", func() { c.send(frame, messages, 1, unixWrite) }},
	}
	spent := make([][]time.Duration, len(ways))
	var published, mallocs uint64
	var before, after runtime.MemStats
	round := func(n int) {
		for i := range ways {
			w := (n + i) % len(ways)
			runtime.ReadMemStats(&before)
			start := processCPU(b)
			ways[w].send()
			spent[w] = append(spent[w], processCPU(b)-start)
			runtime.ReadMemStats(&after)
			if w == 0 {
				published += uint64(messages)
				mallocs += after.Mallocs - before.Mallocs
				if n := c.srv.Stats().QueueMessages; n != 0 {
					b.Errorf("%d messages found no room in a socket", n)
				}
			}
			if b.Failed() {
				b.FailNow()
			}
			c.read(members * messages * len(frame))
		}
		if st := c.srv.Stats().Channels; st.Missed != 0 || st.Delivered != published*members {
			b.Fatalf("%d messages delivered, %d missed, want %d and 0", st.Delivered, st.Missed, published*members)
		}
	}
	for n := range warmUp {
		round(n)
	}
	clear(spent)
	mallocs = 0
	ops := 0
	for b.Loop() {
		for n := range rounds {
			round(n)
		}
		ops++
	}
	b.ReportMetric(0, "ns/op") // most of it is waiting
	b.ReportMetric(float64(mallocs)/float64(ops*rounds*messages), "allocs/publication")
	publish := median(spent[0])
	for w, way := range ways {
		each := median(spent[w])
		b.ReportMetric(float64(each)/float64(members*messages), way.name+"-ns")
		if w > 0 {
			b.ReportMetric(float64(publish)/float64(each), "x-"+way.name)
		}
	}
}

// BenchmarkJoinLeave is the cost of joining a channel and leaving it again, the one joined last, for
// a session that is in some channels already. A channel of one member comes and goes with it.
//
//	go test -run '^$' -bench JoinLeave ./session
func BenchmarkJoinLeave(b *testing.B) {
	const most = 5000
	c := newCrowd(b, "unix", most)
	s := c.sessions[0]
	c.join(fmt.Sprint("of ", most), c.sessions[1:]...)
	joined := 0
	for _, in := range []int{0, 16, 100} {
		for ; joined < in; joined++ {
			c.join(fmt.Sprint("other ", joined), s)
		}
		for _, members := range []int{1, most} {
			channel := fmt.Sprint("of ", members)
			b.Run(fmt.Sprintf("in=%d/members=%d", in, members), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := s.Join(channel); err != nil {
						b.Fatal(err)
					}
					s.Leave(channel)
				}
			})
		}
	}
}

// BenchmarkSubscriptionMemory reports by how much the heap grows with a subscription, where 5,000
// sessions are in 20 channels each, its share of the channels and their names included. An operation is all
// of them joining and leaving.
//
//	go test -run '^$' -bench SubscriptionMemory ./session
func BenchmarkSubscriptionMemory(b *testing.B) {
	const sessions, channels = 5000, 20
	for _, members := range []int{sessions, 100, 10, 1} { // of a channel
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			c := newCrowd(b, "unix", sessions)
			name := func(session, i int) string { return fmt.Sprintf("channel %d %d", i, session/members) }
			before := heap()
			var grown uint64
			for b.Loop() {
				for n, s := range c.sessions {
					for i := range channels {
						c.join(name(n, i), s)
					}
				}
				if grown == 0 { // later ones find the memory that the first has left
					b.StopTimer()
					grown = heap() - before
					if got := c.srv.Stats().Channels; got.Subscriptions != sessions*channels || got.Channels != channels*sessions/members {
						b.Fatalf("%d subscriptions to %d channels", got.Subscriptions, got.Channels)
					}
					b.StartTimer()
				}
				for n, s := range c.sessions {
					for i := range channels {
						s.Leave(name(n, i))
					}
				}
			}
			b.ReportMetric(float64(grown)/(sessions*channels), "heap-B/subscription")
		})
	}
}

// heap returns how many bytes the heap holds that are in use.
func heap() uint64 {
	for range 3 { // pools keep what one collection leaves
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
