package session

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wsgateway/netpoll"
)

// fakeTransport is a transport without sockets, whose clients answer pings or do not.
type fakeTransport struct {
	srv *Server

	mu      sync.Mutex
	now     uint32
	stop    time.Duration // the process stands still for so long in the next Advance
	stopped bool
	deaf    map[uint32]bool
	pings   map[uint32][]uint32 // when, by index
	woken   map[uint32][]uint32
	clients uint32
}

func (f *fakeTransport) Queued(conn) int          { return 0 }
func (f *fakeTransport) Peer(conn) netip.AddrPort { return netip.AddrPort{} }
func (f *fakeTransport) High() uint32             { return f.clients }

func (f *fakeTransport) Now() uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fakeTransport) Sweep(int, int) {}

func (f *fakeTransport) Advance(d time.Duration) {
	f.mu.Lock()
	f.now += uint32(d / time.Millisecond)
	stop := f.stop
	f.stop, f.stopped = 0, stop > 0
	f.mu.Unlock()
	time.Sleep(stop)
	f.mu.Lock()
	f.stopped = false
	f.mu.Unlock()
}

// answer is what a live client does with a ping. Nobody reads it while the process stands
// still.
func (f *fakeTransport) answer(c conn) {
	f.mu.Lock()
	stopped := f.stopped
	f.mu.Unlock()
	if stopped {
		time.AfterFunc(50*time.Millisecond, func() { f.answer(c) })
		return
	}
	f.srv.live.seen(c.Index(), f.Now())
}

// Send is how the sweeper pings.
func (f *fakeTransport) Send(c conn, _ netpoll.Message) error {
	f.mu.Lock()
	f.pings[c.Index()] = append(f.pings[c.Index()], f.now)
	deaf := f.deaf[c.Index()]
	f.mu.Unlock()
	if !deaf {
		time.AfterFunc(300*time.Millisecond, func() { f.answer(c) })
	}
	return nil
}

// Wake is how the sweeper has a dead client judged.
func (f *fakeTransport) Wake(c conn) error {
	f.mu.Lock()
	f.woken[c.Index()] = append(f.woken[c.Index()], f.now)
	f.mu.Unlock()
	f.srv.live.forget(c.Index())
	return nil
}

const (
	testInterval = 10 * time.Second
	testTimeout  = 5 * time.Second
)

// sweepFor runs the sweeper over n open sessions for a time on a fake clock.
func sweepFor(t *testing.T, n uint32, d time.Duration, setup func(f *fakeTransport)) *fakeTransport {
	t.Helper()
	var f *fakeTransport
	synctest.Test(t, func(t *testing.T) {
		f = &fakeTransport{clients: n, now: 1, deaf: map[uint32]bool{}, pings: map[uint32][]uint32{}, woken: map[uint32][]uint32{}}
		s := &Server{ids: new(ids), tr: f, bufs: newBuffers(1 << 20), live: newLiveness(int(n), testInterval, testTimeout), log: slog.New(slog.DiscardHandler)}
		s.calls = newCallPools(s, 1, int(n))
		s.table = newSessionTable(int(n), newRouteTables(s.calls))
		f.srv = s
		for i := range n {
			s.table.records.Ensure(i)
			s.live.ensure(i)
			s.table.at(i).store(makeMeta(netpoll.MakeConn(i, 1), phaseOpen, 0, 0))
			s.live.seen(i, f.now)
		}
		setup(f)
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		s.sweep(ctx)
		synctest.Wait()
	})
	return f
}

func TestSilentClientsArePingedAndAnswer(t *testing.T) {
	const n = 1000
	f := sweepFor(t, n, 35*time.Second, func(*fakeTransport) {})
	first := map[uint32]int{}
	for i := range uint32(n) {
		if len(f.pings[i]) < 2 || len(f.pings[i]) > 3 {
			t.Fatalf("client %d was pinged %d times in 3.5 intervals", i, len(f.pings[i]))
		}
		at := time.Duration(f.pings[i][0]) * time.Millisecond
		if at < testInterval*9/10 || at > testInterval*11/10+sweepTick*sweepParts {
			t.Fatalf("client %d was pinged after %v", i, at)
		}
		first[f.pings[i][0]]++
		if len(f.woken[i]) > 0 {
			t.Fatalf("client %d answers and was taken for dead", i)
		}
	}
	for at, k := range first {
		if k > n/2 {
			t.Errorf("%d of %d clients were pinged together, after %d ms", k, n, at)
		}
	}
}

func TestClientsThatSendAreNotPinged(t *testing.T) {
	f := sweepFor(t, 1, 60*time.Second, func(f *fakeTransport) {
		var talk func()
		until := time.Now().Add(55 * time.Second)
		talk = func() {
			f.srv.live.seen(0, f.Now())
			if time.Now().Before(until) {
				time.AfterFunc(3*time.Second, talk)
			}
		}
		talk()
	})
	if len(f.pings[0]) > 0 {
		t.Errorf("pinged at %v", f.pings[0])
	}
}

func TestDeadClientsAreFoundInTime(t *testing.T) {
	f := sweepFor(t, 100, 60*time.Second, func(f *fakeTransport) { f.deaf[7] = true })
	for i := range uint32(100) {
		if i != 7 && len(f.woken[i]) > 0 {
			t.Errorf("client %d answers and was taken for dead", i)
		}
	}
	if len(f.pings[7]) != 1 || len(f.woken[7]) != 1 {
		t.Fatalf("the dead client was pinged at %v and judged at %v, want once each", f.pings[7], f.woken[7])
	}
	if d := time.Duration(f.woken[7][0]-f.pings[7][0]) * time.Millisecond; d < testTimeout || d > testTimeout+sweepTick*sweepParts {
		t.Errorf("judged %v after its ping", d)
	}
}

// The process stands still for a minute with pings unanswered: nobody is to blame.
func TestOwnLatenessEvictsNobody(t *testing.T) {
	f := sweepFor(t, 100, 150*time.Second, func(f *fakeTransport) {
		time.AfterFunc(10*time.Second, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.stop = time.Minute
		})
	})
	for i, at := range f.woken {
		t.Errorf("client %d was taken for dead at %v", i, at)
	}
	if lag := time.Duration(f.srv.stats.lag.Load()); lag < 59*time.Second || lag > 61*time.Second {
		t.Errorf("%v of lag counted, want about a minute", lag)
	}
	if now := time.Duration(f.now) * time.Millisecond; now > 92*time.Second {
		t.Errorf("the gateway's time went on to %v", now)
	}
}
