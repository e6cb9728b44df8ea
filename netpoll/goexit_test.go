package netpoll_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// logs is where a reactor logs to.
type logs struct{ waits.Buffer }

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logs) has(s string) bool { return strings.Contains(l.String(), s) }

// places are settings under which loops serve, and workers.
var places = map[string]netpoll.Config{
	"loop":   {Loops: 1, Workers: 1},
	"worker": {Loops: 1, Workers: 1, InlineBatch: netpoll.NoInline},
}

// faulty echoes, calls fault where it is told to, and remembers how connections were closed.
type faulty struct {
	fault func()
	at    atomic.Pointer[string] // the call that all connections fail in
	ended atomic.Int32

	mu     sync.Mutex
	closed map[netpoll.Conn][]error
}

func newFaulty(fault func()) *faulty {
	h := &faulty{fault: fault, closed: map[netpoll.Conn][]error{}}
	h.fail("")
	return h
}

func (h *faulty) fail(call string) { h.at.Store(&call) }

func (h *faulty) call(name string) {
	if *h.at.Load() == name {
		h.fault()
	}
}

func (h *faulty) Opened(*netpoll.Turn, bool) { h.call("Opened") }
func (h *faulty) Data(t *netpoll.Turn, p []byte) {
	if p[0] == 'x' {
		h.fault()
	}
	_ = t.Reactor().Send(t.Conn(), netpoll.Message{Body: p})
	h.call("Data")
}
func (h *faulty) Ended(t *netpoll.Turn) {
	h.ended.Add(1)
	h.call("Ended")
	t.CloseFlushed(false)
}
func (h *faulty) Notice(*netpoll.Turn, netpoll.Reason) { h.call("Notice") }
func (h *faulty) Closed(t *netpoll.Turn, err error) {
	h.mu.Lock()
	h.closed[t.Conn()] = append(h.closed[t.Conn()], err)
	h.mu.Unlock()
	h.call("Closed")
}

// all returns how all connections were closed so far, and complains about those that were
// closed twice.
func (h *faulty) all(t *testing.T) (errs []error) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for c, e := range h.closed {
		if len(e) != 1 {
			t.Errorf("connection %x was closed with %v", c, e)
		}
		errs = append(errs, e[0])
	}
	return errs
}

// Whatever call of the handler ends its goroutine, and by whatever way: it costs that connection
// and nothing else.
func TestGoexitIsContained(t *testing.T) {
	faults := map[string]func(){
		"goexit": runtime.Goexit,
		"goexit of a panic": func() {
			defer runtime.Goexit()
			panic("as asked")
		},
		"panic of a goexit": func() {
			defer func() { panic("as asked") }()
			runtime.Goexit()
		},
	}
	for place, cfg := range places {
		for name, fault := range faults {
			for _, call := range []string{"Opened", "Data", "Ended", "Notice", "Closed"} {
				t.Run(place+"/"+name+"/"+call, func(t *testing.T) {
					var l logs
					cfg := cfg
					cfg.Logger = l.logger()
					h := newFaulty(fault)
					r, addr := start(t, cfg, h)
					for round := range uint64(5) {
						good := dial(t, addr)
						talk(t, good)
						h.fail(call)
						bad := knock(t, addr)
						if call != "Opened" {
							if _, err := bad.Write([]byte("hello")); err != nil {
								t.Fatal(err)
							}
						}
						if call == "Ended" || call == "Closed" {
							_ = bad.CloseWrite()
						}
						if call == "Notice" {
							talk5(t, bad)
							wakeLast(t, r)
						}
						got, err := io.ReadAll(bad)
						if err != nil && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EINVAL) {
							t.Errorf("read %q, %v", got, err)
						}
						waits.Eventually(t, func() bool { return r.Stats().Closed == 2*round+1 }, "the connection is closed")
						h.fail("")
						talk(t, good)
						good.Close()
						waits.Eventually(t, func() bool { return r.Stats().Closed == 2*round+2 }, "the other one is closed")
					}
					if n := r.Stats().Panics; n < 5 || name == "goexit" && n != 5 {
						t.Errorf("%d panics counted", n)
					}
					if name == "goexit" && !l.has("called runtime.Goexit") {
						t.Error("nothing is logged")
					}
					if n := r.Stats().WorkersBusy; n != 0 {
						t.Errorf("%d workers are busy", n)
					}
					panics := 0
					for _, err := range h.all(t) {
						if errors.Is(err, netpoll.ErrPanic) {
							panics++
						}
					}
					if want := 5; call != "Closed" && panics != want {
						t.Errorf("%d closed with ErrPanic", panics)
					}
					if err := r.Close(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// knock is dial for a connection that may be reset before dial returns.
func knock(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if errors.Is(err, unix.ECONNRESET) {
		return new(net.TCPConn) // it is closed for all calls
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// talk5 reads the answer to what has been written.
func talk5(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
}

// wakeLast wakes the connection that was accepted last, the second that is open.
func wakeLast(t *testing.T, r *netpoll.Reactor) {
	t.Helper()
	last := r.At(1)
	if last == 0 {
		t.Fatal("there is no second connection")
	}
	if err := r.Wake(last); err != nil {
		t.Fatal(err)
	}
}

// What was taken together with the connection whose handler ends the goroutine is served.
func TestGoexitLosesNothing(t *testing.T) {
	for place, cfg := range places {
		t.Run(place, func(t *testing.T) {
			gate := make(chan struct{})
			held := make(chan struct{})
			h := newFaulty(runtime.Goexit)
			r, addr := start(t, cfg, &funcs{
				data: func(t *netpoll.Turn, p []byte) {
					if p[0] == 'g' {
						close(held)
						<-gate
					}
					h.Data(t, p)
				},
				closed: h.Closed,
			})
			const n = 40
			var conns []*net.TCPConn
			for range n {
				c := dial(t, addr)
				talk(t, c)
				conns = append(conns, c)
			}
			guard := dial(t, addr)
			if _, err := guard.Write([]byte("gate!")); err != nil {
				t.Fatal(err)
			}
			<-held
			for i, c := range conns {
				p := []byte("hello")
				if i%3 == 0 {
					p[0] = 'x'
				}
				if _, err := c.Write(p); err != nil {
					t.Fatal(err)
				}
			}
			if place == "worker" {
				waits.Eventually(t, func() bool { return r.Stats().QueueLen == n }, "all wait for the worker")
			}
			late := dial(t, addr) // and a listener, behind the connections
			close(gate)
			talk5(t, guard)
			for i, c := range conns {
				if i%3 != 0 {
					talk5(t, c)
				} else if _, err := io.ReadAll(c); err != nil && !errors.Is(err, unix.ECONNRESET) {
					t.Error(err)
				}
			}
			talk(t, late)
			if st := r.Stats(); st.Panics != 14 || st.Closed != 14 {
				t.Errorf("%d panics, %d closed", st.Panics, st.Closed)
			}
			h.all(t)
		})
	}
}

// A listener's other connections are accepted although the handler does not survive one.
func TestGoexitWhileAccepting(t *testing.T) {
	var opened atomic.Int32
	h := newFaulty(runtime.Goexit)
	r, addr := start(t, netpoll.Config{Loops: 1, MaxConns: 200, Spare: 10}, &funcs{
		opened: func(*netpoll.Turn) {
			if opened.Add(1)%2 == 0 {
				runtime.Goexit()
			}
		},
		data: h.Data,
	})
	for range 100 {
		knock(t, addr)
	}
	waits.Eventually(t, func() bool { return opened.Load() == 100 }, "all have been opened")
	waits.Eventually(t, func() bool { return r.Stats().Closed == 50 }, "half of them are closed")
	if st := r.Stats(); st.Conns != 50 || st.Panics != 50 {
		t.Errorf("%d connections, %d panics", st.Conns, st.Panics)
	}
}

// Close calls Closed for all, and returns, although none of these calls does.
func TestGoexitWhileClosing(t *testing.T) {
	h := newFaulty(runtime.Goexit)
	r, addr := start(t, netpoll.Config{}, h)
	const n = 20
	for range n {
		talk(t, dial(t, addr))
	}
	h.fail("Closed")
	returned := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		returned <- r.Close()
	}()
	<-ended
	select {
	case err := <-returned:
		if err != nil {
			t.Error(err)
		}
	default:
		t.Fatal("Close has ended its caller")
	}
	errs := h.all(t)
	for _, err := range errs {
		if !errors.Is(err, netpoll.ErrReactorClosed) {
			t.Error(err)
		}
	}
	if st := r.Stats(); len(errs) != n || st.Panics != n || st.Conns != 0 {
		t.Errorf("%d were told, %d panics, %d connections left", len(errs), st.Panics, st.Conns)
	}
}

// Close waits for goroutines that are being replaced.
func TestCloseUnderGoexits(t *testing.T) {
	rounds := 100
	if raceEnabled {
		rounds = 40
	}
	for place, cfg := range places {
		t.Run(place, func(t *testing.T) {
			for range rounds {
				h := newFaulty(runtime.Goexit)
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
				var clients sync.WaitGroup
				for range 4 {
					clients.Go(func() {
						for {
							c, err := net.Dial("tcp", addr.String())
							if err != nil {
								return
							}
							_, _ = c.Write([]byte("x"))
							_, _ = c.Read(make([]byte, 1))
							c.Close()
						}
					})
				}
				waits.Eventually(t, func() bool { return r.Stats().Panics > 3 }, "handlers fail")
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				n := r.Stats().Panics
				clients.Wait()
				if st := r.Stats(); st.Conns != 0 || st.Panics != n {
					t.Errorf("%d connections left, %d panics after Close", st.Conns, st.Panics-n)
				}
				h.all(t)
			}
		})
	}
}

// A loop whose goroutine is gone starts anew as soon as there are descriptors for it.
func TestGoexitWithoutDescriptors(t *testing.T) {
	var l logs
	r, addr := start(t, netpoll.Config{Loops: 1, Logger: l.logger()}, newFaulty(runtime.Goexit))
	good, bad := dial(t, addr), dial(t, addr)
	talk(t, good)
	talk(t, bad)
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	restore := func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim) }
	defer restore()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: lim.Max}); err != nil {
		t.Fatal(err)
	}
	if _, err := bad.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	waits.Eventually(t, func() bool { return l.has("starting an event loop again failed") }, "the loop cannot be started")
	restore()
	talk(t, good)
	talk(t, dial(t, addr))
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// Close does not wait for the descriptors of a loop that is to end anyway.
func TestCloseWhileALoopIsMissing(t *testing.T) {
	var l logs
	r, addr := start(t, netpoll.Config{Loops: 1, Logger: l.logger(), HandlerTimeout: time.Minute}, newFaulty(runtime.Goexit))
	bad := dial(t, addr)
	talk(t, bad)
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim) }()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: lim.Max}); err != nil {
		t.Fatal(err)
	}
	if _, err := bad.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	waits.Eventually(t, func() bool { return l.has("starting an event loop again failed") }, "the loop cannot be started")
	began := time.Now()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("Close took %v", d)
	}
}
