package session_test

import (
	"bytes"
	"net"
	"net/http/httptest"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wsgateway/internal/wstest"
	"wsgateway/session"
)

// An idle session behind net/http takes as much memory as one of the server's own listener. What
// net/http has for each of its connections is given back: the goroutine, two buffers of 4 KiB, the
// request.
func TestServeHTTPMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has memory of its own for each object")
	}
	const (
		sessions = 2000
		most     = 400 // bytes for a session of either kind
		more     = 128 // bytes by which they may differ, a tenth of a request with its header
		few      = 0.1 // goroutines for each session: net/http's last ones may be about to end
	)
	cfg := oneRoute(session.Echo{})
	cfg.Reactor.MaxConns = 2 * sessions
	_, ownAddr := wstest.Serve(t, cfg)
	own := measureSessions(t, ownAddr, sessions)
	web := httptest.NewServer(startMounted(t, cfg))
	defer web.Close()
	behind := measureSessions(t, web.Listener.Addr().String(), sessions)
	t.Logf("an idle session: %.0f bytes of heap with the server's own listener, %.0f behind net/http", own.heap, behind.heap)
	if own.heap > most || behind.heap > own.heap+more {
		t.Errorf("an idle session: %.0f bytes of heap with the server's own listener, %.0f behind net/http, want at most %d, and %d more",
			own.heap, behind.heap, most, more)
	}
	if own.goroutines > few || behind.goroutines > few {
		t.Errorf("%.3f goroutines for each session of the server's own listener, %.3f behind net/http, want none",
			own.goroutines, behind.goroutines)
	}
}

// share is what one session has.
type share struct{ heap, goroutines float64 }

// measureSessions opens idle sessions, and returns what each has. The clients have no memory on the
// heap but their descriptors.
func measureSessions(t *testing.T, addr string, n int) share {
	t.Helper()
	fds := make([]int, 0, n)
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	for range 10 { // what is allocated once
		fds = append(fds, openIdle(t, addr))
	}
	before := settledShare()
	for range n - 10 {
		fds = append(fds, openIdle(t, addr))
	}
	after := settledShare()
	runtime.KeepAlive(fds)
	return share{(after.heap - before.heap) / float64(n-10), (after.goroutines - before.goroutines) / float64(n-10)}
}

// settledShare returns what lives on the heap of the whole process, and its goroutines.
func settledShare() share {
	for range 3 { // a pool keeps what one collection leaves
		runtime.GC()
	}
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/sched/goroutines:goroutines"}}
	metrics.Read(s)
	return share{float64(s[0].Value.Uint64()), float64(s[1].Value.Uint64())}
}

// openIdle opens a session and returns its descriptor, which belongs to no net.Conn.
func openIdle(t *testing.T, addr string) (fd int) {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	limit := unix.NsecToTimeval(int64(30 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())}); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(fd, []byte("GET / HTTP/1.1\r\n"+upgradeRequest)); err != nil {
		t.Fatal(err)
	}
	var answer [1024]byte
	n, err := unix.Read(fd, answer[:])
	if err != nil || !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 101 ")) {
		t.Fatalf("answer %q, %v, want status 101", answer[:n], err)
	}
	return fd
}
