package session_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/netpoll"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// recorder is an echo that reports OnClose.
func recorder() (session.Handler, ends) {
	e := make(ends, 1000)
	return session.HandlerFuncs{
		Message: func(s session.Session, m session.Message) { _ = s.Send(m.Opcode, m.Data) },
		Close:   func(_ session.Session, c session.CloseInfo) { e <- c },
	}, e
}

func oneRoute(h session.Handler) session.Config {
	return session.Config{Routes: []session.Route{{Path: "/", Mode: session.NeverBlocks, Handler: h}}}
}

func TestEcho(t *testing.T) {
	for name, route := range map[string]session.Route{
		"inline":  {Path: "/", Handler: session.Echo{}, Mode: session.OnLoop},
		"workers": {Path: "/", Mode: session.NeverBlocks, Handler: session.Echo{}},
	} {
		t.Run(name, func(t *testing.T) {
			_, addr := wstest.Serve(t, session.Config{Routes: []session.Route{route}})
			c := wstest.Dial(t, addr, "/")
			for _, n := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
				msg := strings.Repeat("x", n)
				go c.SendText(msg)
				c.Want(ws.OpText, msg)
				go c.Send(ws.NewBinaryFrame([]byte(msg)))
				c.Want(ws.OpBinary, msg)
			}
		})
	}
}

func TestFragmentsAndControlFrames(t *testing.T) {
	h, e := recorder()
	_, addr := wstest.Serve(t, oneRoute(h))
	c := wstest.Dial(t, addr, "/")
	c.Send(ws.NewFrame(ws.OpText, false, []byte("a")))
	c.Send(ws.NewPingFrame([]byte("p")))
	c.Want(ws.OpPong, "p") // between the fragments
	c.Send(ws.NewFrame(ws.OpContinuation, false, nil))
	c.Send(ws.NewFrame(ws.OpContinuation, true, []byte("b")))
	c.Want(ws.OpText, "ab")
	c.Send(ws.NewCloseFrame(ws.NewCloseFrameBody(3001, "bye")))
	c.WantClose(3001)
	e.want(t, session.CloseInfo{Code: 3001, Reason: "bye", Initiator: session.ByClient, Clean: true})
}

func TestByteByByte(t *testing.T) {
	_, addr := wstest.Serve(t, oneRoute(session.Echo{}))
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	drip := func(p []byte) {
		for i := range p {
			if _, err := conn.Write(p[i : i+1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	drip([]byte("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"))
	head := make([]byte, 0, 512)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		var b [1]byte
		if _, err := conn.Read(b[:]); err != nil {
			t.Fatal(err)
		}
		head = append(head, b[0])
	}
	if !bytes.Contains(head, []byte("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) {
		t.Fatalf("answer without the accept value of RFC 6455 §1.3: %q", head)
	}
	drip(ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte("Grüße")))))
	f, err := wstest.ReadFrame(conn)
	if err != nil || string(f.Payload) != "Grüße" {
		t.Fatalf("%q, %v", f.Payload, err)
	}
}

func TestCloseInfo(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(c *wstest.Client)
		want session.CloseInfo
	}{
		"empty close": {
			func(c *wstest.Client) { c.Send(ws.NewCloseFrame(nil)); c.Want(ws.OpClose, ""); c.WantEOF() },
			session.CloseInfo{Code: wsproto.StatusNoStatus, Initiator: session.ByClient, Clean: true},
		},
		"protocol error": {
			func(c *wstest.Client) { _ = ws.WriteFrame(c, ws.NewTextFrame([]byte("unmasked"))); c.WantClose(1002) },
			session.CloseInfo{Code: wsproto.StatusProtocolError, Initiator: session.ByServer},
		},
		"cut": {
			func(c *wstest.Client) { c.Close() },
			session.CloseInfo{Code: wsproto.StatusAbnormal, Initiator: session.ByTransport},
		},
		"reset": {
			func(c *wstest.Client) { _ = c.Conn.(*net.TCPConn).SetLinger(0); c.Close() },
			session.CloseInfo{Code: wsproto.StatusAbnormal, Initiator: session.ByTransport},
		},
		"cut in a frame": {
			func(c *wstest.Client) { _, _ = c.Write([]byte{0x81, 0xff, 0}); c.Close() },
			session.CloseInfo{Code: wsproto.StatusAbnormal, Initiator: session.ByTransport},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, e := recorder()
			s, addr := wstest.Serve(t, oneRoute(h))
			c := wstest.Dial(t, addr, "/")
			tt.do(c)
			e.want(t, tt.want)
			s.Close()
			if len(e) != 0 {
				t.Error("OnClose was called twice")
			}
		})
	}
}

// Nothing behind a bad frame is processed, and the Close frame arrives although much input
// is unread when it is sent (RFC 6455 §7.1.7).
func TestCloseReadDespiteUnreadInput(t *testing.T) {
	got := make(chan string, 10)
	h := session.HandlerFuncs{Message: func(_ session.Session, m session.Message) { got <- string(m.Data) }}
	_, addr := wstest.Serve(t, oneRoute(h))
	c := wstest.Dial(t, addr, "/")
	bad := ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(ws.OpCode(3), true, nil)))
	behind := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(strings.Repeat("late", 1<<18)))))
	if _, err := c.Write(append(bad, behind...)); err != nil {
		t.Fatal(err)
	}
	c.WantClose(1002)
	select {
	case m := <-got:
		t.Errorf("a message behind the bad frame was delivered: %.20q", m)
	default:
	}
}

func TestServerCloses(t *testing.T) {
	opened := make(chan session.Session, 1)
	e := make(ends, 10)
	var late error
	s, addr := wstest.Serve(t, oneRoute(session.HandlerFuncs{
		Open: func(s session.Session, _ *wsproto.Request) { opened <- s },
		Close: func(s session.Session, c session.CloseInfo) {
			late = s.SendText("late")
			e <- c
		},
	}))
	c := wstest.Dial(t, addr, "/")
	ses := waits.Receive(t, opened, "the call of OnOpen")
	if again, ok := s.Lookup(ses.ID()); !ok || again != ses {
		t.Fatal("Lookup does not find an open session")
	}
	if err := ses.Close(4000, "enough"); err != nil {
		t.Fatal(err)
	}
	if err := ses.Close(4001, "twice"); !errors.Is(err, session.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if err := ses.SendText("after"); !errors.Is(err, session.ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
	if ses.IsAvailable() {
		t.Error("available after Close")
	}
	c.Want(ws.OpClose, "\x0f\xa0enough")
	c.Send(ws.NewCloseFrame(ws.NewCloseFrameBody(4000, "")))
	c.WantEOF()
	e.want(t, session.CloseInfo{Code: 4000, Initiator: session.ByServer, Clean: true})
	if !errors.Is(late, session.ErrClosed) {
		t.Errorf("Send in OnClose: %v", late)
	}
	if _, ok := s.Lookup(ses.ID()); ok {
		t.Error("Lookup finds a session that has ended")
	}
	if _, ok := s.Lookup("AAAAAAAAAAAAAAAAAAAAAA"); ok {
		t.Error("Lookup finds a session that never was")
	}
}

func TestPanicClosesOneSession(t *testing.T) {
	e := make(ends, 10)
	s, addr := wstest.Serve(t, oneRoute(session.HandlerFuncs{
		Message: func(s session.Session, m session.Message) {
			if string(m.Data) == "panic" {
				panic("as asked")
			}
			_ = s.Send(m.Opcode, m.Data)
		},
		Close: func(_ session.Session, c session.CloseInfo) { e <- c },
	}))
	other := wstest.Dial(t, addr, "/")
	for range 20 {
		c := wstest.Dial(t, addr, "/")
		c.SendText("panic")
		c.Want(ws.OpClose, "\x03\xf3internal error")
		c.Send(ws.NewCloseFrame(ws.NewCloseFrameBody(1011, "")))
		c.WantEOF()
		e.want(t, session.CloseInfo{Code: 1011, Initiator: session.ByServer, Clean: true})
		other.SendText("still here")
		other.Want(ws.OpText, "still here")
	}
	if st := s.Stats(); st.HandlerPanics != 20 {
		t.Errorf("%d panics counted, want 20", st.HandlerPanics)
	}
}

func TestRefusals(t *testing.T) {
	_, addr := wstest.Serve(t, session.Config{
		HandshakeTimeout: time.Minute,
		Routes:           []session.Route{{Path: "/{$}", Mode: session.NeverBlocks, Handler: session.Echo{}}, {Path: "/chat/", Mode: session.NeverBlocks, Handler: session.Echo{}}},
	})
	const good = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	for name, tt := range map[string]struct{ request, want string }{
		"unknown path": {"GET /nowhere HTTP/1.1\r\n" + good, "HTTP/1.1 404 Not Found"},
		"plain":        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 426 Upgrade Required"},
		"early data":   {"GET / HTTP/1.1\r\n" + good + "x", "HTTP/1.1 400 Bad Request"},
		"no HTTP":      {"\x16\x03\x01", "HTTP/1.1 400 Bad Request"},
		"huge line":    {"GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\n", "HTTP/1.1 414 Request URI Too Long"},
		"many fields":  {"GET / HTTP/1.1\r\n" + strings.Repeat("a: b\r\n", 101), "HTTP/1.1 431 Request Header Fields Too Large"},
		"huge head":    {"GET / HTTP/1.1\r\nCookie: " + strings.Repeat("a", 1<<20), "HTTP/1.1 431 Request Header Fields Too Large"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := raw(t, addr, tt.request); got != tt.want {
				t.Errorf("answer %q, want %q", got, tt.want)
			}
		})
	}
}

// A client whose request is not complete in time is refused, and left without a word if it has sent none.
func TestHandshakeTimeout(t *testing.T) {
	for name, tt := range map[string]struct{ request, want string }{
		"too slow": {"GET / HTTP/1.1\r\nHost:", "HTTP/1.1 408 Request Timeout"},
		"silent":   {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := oneRoute(session.Echo{})
			cfg.HandshakeTimeout = time.Minute
			srv := wstest.New(t, cfg)
			clock := session.UseClock(srv)
			c := wstest.Connect(t, wstest.Start(t, srv, "127.0.0.1:0"))
			_, _ = io.WriteString(c, tt.request)
			waits.Becomes(t, func() uint64 { return srv.Stats().ReadBytes }, uint64(len(tt.request)), "bytes that the server has read")
			waits.Eventually(t, func() bool { // the time begins when the connection is accepted
				clock.Pass(t, time.Minute)
				return srv.Stats().Evictions["handshake_timeout"] == 1
			}, "the client is counted as too slow")
			answer, err := io.ReadAll(c)
			if line, _, _ := strings.Cut(string(answer), "\r\n"); line != tt.want || err != nil {
				t.Errorf("answer %q, %v, want %q", answer, err, tt.want)
			}
		})
	}
}

func TestPathAndSubprotocol(t *testing.T) {
	type seen struct{ path, subprotocol string }
	opened := make(chan seen, 1)
	h := session.HandlerFuncs{Open: func(s session.Session, _ *wsproto.Request) {
		if !s.RemoteAddr().Addr().IsLoopback() {
			t.Errorf("RemoteAddr %v", s.RemoteAddr())
		}
		opened <- seen{s.Path(), s.Subprotocol()}
	}}
	_, addr := wstest.Serve(t, session.Config{Routes: []session.Route{
		{Path: "/chat/", Mode: session.NeverBlocks, Handler: h, Subprotocols: []string{"v2", "v1"}},
		{Path: "/chat/exact", Mode: session.NeverBlocks, Handler: h},
	}})
	for _, tt := range []struct {
		path  string
		offer []string
		want  seen
	}{
		{"/chat/room", []string{"v1", "v2"}, seen{"/chat/room", "v2"}},
		{"/chat/room?q=1", []string{"v0", "v1"}, seen{"/chat/room", "v1"}},
		{"/chat/exact", []string{"v1"}, seen{"/chat/exact", ""}},
	} {
		conn, _, hs, err := ws.Dialer{Protocols: tt.offer}.Dial(context.Background(), "ws://"+addr+tt.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := waits.Receive(t, opened, "the call of OnOpen"); got != tt.want || hs.Protocol != tt.want.subprotocol {
			t.Errorf("%s: session has %v, client %q, want %v", tt.path, got, hs.Protocol, tt.want)
		}
		conn.Close()
	}
}

func TestLimit(t *testing.T) {
	cfg := oneRoute(session.Echo{})
	cfg.Reactor = netpoll.Config{MaxConns: 3, Spare: 2}
	s, addr := wstest.Serve(t, cfg)
	var cs []*wstest.Client
	for range 3 {
		cs = append(cs, wstest.Dial(t, addr, "/"))
	}
	for range 10 {
		if got := raw(t, addr, "GET / HTTP/1.1\r\n"); got != "HTTP/1.1 503 Service Unavailable" {
			t.Fatalf("over the limit: %q", got)
		}
	}
	if st := s.Stats(); st.Refusals["limit"] != 10 || st.Conns != 3 {
		t.Errorf("%d refused, %d connections, want 10 and 3", st.Refusals["limit"], st.Conns)
	}
	cs[0].Close()
	waits.Becomes(t, func() int { return s.Stats().Conns }, 2, "open connections")
	c := wstest.Dial(t, addr, "/")
	c.SendText("in")
	c.Want(ws.OpText, "in")
}

// A client that does not read what it is sent is closed at the bound, and the others are not
// held up.
func TestSlowConsumer(t *testing.T) {
	e := make(ends, 10)
	b := session.NewBroadcast()
	cfg := session.Config{Routes: []session.Route{{Path: "/", Mode: session.NeverBlocks, Handler: session.HandlerFuncs{
		Open:  b.OnOpen,
		Close: func(s session.Session, c session.CloseInfo) { b.OnClose(s, c); e <- c },
	}}}}
	cfg.Reactor.QueueBytes = 1 << 20
	cfg.Reactor.CloseTimeout = time.Second
	s, addr := wstest.Serve(t, cfg)
	wstest.Dial(t, addr, "/") // never reads
	good := wstest.Dial(t, addr, "/")
	m := session.Prepare(wsproto.OpBinary, make([]byte, 100<<10))
	most := int64(0)
	for range 200 {
		b.Send(m)
		most = max(most, s.Stats().QueueBytes)
		if f := good.Read(); len(f.Payload) != 100<<10 {
			t.Fatalf("%d bytes", len(f.Payload))
		}
	}
	e.want(t, session.CloseInfo{Code: 1013, Initiator: session.ByServer})
	if st := s.Stats(); st.SlowConsumers["queue_full"] != 1 || most > 1<<20+200<<10 {
		t.Errorf("%v slow consumers, %d bytes queued", st.SlowConsumers, most)
	}
	// The close timeout ends what the client does not take.
	waits.Becomes(t, func() int { return s.Stats().Conns }, 1, "open connections")
}

func TestShutdown(t *testing.T) {
	h, e := recorder()
	s, addr := wstest.Serve(t, oneRoute(h))
	const n = 50
	for range n {
		c := wstest.Dial(t, addr, "/")
		go func() {
			f, _ := wstest.ReadFrame(c.Reader)
			if code, _ := ws.ParseCloseFrameDataUnsafe(f.Payload); code == ws.StatusGoingAway {
				_ = ws.WriteFrame(c, ws.MaskFrame(f))
			}
		}()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	for range n {
		e.want(t, session.CloseInfo{Code: 1001, Initiator: session.ByServer, Clean: true})
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("still listening")
	}
}

func TestConfigErrors(t *testing.T) {
	for name, cfg := range map[string]session.Config{
		"no routes":        {},
		"no handler":       {Routes: []session.Route{{Path: "/", Mode: session.NeverBlocks}}},
		"relative":         {Routes: []session.Route{{Path: "x", Mode: session.NeverBlocks, Handler: session.Echo{}}}},
		"twice":            {Routes: []session.Route{{Path: "/", Mode: session.NeverBlocks, Handler: session.Echo{}}, {Path: "/", Mode: session.NeverBlocks, Handler: session.Echo{}}}},
		"negative timeout": {Routes: []session.Route{{Path: "/", Mode: session.NeverBlocks, Handler: session.Echo{}}}, PingTimeout: -1},
		"negative limit":   {Routes: []session.Route{{Path: "/", Mode: session.NeverBlocks, Handler: session.Echo{}, MaxMessage: -1}}},
		"negative reactor": {Routes: []session.Route{{Path: "/", Mode: session.NeverBlocks, Handler: session.Echo{}}}, Reactor: netpoll.Config{Workers: -1}},
		"workers":          {Routes: []session.Route{{Path: "/", Mode: session.NeverBlocks, Handler: session.Echo{}}}, Reactor: netpoll.Config{Workers: math.MaxInt}},
		"loops":            {Routes: []session.Route{{Path: "/", Mode: session.NeverBlocks, Handler: session.Echo{}}}, Reactor: netpoll.Config{Loops: math.MaxInt}},
		"publications":     {Routes: []session.Route{{Path: "/", Mode: session.NeverBlocks, Handler: session.Echo{}}}, Publications: math.MaxInt},
		"compressors":      {Routes: []session.Route{{Path: "/", Mode: session.NeverBlocks, Handler: session.Echo{}, Deflate: true}}, Deflate: session.Deflate{Compressors: math.MaxInt}},
		"over the limit":   {Routes: []session.Route{{Path: "/", Mode: session.NeverBlocks, Handler: session.Echo{}}}, Reactor: netpoll.Config{MaxConns: 1 << 30}},
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := session.NewServer(cfg); err == nil {
				s.Close()
				t.Error("accepted")
			}
		})
	}
}

// Handlers that are not declared short run on workers, OnOpen included: a loop that they hold
// up would hold up everybody.
func TestLoopRunsNoBlockingHandler(t *testing.T) {
	release := make(chan struct{})
	_, addr := wstest.Serve(t, session.Config{Routes: []session.Route{
		{Path: "/slow", Mode: session.NeverBlocks, Handler: session.HandlerFuncs{
			Open:    func(session.Session, *wsproto.Request) { <-release },
			Message: func(session.Session, session.Message) { <-release },
		}},
		{Path: "/", Handler: session.Echo{}, Mode: session.OnLoop},
	}})
	blocked, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer blocked.Close()
	_, _ = io.WriteString(blocked, "GET /slow HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	for range 100 {
		c := wstest.Dial(t, addr, "/")
		c.SendText("not held up")
		c.Want(ws.OpText, "not held up")
		c.Close()
	}
	close(release)
	answer := make([]byte, 12)
	_ = blocked.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(blocked, answer); err != nil || string(answer) != "HTTP/1.1 101" {
		t.Errorf("%q, %v", answer, err)
	}
}
