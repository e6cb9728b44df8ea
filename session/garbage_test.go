package session_test

import (
	"bytes"
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"wsgateway/internal/wstest"
	"wsgateway/session"
)

// knocker connects, shakes hands and leaves, without an allocation of its own.
type knocker struct {
	testing.TB
	srv     *session.Server
	addr    unix.SockaddrInet4
	request []byte
	answer  []byte
}

func newKnocker(tb testing.TB, mode session.Mode, h session.Handler) *knocker {
	tb.Helper()
	srv, addr := wstest.Serve(tb, session.Config{Routes: []session.Route{{Path: "/", Mode: mode, Handler: h}}})
	a := netip.MustParseAddrPort(addr)
	return &knocker{
		TB: tb, srv: srv, addr: unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()},
		request: []byte(wstest.Request("/")), answer: make([]byte, 1024),
	}
}

// knock does it once, and returns when the server has noticed that it has left.
func (k *knocker) knock() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		k.Fatal(err)
	}
	if err = unix.Connect(fd, &k.addr); err == nil {
		_, err = unix.Write(fd, k.request)
	}
	for n := 0; err == nil && !bytes.HasSuffix(k.answer[:n], []byte("\r\n\r\n")); {
		var got int
		got, err = unix.Read(fd, k.answer[n:])
		n += got
	}
	if err != nil {
		k.Fatal(err)
	}
	_ = unix.Close(fd)
	for session.OpenSessions(k.srv) > 0 {
		runtime.Gosched()
	}
}

// A connection leaves little behind for the garbage collector: the heap would grow by it when many come together.
// The numbers are what it takes. Whoever needs more has to say so here.
func TestHandshakeGarbage(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const rounds = 300
	for name, tt := range map[string]struct {
		mode        session.Mode
		allocations float64
		bytes       uint64 // with some room: the collector empties the pools
	}{
		"on the loop": {session.OnLoop, 1, 64},
		"on a worker": {session.NeverBlocks, 2, 96},
		"may block":   {session.MayBlock, 8, 640},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKnocker(t, tt.mode, session.Echo{})
			k.knock()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			n := testing.AllocsPerRun(rounds, k.knock)
			runtime.ReadMemStats(&after)
			garbage := (after.TotalAlloc - before.TotalAlloc) / (rounds + 1)
			if n > tt.allocations || garbage > tt.bytes {
				t.Errorf("%v allocations and %d bytes a connection, want at most %v and %d", n, garbage, tt.allocations, tt.bytes)
			}
		})
	}
}
