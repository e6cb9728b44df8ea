package session_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// stuck is a handler whose OnMessage waits until the test lets it go on.
func stuck() (h session.HandlerFuncs, entered, leave chan struct{}) {
	entered, leave = make(chan struct{}, 64), make(chan struct{})
	h.Message = func(session.Session, session.Message) {
		entered <- struct{}{}
		<-leave
	}
	return h, entered, leave
}

// A route that says nothing of its mode may block: the handler of one client holds up no other, however
// few workers there are.
func TestModeDefaultMayBlock(t *testing.T) {
	h, entered, leave := stuck()
	cfg := session.Config{Routes: []session.Route{
		{Path: "/stuck", Handler: h},
		{Path: "/echo", Mode: session.NeverBlocks, Handler: session.Echo{}},
	}}
	cfg.Reactor.Workers = 1
	_, addr := wstest.Serve(t, cfg)
	defer close(leave)
	for range 3 {
		c := wstest.Dial(t, addr, "/stuck")
		c.SendText("wait")
		waits.Receive(t, entered, "the call")
	}
	c := wstest.Dial(t, addr, "/echo")
	c.SendText("hello")
	c.Want(ws.OpText, "hello")
}

// Pings are answered without a call in the pool where no handler wants to see them.
func TestModePingNeedsNoCall(t *testing.T) {
	h, entered, leave := stuck()
	_, addr := wstest.Serve(t, session.Config{BlockingCalls: 1, Routes: []session.Route{
		{Path: "/", UpgradeMode: session.UpgradeNeverBlocks, Handler: h},
	}})
	defer close(leave)
	idle := wstest.Dial(t, addr, "/")
	idle.Send(ws.NewPingFrame([]byte("before")))
	idle.Want(ws.OpPong, "before")
	c := wstest.Dial(t, addr, "/")
	c.SendText("wait")
	waits.Receive(t, entered, "the call") // the route's only call
	idle.Send(ws.NewPingFrame([]byte("ping")))
	idle.Send(ws.NewPongFrame([]byte("pong")))
	idle.Send(ws.NewPingFrame([]byte("again")))
	idle.Want(ws.OpPong, "ping")
	idle.Want(ws.OpPong, "again")
}

// OnUpgrade may block although the handler's calls never do.
func TestUpgradeModeMayBlock(t *testing.T) {
	for _, mode := range []session.Mode{session.NeverBlocks, session.OnLoop} {
		t.Run(mode.String(), func(t *testing.T) {
			entered, leave := make(chan struct{}, 8), make(chan struct{})
			cfg := session.Config{Routes: []session.Route{{
				Path: "/", Mode: mode, UpgradeMode: session.UpgradeMayBlock, Handler: session.Echo{},
				OnUpgrade: func(u *session.Upgrade) error {
					if string(u.Request.Path) == "/slow" {
						entered <- struct{}{}
						<-leave
					}
					return nil
				},
			}}}
			cfg.Reactor.Workers, cfg.Reactor.Loops = 1, 1
			srv, addr := wstest.Serve(t, cfg)
			done := make(chan *wstest.Client, 3)
			for range 3 {
				go func() { done <- wstest.Dial(t, addr, "/slow") }()
				waits.Receive(t, entered, "the call")
			}
			c := wstest.Dial(t, addr, "/quick")
			c.SendText("hello")
			c.Want(ws.OpText, "hello")
			if n := srv.Stats().Sessions; n != 1 {
				t.Errorf("%d sessions are open while three handshakes are being decided, want 1", n)
			}
			close(leave)
			for range 3 {
				c := waits.Receive(t, done, "the end of a handshake")
				c.SendText("late")
				c.Want(ws.OpText, "late")
			}
		})
	}
}

// OnUpgrade that never blocks is asked at once although all calls that may block are stuck.
func TestUpgradeModeNeverBlocks(t *testing.T) {
	h, entered, leave := stuck()
	_, addr := wstest.Serve(t, session.Config{BlockingCalls: 1, Routes: []session.Route{{
		Path: "/", UpgradeMode: session.UpgradeNeverBlocks, Handler: h,
		OnUpgrade: func(u *session.Upgrade) error {
			if len(u.Request.RawQuery) > 0 {
				return wsproto.Refusal(403, "no")
			}
			return nil
		},
		HTTP: func(*wsproto.Request) *wsproto.Response { return &wsproto.Response{Status: 204} },
	}}})
	defer close(leave)
	c := wstest.Dial(t, addr, "/")
	c.SendText("wait")
	waits.Receive(t, entered, "the call")
	wstest.Dial(t, addr, "/") // answered, although OnOpen has to wait
	if got := raw(t, addr, "GET /?no HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); got != "HTTP/1.1 403 Forbidden" {
		t.Errorf("a handshake that OnUpgrade refuses: %q, want status 403", got)
	}
	if got := raw(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); got != "HTTP/1.1 204 No Content" {
		t.Errorf("a plain request: %q, want status 204", got)
	}
}

// Enumerations are words in JSON logs, and sessions are their ids.
func TestWordsInJSON(t *testing.T) {
	cfg, opened := opener()
	_, addr := wstest.Serve(t, cfg)
	wstest.Dial(t, addr, "/")
	s := waits.Receive(t, opened, "the session")
	got, err := json.Marshal([]any{
		session.NeverBlocks, session.UpgradeMayBlock, session.CloseSlow, session.DropOldest,
		session.DropNewest, session.KeepLatest, session.OpText, session.ByServer, s,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `["NeverBlocks","UpgradeMayBlock","CloseSlow","DropOldest","DropNewest","KeepLatest","text","server","` + s.ID() + `"]`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := fmt.Sprintf("%s %v", s, s); got != s.ID()+" "+s.ID() {
		t.Errorf("printed as %.100q, want the id twice", got)
	}
}
