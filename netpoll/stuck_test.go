package netpoll_test

import (
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// sticky echoes, and is held up by what begins with 's' until release is closed. What begins with
// 'w' moves the connection to the workers.
type sticky struct {
	*faulty
	release chan struct{}
	stuck   chan netpoll.Conn
	data    atomic.Int32
	notices atomic.Int32
}

func newSticky() *sticky {
	return &sticky{faulty: newFaulty(nil), release: make(chan struct{}), stuck: make(chan netpoll.Conn, 100)}
}

func (h *sticky) Data(t *netpoll.Turn, p []byte) {
	h.data.Add(1)
	switch p[0] {
	case 's':
		h.stuck <- t.Conn()
		<-h.release
	case 'w':
		t.SetInline(false)
	}
	_ = t.Reactor().Send(t.Conn(), netpoll.Message{Body: p})
}

func (h *sticky) Notice(*netpoll.Turn, netpoll.Reason) { h.notices.Add(1) }

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}

// Close gives up on what does not return, and closes everything else; what does return later is
// closed then, and nothing further is served.
func TestCloseLeavesWhatIsStuck(t *testing.T) {
	both := netpoll.Config{Loops: 1, Workers: 1}
	for name, tt := range map[string]struct {
		cfg   netpoll.Config
		kinds []string // what the connections send first that are to be stuck
	}{
		"loop":       {both, []string{"hello"}},
		"worker":     {both, []string{"world"}},
		"everything": {both, []string{"hello", "world"}},
		"one of two": {netpoll.Config{Loops: 2, Workers: 2, InlineBatch: netpoll.NoInline}, []string{"world"}},
	} {
		t.Run(name, func(t *testing.T) {
			dial0, err := net.Listen("tcp", "127.0.0.1:0") // has Go open what it keeps open
			if err != nil {
				t.Fatal(err)
			}
			dial0.Close()
			before := openFDs()
			var l logs
			cfg := tt.cfg
			cfg.Logger, cfg.HandlerTimeout = l.logger(), 50*time.Millisecond
			cfg.ReadBuffer = 5
			h := newSticky()
			r, addr := start(t, cfg, h)
			var clients, stuck []*net.TCPConn
			for range 10 {
				c := dial(t, addr)
				write(t, c, tt.kinds[0])
				talk5(t, c)
				clients = append(clients, c)
			}
			for _, kind := range tt.kinds {
				c := dial(t, addr)
				write(t, c, kind)
				talk5(t, c)
				stuck = append(stuck, c)
			}
			held := map[netpoll.Conn]bool{}
			for i := range stuck {
				c := stuck[len(stuck)-1-i] // the loop last, since it hands over to the worker
				write(t, c, "stuckagain")
				id := <-h.stuck
				held[id] = true
				if err := r.Wake(id); err != nil {
					t.Fatal(err)
				}
			}
			served := h.data.Load()
			if name != "one of two" {
				for _, c := range clients[:5] {
					write(t, c, "world") // these wait behind
				}
			}

			closeStuck(t, r, h, &l, held)
			close(h.release)
			settled(t, r)
			for id := range held {
				if errs := h.closed[id]; len(errs) != 1 || !errors.Is(errs[0], netpoll.ErrReactorClosed) {
					t.Errorf("closed with %v", errs)
				}
			}
			h.all(t)
			if name != "one of two" && h.data.Load() != served {
				t.Errorf("%d calls of Data after Close", h.data.Load()-served)
			}
			if h.notices.Load() != 0 {
				t.Error("Notice was called after Close")
			}
			for _, c := range append(clients, stuck...) {
				c.Close()
			}
			waits.Eventually(t, func() bool { return openFDs() <= before }, "no descriptor is left open")
		})
	}
}

// closeStuck closes a reactor of ten idle connections and some that are held by calls, and checks that it
// leaves these alone, and says so.
func closeStuck(t *testing.T, r *netpoll.Reactor, h *sticky, l *logs, held map[netpoll.Conn]bool) {
	t.Helper()
	if err := r.Close(); !errors.Is(err, netpoll.ErrHandlerStuck) {
		t.Errorf("Close: %v", err)
	}
	if n := len(h.all(t)); n != 10 {
		t.Errorf("%d connections were closed", n)
	}
	for _, err := range h.all(t) {
		if !errors.Is(err, netpoll.ErrReactorClosed) {
			t.Error(err)
		}
	}
	if st := r.Stats(); st.Conns != len(held) {
		t.Errorf("%d connections are left", st.Conns)
	}
	if want := map[int]string{1: "goroutines=1", 2: "goroutines=2"}[len(held)]; !l.has("do not return") || !l.has(want) {
		t.Error("not logged, or with the wrong number")
	}
	if !errors.Is(r.Close(), netpoll.ErrHandlerStuck) {
		t.Error("the second Close does not say so")
	}
	for id := range held {
		if err := r.Send(id, netpoll.Message{Body: []byte("x")}); err != nil {
			t.Errorf("the connection that is being served is closed: %v", err)
		}
	}
}

// A call that returns in time is waited for.
func TestCloseWaitsForTheHandler(t *testing.T) {
	for place, cfg := range places {
		t.Run(place, func(t *testing.T) {
			h := newSticky()
			r, addr := start(t, cfg, h)
			write(t, dial(t, addr), "stuck")
			<-h.stuck
			errs := make(chan error)
			go func() { errs <- r.Close() }()
			select {
			case err := <-errs:
				t.Fatal("Close has not waited:", err)
			case <-time.After(20 * time.Millisecond):
			}
			close(h.release)
			if err := <-errs; err != nil {
				t.Error(err)
			}
			if len(h.all(t)) != 1 {
				t.Error("it has not been closed")
			}
		})
	}
}

// The handler returns before, while and after Close gives up.
func TestCloseWhileTheHandlerReturns(t *testing.T) {
	rounds := 200
	if raceEnabled {
		rounds = 100
	}
	stuck := 0
	for range rounds {
		h := newSticky()
		cfg := netpoll.Config{Loops: 2, Workers: 2, HandlerTimeout: 3 * time.Millisecond}
		r, err := netpoll.New(cfg, h)
		if err != nil {
			t.Fatal(err)
		}
		addr, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(); err != nil {
			t.Fatal(err)
		}
		var conns []net.Conn
		for i := range 8 {
			c, err := net.Dial("tcp", addr.String())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			if i%2 == 0 {
				write(t, c, "world")
				talk5(t, c)
			}
		}
		for i, c := range conns {
			if i < 5 {
				write(t, c, "stuckagain")
			} else {
				write(t, c, "hello")
			}
		}
		<-h.stuck
		time.AfterFunc(time.Duration(rand.IntN(6000))*time.Microsecond, func() { close(h.release) })
		switch err := r.Close(); err {
		case nil:
		case netpoll.ErrHandlerStuck:
			stuck++
		default:
			t.Error(err)
		}
		settled(t, r)
		st := r.Stats()
		if n := len(h.all(t)); n > int(st.Accepted) || st.Closed != st.Accepted {
			t.Errorf("%d accepted, %d closed, %d told so", st.Accepted, st.Closed, n)
		}
		for _, c := range conns {
			c.Close()
		}
	}
	if stuck == 0 || stuck == rounds {
		t.Logf("Close gave up in %d of %d rounds: the test shows less than it could", stuck, rounds)
	}
}

// A handler that calls Close waits for itself, but not for ever.
func TestCloseByTheHandler(t *testing.T) {
	for place, cfg := range places {
		for _, call := range []string{"Data", "Closed"} {
			t.Run(place+"/"+call, func(t *testing.T) {
				cfg := cfg
				cfg.HandlerTimeout = 50 * time.Millisecond
				var r *netpoll.Reactor
				errs := make(chan error, 1)
				var once sync.Once
				h := newFaulty(func() { once.Do(func() { errs <- r.Close() }) })
				r, err := netpoll.New(cfg, h)
				if err != nil {
					t.Fatal(err)
				}
				addr, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"})
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Start(); err != nil {
					t.Fatal(err)
				}
				other, c := dial(t, addr.String()), dial(t, addr.String())
				talk(t, other)
				talk(t, c)
				h.fail(call)
				write(t, c, "hello")
				if call == "Closed" {
					_ = c.CloseWrite()
				}
				if err := <-errs; !errors.Is(err, netpoll.ErrHandlerStuck) {
					t.Errorf("Close: %v", err)
				}
				settled(t, r)
				if n := len(h.all(t)); n != 2 {
					t.Errorf("%d were closed", n)
				}
			})
		}
	}
}

// Nor does Close wait for ever for Closed, where that is called by Close.
func TestCloseIsNotHeldUpByClosed(t *testing.T) {
	release := make(chan struct{})
	var once sync.Once
	h := newFaulty(func() { once.Do(func() { <-release }) })
	r, addr := start(t, netpoll.Config{HandlerTimeout: 50 * time.Millisecond}, h)
	for range 5 {
		talk(t, dial(t, addr))
	}
	h.fail("Closed")
	if err := r.Close(); !errors.Is(err, netpoll.ErrHandlerStuck) {
		t.Errorf("Close: %v", err)
	}
	close(release)
	settled(t, r)
	if n := len(h.all(t)); n != 5 {
		t.Errorf("%d were closed", n)
	}
}

func TestHandlerTimeoutIsChecked(t *testing.T) {
	_, err := netpoll.New(netpoll.Config{HandlerTimeout: -1}, &echo{})
	if err == nil || !strings.Contains(err.Error(), "HandlerTimeout") {
		t.Error(err)
	}
}

func TestTakeover(t *testing.T) {
	for state, name := range []string{"idle", "queued", "running", "dirty"} {
		seized, begun := netpoll.Takeover(uint64(state), 1)
		if want := state < 2; seized != want || begun {
			t.Errorf("%s: seized %v, begun %v", name, seized, begun)
		}
		if seized, _ := netpoll.Takeover(uint64(state), 2); seized {
			t.Errorf("%s: another connection was seized", name)
		}
	}
}

// What a goroutine has taken is not served any more once Close has begun.
func TestCloseStopsInABatch(t *testing.T) {
	for place, cfg := range places {
		t.Run(place, func(t *testing.T) {
			held := make(chan struct{})
			gate := make(chan struct{})
			var served atomic.Int32
			h := newFaulty(nil)
			r, addr := start(t, cfg, &funcs{
				data: func(tn *netpoll.Turn, p []byte) {
					if p[0] == 's' {
						served.Add(1)
						held <- struct{}{}
						<-gate
					}
					h.Data(tn, p)
				},
				closed: h.Closed,
			})
			var conns []*net.TCPConn
			for range 6 {
				c := dial(t, addr)
				talk(t, c)
				conns = append(conns, c)
			}
			write(t, conns[0], "stuck")
			<-held
			for _, c := range conns[1:] {
				write(t, c, "stuck")
			}
			if place == "worker" {
				waits.Eventually(t, func() bool { return r.Stats().QueueLen == 5 }, "all wait for the worker")
			}
			gate <- struct{}{}
			<-held
			errs := make(chan error)
			go func() { errs <- r.Close() }()
			waits.Eventually(t, r.Closing, "Close has begun")
			gate <- struct{}{}
			if err := <-errs; err != nil {
				t.Error(err)
			}
			if n := served.Load(); n != 2 {
				t.Errorf("%d were served", n)
			}
			if n := len(h.all(t)); n != 6 {
				t.Errorf("%d were closed", n)
			}
		})
	}
}

// The goroutine that replaces one that a handler has ended is waited for like that, and given up
// on like that.
func TestCloseWaitsForTheReplacement(t *testing.T) {
	for place, cfg := range places {
		for _, late := range []bool{false, true} {
			name := place + "/in time"
			if late {
				name = place + "/late"
				cfg.HandlerTimeout = 50 * time.Millisecond
			}
			t.Run(name, func(t *testing.T) {
				held := make(chan struct{})
				gate := make(chan struct{})
				h := newFaulty(func() { panic("not to be called") })
				r, addr := start(t, cfg, &funcs{
					data: func(tn *netpoll.Turn, p []byte) {
						switch p[0] {
						case 's':
							held <- struct{}{}
							<-gate
						case 'g':
							runtime.Goexit()
						}
						h.Data(tn, p)
					},
					closed: h.Closed,
				})
				a, b, c := dial(t, addr), dial(t, addr), dial(t, addr)
				for _, c := range []*net.TCPConn{a, b, c} {
					talk(t, c)
				}
				write(t, a, "stuck")
				<-held
				write(t, b, "goexit")
				if place == "worker" {
					waits.Eventually(t, func() bool { return r.Stats().QueueLen == 1 }, "it waits for the worker")
				}
				write(t, c, "stuck")
				if place == "worker" {
					waits.Eventually(t, func() bool { return r.Stats().QueueLen == 2 }, "both wait for the worker")
				}
				gate <- struct{}{}
				<-held // on the goroutine that replaces the first
				if n := r.Stats().Panics; n != 1 {
					t.Fatalf("%d panics", n)
				}
				errs := make(chan error, 1)
				go func() { errs <- r.Close() }()
				waits.Eventually(t, r.Closing, "Close has begun")
				if late {
					if err := <-errs; !errors.Is(err, netpoll.ErrHandlerStuck) {
						t.Errorf("Close: %v", err)
					}
					if n := len(h.all(t)); n != 2 {
						t.Errorf("%d were closed", n)
					}
				}
				gate <- struct{}{}
				if !late {
					if err := <-errs; err != nil {
						t.Error(err)
					}
				}
				settled(t, r)
				if n := len(h.all(t)); n != 3 {
					t.Errorf("%d were closed", n)
				}
			})
		}
	}
}
