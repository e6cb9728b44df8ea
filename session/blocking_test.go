package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/netpoll"
	"wsgateway/session"
	"wsgateway/wsproto"
)

func blockingRoute(h session.Handler) session.Config {
	return session.Config{BlockingCalls: 4, Routes: []session.Route{{Path: "/", Handler: h, Mode: session.MayBlock}}}
}

// While a handler blocks, its client's next messages wait, in order; other clients, of the same route
// and of others, are served.
func TestBlockingHandler(t *testing.T) {
	enter, leave := make(chan string, 10), make(chan struct{})
	h := session.HandlerFuncs{Message: func(s session.Session, m session.Message) {
		if text := string(m.Data); text != "quick" {
			enter <- text
			<-leave
		}
		_ = s.Send(m.Opcode, m.Data)
	}}
	cfg := blockingRoute(h)
	cfg.Routes = append(cfg.Routes, session.Route{Path: "/echo", Mode: session.NeverBlocks, Handler: session.Echo{}})
	cfg.Reactor.Workers = 1
	srv, addr := wstest.Serve(t, cfg)
	a, b, echo := wstest.Dial(t, addr, "/"), wstest.Dial(t, addr, "/"), wstest.Dial(t, addr, "/echo")
	for i := range 5 {
		a.SendText(fmt.Sprint("slow ", i))
	}
	for i := range 5 {
		if got := waits.Receive(t, enter, "the call of OnMessage"); got != fmt.Sprint("slow ", i) {
			t.Fatalf("message %d is %q", i, got)
		}
		b.SendText("quick")
		b.Want(ws.OpText, "quick")
		echo.SendText("hello")
		echo.Want(ws.OpText, "hello")
		// The quick call may return only after its answer has come.
		waits.Becomes(t, func() session.BlockingStats { return srv.Stats().Blocking }, session.BlockingStats{Busy: 1, Size: 4}, "the pool")
		select {
		case got := <-enter:
			t.Fatalf("%q was delivered while another call ran", got)
		default:
		}
		leave <- struct{}{}
		a.Want(ws.OpText, fmt.Sprint("slow ", i))
	}
}

// However many clients' handlers block, there are no more calls at a time than said, and all are made.
func TestBlockingCallsAreBounded(t *testing.T) {
	var now, most, calls atomic.Int64
	h := session.HandlerFuncs{Message: func(s session.Session, m session.Message) {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		calls.Add(1)
		runtime.Gosched()
		_ = s.Send(m.Opcode, m.Data)
		now.Add(-1)
	}}
	_, addr := wstest.Serve(t, blockingRoute(h))
	var clients sync.WaitGroup
	for range 30 {
		c := wstest.Dial(t, addr, "/")
		clients.Add(1)
		go func() {
			defer clients.Done()
			for i := range 100 {
				if err := ws.WriteFrame(c, ws.MaskFrame(ws.NewTextFrame([]byte(fmt.Sprint(i))))); err != nil {
					t.Error(err)
					return
				}
			}
			for i := range 100 {
				if f, err := wstest.ReadFrame(c.Reader); err != nil || string(f.Payload) != fmt.Sprint(i) {
					t.Errorf("message %d: %q, %v", i, f.Payload, err)
					return
				}
			}
		}()
	}
	clients.Wait()
	if most.Load() > 4 || calls.Load() != 3000 {
		t.Errorf("%d calls, %d at a time", calls.Load(), most.Load())
	}
}

// Every callback may block: they come in order, and what is known of the session is known until OnClose
// has returned, although its connection is gone.
func TestBlockingOrder(t *testing.T) {
	var mu sync.Mutex
	var got []string
	gate := make(chan struct{})
	closed := make(chan struct{})
	note := func(s session.Session, what string) {
		<-gate
		mu.Lock()
		defer mu.Unlock()
		got = append(got, fmt.Sprint(what, " ", s.Value(), " ", s.Path(), " ", s.RemoteAddr().IsValid(), " ", s.ID() != ""))
	}
	h := session.HandlerFuncs{
		Open: func(s session.Session, r *wsproto.Request) {
			agent, _ := r.Header("User-Agent")
			note(s, "open "+string(agent))
		},
		Message: func(s session.Session, m session.Message) { note(s, string(m.Data)) },
		Binary:  func(s session.Session, p []byte) { note(s, "binary "+string(p)) },
		Ping:    func(s session.Session, p []byte) bool { note(s, "ping "+string(p)); return string(p) != "veto" },
		Pong:    func(s session.Session, p []byte) { note(s, "pong "+string(p)) },
		Error:   func(s session.Session, err error) { note(s, "error "+fmt.Sprint(errors.Is(err, session.ErrBroken))) },
		Close: func(s session.Session, c session.CloseInfo) {
			note(s, fmt.Sprint("close ", c.Code))
			close(closed)
		},
	}
	cfg := blockingRoute(h)
	cfg.Routes[0].Path = "/"
	cfg.Routes[0].OnUpgrade = func(u *session.Upgrade) error {
		<-gate
		u.Value = "value"
		return nil
	}
	srv, addr := wstest.Serve(t, cfg)
	go func() { gate <- struct{}{} }()
	c := wstest.DialWith(t, addr, "/x", ws.Dialer{Header: ws.HandshakeHeaderHTTP(http.Header{"User-Agent": {"me"}})})
	c.SendText("text")
	c.Send(ws.NewBinaryFrame([]byte("b")))
	c.Send(ws.NewPingFrame([]byte("veto")))
	c.Send(ws.NewPingFrame([]byte("p")))
	c.Send(ws.NewPongFrame([]byte("q")))
	go func() {
		for range 6 {
			gate <- struct{}{}
		}
	}()
	c.Want(ws.OpPong, "p")
	waits.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 6 }, "six calls have been made")
	c.Close()
	// The connection ends before the calls have been made.
	waits.Becomes(t, func() int { return srv.Stats().Conns }, 0, "open connections")
	close(gate)
	waits.Receive(t, closed, "the call of OnClose")
	want := []string{"open me", "text", "binary b", "ping veto", "ping p", "pong q", "error true", "close 1006"}
	mu.Lock()
	defer mu.Unlock()
	for i := range want {
		if i >= len(got) || got[i] != want[i]+" value /x true true" {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%q", got)
	}
}

// A panic, and even the end of its goroutine, costs the session of the call and nothing else.
func TestBlockingPanic(t *testing.T) {
	h := session.HandlerFuncs{Message: func(s session.Session, m session.Message) {
		switch string(m.Data) {
		case "panic":
			panic("blocking")
		case "exit":
			runtime.Goexit()
		}
		_ = s.Send(m.Opcode, m.Data)
	}}
	srv, addr := wstest.Serve(t, blockingRoute(h))
	for range 20 {
		for _, end := range []string{"panic", "exit"} {
			c := wstest.Dial(t, addr, "/")
			c.SendText("first")
			c.Want(ws.OpText, "first")
			c.SendText(end)
			if f := c.Read(); f.Header.OpCode != ws.OpClose || string(f.Payload[:2]) != "\x03\xf3" { // 1011
				t.Fatalf("%+v", f)
			}
			c.Send(ws.NewCloseFrame(nil))
			c.WantEOF()
		}
	}
	waits.Becomes(t, func() int { return srv.Stats().Blocking.Busy }, 0, "running calls") // OnClose may have come to its end only now
	st := srv.Stats()
	if st.HandlerPanics != 40 || st.Blocking.Size != 4 {
		t.Errorf("%d panics, %+v", st.HandlerPanics, st.Blocking)
	}
}

// Requests may be judged, and answered, by code that blocks.
func TestBlockingHandshake(t *testing.T) {
	gate, asked := make(chan struct{}), make(chan struct{})
	cfg := blockingRoute(session.Echo{})
	cfg.HandshakeTimeout = time.Minute
	r := &cfg.Routes[0]
	r.Path = "/"
	r.OnUpgrade = func(u *session.Upgrade) error {
		if string(u.Request.Path) == "/late" {
			close(asked)
		}
		<-gate
		switch string(u.Request.Path) {
		case "/no":
			return wsproto.Refusal(http.StatusUnauthorized, "no token")
		case "/panic":
			panic("judging")
		}
		return nil
	}
	r.HTTP = func(r *wsproto.Request) *wsproto.Response {
		<-gate
		return &wsproto.Response{Status: http.StatusOK, Body: append([]byte("hello "), r.Path...)}
	}
	cfg.Routes = append(cfg.Routes, session.Route{Path: "/echo", Mode: session.NeverBlocks, Handler: session.Echo{}})
	srv := wstest.New(t, cfg)
	clock := session.UseClock(srv)
	addr := wstest.Start(t, srv, "127.0.0.1:0")

	// It takes as long as it takes, but no longer than a handshake may.
	late := wstest.Connect(t, addr)
	fmt.Fprint(late, wstest.Request("/late"))
	waits.Receive(t, asked, "the call of OnUpgrade")
	clock.Pass(t, time.Minute)
	if answer, err := io.ReadAll(late); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") {
		t.Errorf("%q, %v for a judge that does not return, want status 503", answer, err)
	}
	close(gate)
	for path, status := range map[string]int{"/no": 401, "/panic": 500} {
		if resp, _ := request(t, addr, "GET "+path, upgradeFields); resp.StatusCode != status {
			t.Errorf("%s: status %d, want %d", path, resp.StatusCode, status)
		}
	}
	if resp, body := request(t, addr, "GET /page", "Host: x\r\n"); resp.StatusCode != 200 || body != "hello /page" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	for range 20 {
		c := wstest.Dial(t, addr, "/yes")
		c.SendText("hello")
		c.Want(ws.OpText, "hello")
		c.Close()
	}
}

// A server that is closed waits for handlers, but not for ever; who called Close too.
func TestCloseBesideHandlers(t *testing.T) {
	for name, set := range map[string]func(*session.Route){
		"worker": func(*session.Route) {}, "loop": func(r *session.Route) { r.Mode = session.OnLoop }, "blocking": func(r *session.Route) { r.Mode = session.MayBlock },
	} {
		t.Run(name, func(t *testing.T) {
			gate, entered, done := make(chan struct{}), make(chan struct{}), make(chan string, 2)
			var srv *session.Server
			cfg := oneRoute(session.HandlerFuncs{
				Message: func(_ session.Session, m session.Message) {
					close(entered)
					<-gate
					if string(m.Data) == "close" {
						if err := srv.Shutdown(canceled()); !errors.Is(err, session.ErrHandlerStuck) {
							t.Errorf("Shutdown: %v", err)
						}
					}
				},
				Close: func(s session.Session, _ session.CloseInfo) { done <- s.ID() },
			})
			set(&cfg.Routes[0])
			cfg.HandlerTimeout = 10 * time.Millisecond
			var err error
			if srv, err = session.NewServer(cfg); err != nil {
				t.Fatal(err)
			}
			addr, err := srv.Listen("127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if err := srv.Start(); err != nil {
				t.Fatal(err)
			}
			other := wstest.Dial(t, addr.String(), "/")
			c := wstest.Dial(t, addr.String(), "/")
			c.SendText("close")
			waits.Receive(t, entered, "the call of OnMessage")
			if err := srv.Close(); !errors.Is(err, session.ErrHandlerStuck) {
				t.Errorf("Close: %v", err)
			}
			if n, err := other.Reader.Read(make([]byte, 1)); err == nil {
				t.Errorf("a session that nobody serves is still open, and sent %d bytes", n)
			}
			first := waits.Receive(t, done, "the call of OnClose")
			select {
			case <-done:
				t.Error("OnClose was called while OnMessage ran")
			default:
			}
			close(gate)
			if waits.Receive(t, done, "the second call of OnClose") == first {
				t.Error("OnClose was called twice")
			}
		})
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// A call that ends its goroutine, as testing.T.FailNow does, ends its session and costs no goroutine of
// the server's.
func TestGoexit(t *testing.T) {
	for name, set := range map[string]func(*session.Route){
		"worker": func(*session.Route) {}, "loop": func(r *session.Route) { r.Mode = session.OnLoop }, "blocking": func(r *session.Route) { r.Mode = session.MayBlock },
	} {
		t.Run(name, func(t *testing.T) {
			closed := make(chan session.CloseInfo, 1)
			cfg := oneRoute(session.HandlerFuncs{
				Message: func(s session.Session, m session.Message) {
					if string(m.Data) == "exit" {
						runtime.Goexit()
					}
					_ = s.Send(m.Opcode, m.Data)
				},
				Close: func(_ session.Session, c session.CloseInfo) { closed <- c },
			})
			set(&cfg.Routes[0])
			cfg.Reactor.Workers, cfg.Reactor.Loops = 2, 1
			srv, addr := wstest.Serve(t, cfg)
			for range 10 {
				c := wstest.Dial(t, addr, "/")
				c.SendText("first")
				c.Want(ws.OpText, "first")
				c.SendText("exit")
				if name == "blocking" {
					if f := c.Read(); f.Header.OpCode != ws.OpClose || string(f.Payload[:2]) != "\x03\xf3" { // 1011
						t.Fatalf("%+v", f)
					}
					c.Send(ws.NewCloseFrame(ws.NewCloseFrameBody(1011, "")))
				}
				if info := waits.Receive(t, closed, "the call of OnClose"); info.Code != 1011 && info.Code != 1006 {
					t.Errorf("%+v", info)
				}
				c.Close()
			}
			if st := srv.Stats(); st.HandlerPanics+st.Panics != 10 {
				t.Errorf("%d and %d panics", st.HandlerPanics, st.Panics)
			}
		})
	}
}

// What cannot work any more says so.
func TestTooLate(t *testing.T) {
	srv, _ := wstest.Serve(t, oneRoute(session.Echo{}))
	listen := func() error { _, err := srv.Listen("127.0.0.1:0"); return err }
	if err := listen(); err != nil {
		t.Errorf("Listen after Start: %v", err)
	}
	if err := srv.Start(); !errors.Is(err, netpoll.ErrStarted) {
		t.Errorf("Start after Start: %v", err)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(srv.Close(), srv.Shutdown(canceled())); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := listen(); !errors.Is(err, netpoll.ErrReactorClosed) {
		t.Errorf("Listen after Close: %v", err)
	}
	if err := srv.Start(); !errors.Is(err, netpoll.ErrReactorClosed) {
		t.Errorf("Start after Close: %v", err)
	}
}

// A session of which nobody has been told yet may be over: what OnOpen keeps, OnClose finds.
func TestBlockingValueOfBrokenSession(t *testing.T) {
	enter, leave, value := make(chan session.Session), make(chan struct{}), make(chan any, 1)
	srv, addr := wstest.Serve(t, blockingRoute(session.HandlerFuncs{
		Open: func(s session.Session, _ *wsproto.Request) {
			enter <- s
			<-leave
			if err := s.SetValue("kept"); err != nil {
				t.Error(err)
			}
		},
		Close: func(s session.Session, _ session.CloseInfo) { value <- s.Value() },
	}))
	c := wstest.Dial(t, addr, "/")
	s := waits.Receive(t, enter, "the call of OnOpen")
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	c.Close()
	waits.Eventually(t, func() bool { return !s.IsAvailable() && srv.Stats().Sessions == 0 }, "the session has ended and is not counted")
	leave <- struct{}{}
	if got := waits.Receive(t, value, "the call of OnClose"); got != "kept" {
		t.Errorf("OnClose finds %v", got)
	}
	waits.Becomes(t, func() any { return s.Value() }, nil, "the value of the session")
	if err := s.SetValue(1); !errors.Is(err, session.ErrClosed) {
		t.Errorf("SetValue after OnClose: %v", err)
	}
}

// What waits for its handler while the session is closed is not delivered.
func TestNoBlockingCallAfterClose(t *testing.T) {
	opened, entered, leave := make(chan session.Session, 1), make(chan bool), make(chan bool)
	ended := make(ends, 3)
	srv, addr := wstest.Serve(t, session.Config{BlockingCalls: 1, Routes: []session.Route{{Path: "/", Mode: session.MayBlock, Handler: session.HandlerFuncs{
		Open: func(s session.Session, _ *wsproto.Request) { opened <- s },
		Message: func(_ session.Session, m session.Message) {
			if string(m.Data) != "hold up" {
				t.Errorf("OnMessage(%q) after Close", m.Data)
				return
			}
			entered <- true
			<-leave
		},
		Ping:  func(session.Session, []byte) bool { t.Error("OnPing after Close"); return false },
		Close: func(_ session.Session, c session.CloseInfo) { ended <- c },
	}}}})
	holder := wstest.Dial(t, addr, "/")
	waits.Receive(t, opened, "the call of OnOpen")
	late := map[*wstest.Client]ws.Frame{}
	sessions := map[*wstest.Client]session.Session{}
	for _, f := range []ws.Frame{ws.NewTextFrame([]byte("late")), ws.NewPingFrame(nil)} {
		c := wstest.Dial(t, addr, "/")
		late[c], sessions[c] = f, waits.Receive(t, opened, "the call of OnOpen")
	}
	holder.SendText("hold up")
	waits.Receive(t, entered, "the call of OnMessage") // the one goroutine of the pool is busy
	for c, f := range late {
		c.Send(f)
	}
	waits.Becomes(t, func() int { return srv.Stats().Blocking.Waiting }, len(late), "waiting calls")
	for c, s := range sessions {
		if err := s.Close(4000, ""); err != nil {
			t.Error(err)
		}
		c.Send(c.Read()) // the answer to the Close frame
	}
	leave <- true
	for range late {
		ended.want(t, session.CloseInfo{Code: 4000, Initiator: session.ByServer, Clean: true})
	}
}
