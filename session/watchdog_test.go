package session_test

import (
	"testing"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// holdingRoute calls hold in each callback, with whether the client has asked for it.
func holdingRoute(blocking bool, hold func(really bool)) session.Route {
	slow := func(p []byte) bool { return string(p) == "slow" }
	route := session.Route{Path: "/", Mode: blockIf(blocking), Handler: session.HandlerFuncs{
		Open: func(s session.Session, r *wsproto.Request) { hold(string(r.RawQuery) == "open") },
		Message: func(s session.Session, m session.Message) {
			hold(slow(m.Data))
			_ = s.Send(m.Opcode, m.Data)
		},
		Binary: func(s session.Session, p []byte) { hold(slow(p)) },
		Ping:   func(s session.Session, p []byte) bool { hold(slow(p)); return true },
		Pong:   func(s session.Session, p []byte) { hold(slow(p)) },
		Error:  func(s session.Session, err error) { hold(true) },
		Close:  func(s session.Session, c session.CloseInfo) { hold(c.Reason == "slow") },
	}}
	route.OnUpgrade = func(u *session.Upgrade) error { hold(string(u.Request.RawQuery) == "upgrade"); return nil }
	route.HTTP = func(*wsproto.Request) *wsproto.Response { hold(true); return nil }
	return route
}

// A handler that holds up its goroutine is counted, once a call.
func TestWatchdog(t *testing.T) {
	for pool, blocking := range map[string]bool{"worker": false, "blocking": true} {
		t.Run(pool, func(t *testing.T) {
			enter, leave := make(chan struct{}), make(chan struct{})
			hold := func(really bool) {
				if really {
					enter <- struct{}{}
					<-leave
				}
			}
			srv, addr := wstest.Serve(t, session.Config{Routes: []session.Route{holdingRoute(blocking, hold)}})
			counted := uint64(0)
			// call has f cause one call that is held until the watchdog has seen it.
			call := func(what string, f func()) {
				t.Helper()
				done := make(chan struct{})
				go func() { defer close(done); f() }()
				<-enter
				counted++
				waits.Becomes(t, func() uint64 { return srv.Stats().SlowCalls[pool] }, counted, "slow calls")
				leave <- struct{}{}
				<-done
			}
			c := wstest.Dial(t, addr, "/")
			for range 100 {
				c.SendText("fast")
				c.Want(ws.OpText, "fast")
			}
			for range 2 { // each is counted once
				call("message", func() { c.SendText("slow"); c.Want(ws.OpText, "slow") })
			}
			call("binary", func() { c.Send(ws.NewBinaryFrame([]byte("slow"))) })
			call("ping", func() { c.Send(ws.NewPingFrame([]byte("slow"))); c.Want(ws.OpPong, "slow") })
			call("pong", func() { c.Send(ws.NewPongFrame([]byte("slow"))) })
			call("close", func() { c.Send(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "slow"))); c.WantClose(1000) })
			call("open", func() { wstest.Dial(t, addr, "/?open").Close() })
			waits.Receive(t, enter, "the call of OnError: it is told that the connection is broken")
			counted++
			waits.Becomes(t, func() uint64 { return srv.Stats().SlowCalls[pool] }, counted, "slow calls")
			leave <- struct{}{}
			bye := wstest.Dial(t, addr, "/?upgrade-not")
			call("upgrade", func() { wstest.Dial(t, addr, "/?upgrade").SendText("fast") })
			call("error", func() { _, _ = bye.Write([]byte{0xff, 0x80, 0, 0, 0, 0}); bye.WantClose(1002) })
			call("http", func() {
				if status, _ := wstest.Get(t, "http://"+addr+"/"); status != 404 {
					t.Errorf("a nil response: status %d, want 404", status)
				}
			})
			if n := srv.Stats().SlowCalls[pool]; n != counted {
				t.Errorf("%d slow calls, want %d", n, counted)
			}
			close(leave) // whoever ends with the server
			go func() {
				for range enter {
				}
			}()
			srv.Close()
			close(enter)
		})
	}
}
