package session_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// policyServer has a route with a policy, and a small queue.
func policyServer(t *testing.T, r session.Route) (*session.Server, *wstest.Client, session.Session) {
	t.Helper()
	opened := make(chan session.Session, 1)
	r.Path = "/"
	r.Handler = session.HandlerFuncs{Open: func(s session.Session, _ *wsproto.Request) { opened <- s }}
	cfg := session.Config{Routes: []session.Route{r}}
	cfg.Reactor.QueueMessages = 64
	cfg.Reactor.QueueBytes = 4 << 20
	srv, addr := wstest.Serve(t, cfg)
	return srv, wstest.Dial(t, addr, "/"), waits.Receive(t, opened, "the call of OnOpen")
}

func tick(symbol, n int) string {
	return fmt.Sprintf("%d:%d:%s", symbol, n, strings.Repeat("x", 16<<10))
}

// What a client that does not read is sent is thinned out as the route says, and it stays.
func TestOutboundPolicy(t *testing.T) {
	const messages, symbols = 3000, 20
	for name, policy := range map[string]struct {
		session.Route
		send func(s session.Session, n int) error
	}{
		"oldest": {session.Route{Mode: session.NeverBlocks, Outbound: session.DropOldest}, func(s session.Session, n int) error {
			return s.SendText(tick(n%symbols, n))
		}},
		"newest": {session.Route{Mode: session.NeverBlocks, Outbound: session.DropNewest}, func(s session.Session, n int) error {
			return s.SendPrepared(session.Prepare(wsproto.OpText, []byte(tick(n%symbols, n))))
		}},
		"latest": {session.Route{Mode: session.NeverBlocks, Outbound: session.KeepLatest}, func(s session.Session, n int) error {
			return s.SendKeyed(fmt.Sprint(n%symbols), wsproto.OpText, []byte(tick(n%symbols, n)))
		}},
		"latest prepared": {session.Route{Mode: session.NeverBlocks, Outbound: session.KeepLatest}, func(s session.Session, n int) error {
			return s.SendPrepared(session.PrepareKeyed(fmt.Sprint(n%symbols), wsproto.OpText, []byte(tick(n%symbols, n))))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			srv, c, s := policyServer(t, policy.Route)
			refused := 0
			for n := range messages {
				switch err := policy.send(s, n); {
				case errors.Is(err, session.ErrDropped) && policy.Outbound == session.DropNewest:
					refused++
				case err != nil:
					t.Fatal(n, err)
				}
			}
			if !s.IsAvailable() {
				t.Fatal("the session is not open any more")
			}
			st := srv.Stats()
			lost := int(st.DroppedOldest + st.DroppedNewest + st.Conflated)
			byPolicy := map[uint8]uint64{0: 0, 1: st.DroppedOldest, 2: st.DroppedNewest, 3: st.Conflated}[uint8(policy.Outbound)]
			if lost == 0 || uint64(lost) != byPolicy || policy.Outbound == session.DropNewest && lost != refused || st.Dropped != 0 {
				t.Fatalf("lost: oldest %d, newest %d, conflated %d, others %d; refused %d", st.DroppedOldest, st.DroppedNewest, st.Conflated, st.Dropped, refused)
			}
			last := make(map[int]int)
			for range messages - lost {
				var symbol, n int
				if _, err := fmt.Sscanf(string(c.Read().Payload), "%d:%d:", &symbol, &n); err != nil {
					t.Fatal(err)
				}
				if before, ok := last[symbol]; ok && n <= before {
					t.Fatalf("%d of %d came after %d", n, symbol, before)
				}
				last[symbol] = n
			}
			for symbol, n := range last {
				if want := messages - symbols + symbol; n != want && policy.Outbound != session.DropNewest {
					t.Errorf("the last of %d was %d, want %d", symbol, n, want)
				}
			}
			if err := s.SendText("still here"); err != nil {
				t.Fatal(err)
			}
			c.Want(ws.OpText, "still here")
		})
	}
}

// A ping does not end the session either when there is no room for it, nor does the sweeper's.
func TestPingWithoutRoom(t *testing.T) {
	opened := make(chan session.Session, 1)
	cfg := session.Config{
		Routes: []session.Route{{Path: "/", Mode: session.NeverBlocks, Outbound: session.KeepLatest, Handler: session.HandlerFuncs{
			Open: func(s session.Session, _ *wsproto.Request) { opened <- s },
		}}},
	}
	cfg.Reactor.QueueMessages = 8
	cfg.Reactor.WriteStall = time.Hour // by default it follows from the pings, and is shorter than this test
	srv := wstest.New(t, cfg)
	clock := session.UseClock(srv)
	c, s := wstest.Dial(t, wstest.Start(t, srv, "127.0.0.1:0"), "/"), waits.Receive(t, opened, "the call of OnOpen")
	n := 0
	full := func() bool {
		n++
		if err := s.SendKeyed(fmt.Sprint(n%4), wsproto.OpText, []byte(tick(0, n))); err != nil {
			t.Fatal(err)
		}
		// First the queue has all four of them, and one that has been begun.
		return n > 1000 && errors.Is(s.SendPing(nil), session.ErrDropped)
	}
	for !full() {
	}
	// Meanwhile it is silent for much longer than a client may be that has been pinged.
	for range 5 {
		clock.Pass(t, 20*time.Second)
		full()
	}
	if !s.IsAvailable() || srv.Stats().Evictions["ping_timeout"] > 0 {
		t.Fatal("it was given up on")
	}
	for c.Read().Header.OpCode != ws.OpPing {
	}
}

// More keys than the queue has room for end the session, with the code of the route.
func TestKeepLatestHasBounds(t *testing.T) {
	srv, c, s := policyServer(t, session.Route{Mode: session.NeverBlocks, Outbound: session.KeepLatest, SlowCode: wsproto.StatusPolicyViolation})
	var err error
	for n := 0; err == nil; n++ {
		err = s.SendKeyed(fmt.Sprint(n), wsproto.OpText, []byte(tick(0, n)))
	}
	if !errors.Is(err, session.ErrQueueFull) {
		t.Fatal(err)
	}
	c.WantClose(wsproto.StatusPolicyViolation)
	if n := srv.Stats().SlowConsumers["queue_full"]; n != 1 {
		t.Errorf("%d slow consumers", n)
	}
}

func TestPolicyOfConfig(t *testing.T) {
	for _, r := range []session.Route{{Mode: session.NeverBlocks, Outbound: 4}, {Mode: session.NeverBlocks, SlowCode: 1005}, {Mode: session.NeverBlocks, SlowCode: 999}} {
		r.Path, r.Handler = "/", session.Echo{}
		if _, err := session.NewServer(session.Config{Routes: []session.Route{r}}); err == nil {
			t.Errorf("%+v is accepted", r)
		}
	}
}

// Only messages can be prepared, no control frames.
func TestPrepareRefuses(t *testing.T) {
	cfg, opened := opener()
	srv, addr := wstest.Serve(t, cfg)
	c := wstest.Dial(t, addr, "/")
	s := waits.Receive(t, opened, "the call of OnOpen")
	if err := errors.Join(s.Join("x"), s.SetUser("ann")); err != nil {
		t.Fatal(err)
	}
	for _, op := range []wsproto.Opcode{wsproto.OpClose, wsproto.OpPing, wsproto.OpContinuation, 3, 255} {
		m := session.Prepare(op, []byte("hello"))
		for name, err := range map[string]error{
			"SendPrepared": s.SendPrepared(m),
			"Publish":      second(srv.Publish("x", m)),
			"SendUser":     second(srv.SendUser("ann", m)),
			"SendAll":      second(srv.SendAll("", m)),
		} {
			if !errors.Is(err, session.ErrPayload) {
				t.Errorf("%s with opcode %d: %v", name, op, err)
			}
		}
	}
	if err := s.SendText("fine"); err != nil {
		t.Fatal(err)
	}
	c.Want(ws.OpText, "fine")
}
