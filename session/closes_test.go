package session_test

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"wsgateway/internal/waits"
	"wsgateway/session"
	"wsgateway/wsproto"
)

const (
	crowds      = 4   // channels that all sessions are in, a quarter each
	shortLived  = 400 // clients at a time that come and go,
	longLived   = 200 // and that stay until the server ends
	slowOnes    = 10  // of each way that is slow, which the server's end waits for
	interferers = 2
	perServer   = 12_500 // sessions
)

// often is how many of a thousand sessions end, at least, in each way that is quick, and how often
// handlers panic in them. Measured are twice as many and more.
var often = map[string]uint64{
	"1000 by client": 70, "1005 by client": 25, "3000 by client": 40, // 3000: against a Close of the server
	"4000 by server": 35, "4001 by server": 25, "4002 by server": 20, "4003 by server": 3, // in OnMessage, OnOpen, elsewhere
	"1002 by server": 15, "1007 by server": 4, "1009 by server": 4, // protocol errors
	"1008 by server": 8, "1011 by server": 40, "1013 by server": 3,
	"half-closed": 40, "reset": 1, "broken": 5,
	"panic in OnOpen": 10, "panic in OnMessage": 4, "panic in OnBinary": 4, "panic in OnPing": 4, "panic in OnPong": 4,
	"panic in OnError": 10, "panic in OnClose": 10,
	"slow: queue_full": 3, "evicted: control_flood": 6, "handshake aborted": 4, "handshake 404": 3,
}

// each is how many do, at least, on the average server, in the ways that are slow or its own end.
var each = map[string]uint64{
	"evicted: message_timeout": 5, "evicted: close_timeout": 5, "evicted: ping_timeout": 5,
	"evicted: handshake_timeout": 5, "slow: stalled": 5,
	"1001 by server": 20, "cut off": 20,
}

// patience is how long anything may take on a machine that is busy with something else.
const patience = 3 * time.Minute

var hello = session.Prepare(wsproto.OpText, []byte("hello"))

func crowdName(i int) string { return "crowd " + strconv.Itoa(i%crowds) }

// OnClose comes once for each OnOpen, after everything else and beside nothing else, however a session
// ends, whoever uses it meanwhile: in 25,000 sessions, 10,000 with -short, or as many as
// WSGATEWAY_CLOSES says. .ci/run says 100,000.
func TestCloses(t *testing.T) {
	count := 25_000
	if testing.Short() {
		count = 10_000
	}
	if v := os.Getenv("WSGATEWAY_CLOSES"); v != "" {
		var err error
		if count, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	var seen tally
	closes, servers := generation(t, 0, min(perServer, count/2), &seen), 1
	before := measure(t) // after the first one: the Go runtime opens descriptors when it needs them
	for (closes < count || servers < 2) && !t.Failed() {
		closes += generation(t, servers, min(perServer, count/2), &seen)
		servers++
	}
	for _, name := range slices.Sorted(maps.Keys(seen.n)) {
		t.Logf("%7d %s", seen.n[name], name)
	}
	t.Logf("%d sessions of %d servers", closes, servers)
	for name, n := range often {
		if least := n * uint64(closes) / 1000; seen.n[name] < least {
			t.Errorf("%s: %d, want at least %d", name, seen.n[name], least)
		}
	}
	for name, n := range each {
		if least := n * uint64(servers); seen.n[name] < least {
			t.Errorf("%s: %d, want at least %d", name, seen.n[name], least)
		}
	}
	waits.Eventually(t, func() bool {
		after := measure(t)
		return after.goroutines <= before.goroutines && after.fds <= before.fds
	}, "everything has been given back")
}

// generation has one server end at least n sessions, and then itself in the middle of others.
func generation(t *testing.T, number, n int, seen *tally) int {
	w := newWatcher(t, n)
	c := &crew{w: w, unix: filepath.Join(t.TempDir(), "s")}
	var err error
	w.blocking = number%2 == 1
	if w.srv, err = session.NewServer(closesConfig(w)); err != nil {
		t.Fatal(err)
	}
	c.tcp = serve(t, w.srv, "unix:"+c.unix)
	var clients, meddling sync.WaitGroup
	stop := make(chan struct{})
	for i := range interferers {
		meddling.Go(func() { w.meddle(rand.New(rand.NewPCG(uint64(number), uint64(i))), stop) })
	}
	c.start(&clients, uint64(number)<<32)
	select {
	case <-w.reached:
	case <-time.After(patience):
		t.Errorf("only %d sessions have ended, of %d", w.closes.Load(), w.opens.Load())
	}
	if number%2 == 0 {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err := w.srv.Shutdown(ctx)
		if cut := session.CutOffError(0); err != nil && (!errors.As(err, &cut) || ctx.Err() != nil) {
			t.Errorf("Shutdown: %v", err) // some of the clients never answer
		}
	} else {
		w.srv.Close()
	}
	clients.Wait()
	close(stop)
	meddling.Wait()
	w.others.Wait()
	w.checkEnd()
	st := w.srv.Stats()
	seen.addAll("", w.ends.n)
	seen.addAll("panic in ", w.panics.n)
	seen.addAll("evicted: ", st.Evictions)
	seen.addAll("slow: ", st.SlowConsumers)
	seen.addAll("handshake ", st.Handshakes)
	return int(w.closes.Load())
}

// serve starts a server on a loopback port, which it returns, and on another address.
func serve(t *testing.T, srv *session.Server, other string) string {
	t.Helper()
	tcp, err := srv.Listen("127.0.0.1:0")
	if err == nil {
		_, err = srv.Listen(other)
	}
	if err == nil {
		err = srv.Start()
	}
	if err != nil {
		srv.Close()
		t.Fatal(err)
	}
	return tcp.String()
}

func closesConfig(w *watcher) session.Config {
	var cfg session.Config
	cfg.Routes = []session.Route{{Path: "/{$}", Handler: w, MaxMessage: 64 << 10, Mode: blockIf(w.blocking)}}
	cfg.HandshakeTimeout = 500 * time.Millisecond
	cfg.StallTimeout = 300 * time.Millisecond
	cfg.PingInterval, cfg.PingTimeout = 300*time.Millisecond, 300*time.Millisecond
	cfg.ControlBurst, cfg.ControlPatience = 30, 100*time.Millisecond
	cfg.Reactor.CloseTimeout, cfg.Reactor.WriteStall = 300*time.Millisecond, 300*time.Millisecond
	cfg.Reactor.QueueBytes = 64 << 10
	return cfg
}

// meddle uses sessions, open ones and others, while they end.
func (w *watcher) meddle(rnd *rand.Rand, stop chan struct{}) {
	known := make([]session.Session, 64)
	for {
		select {
		case <-stop:
			return
		case s := <-w.fresh:
			known[rnd.IntN(len(known))] = s
			for range 3 {
				w.disturb(rnd, pick(rnd, known))
			}
		}
	}
}

// disturb does one thing. What fails because the session has ended, fails.
func (w *watcher) disturb(rnd *rand.Rand, s session.Session) {
	if v, ok := w.lives.Load(s); ok && v.(*life).gone.Load() {
		w.checkOver(s, v.(*life).alone) // whoever has its place now
	}
	channel := crowdName(rnd.IntN(crowds))
	switch n := rnd.IntN(400); {
	case n < 4:
		_, _ = w.srv.Publish(channel, hello, s)
	case n < 5:
		_, _ = w.srv.SendAll("", hello)
	case n < 9:
		for m := range w.srv.Members(channel) {
			_ = m.IsAvailable()
		}
	case n < 13:
		for range w.srv.Channels() {
			break
		}
	case n < 20:
		_ = s.Close(4003, "")
	case n < 60:
		_ = s.Join(channel)
	case n < 100:
		s.Leave(channel)
	case n < 140:
		_ = s.SetUser("user " + strconv.Itoa(n%8))
	case n < 160:
		_, _ = w.srv.SendUser("user "+strconv.Itoa(n%8), hello)
	case n < 200:
		_ = s.SetValue(n)
		_ = s.Value()
	case n < 240:
		_ = s.SendPing(nil)
	case n < 300:
		if got, ok := w.srv.Lookup(s.ID()); ok && got != s {
			w.fault("Lookup returns another session")
		}
	case n < 340:
		_ = s.Channels()
	default:
		_ = s.SendPrepared(hello)
	}
}
