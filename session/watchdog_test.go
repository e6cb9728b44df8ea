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

// watched is a server whose handlers hold up their goroutines when a client wants that.
type watched struct {
	*testing.T
	srv          *session.Server
	addr, pool   string
	enter, leave chan struct{}
}

func watch(t *testing.T, pool string, blocking bool) *watched {
	t.Helper()
	w := &watched{T: t, pool: pool, enter: make(chan struct{}, 100), leave: make(chan struct{})}
	hold := func(really bool) {
		if really {
			w.enter <- struct{}{}
			<-w.leave
		}
	}
	w.srv, w.addr = wstest.Serve(t, session.Config{Routes: []session.Route{holdingRoute(blocking, hold)}})
	return w
}

// call has f cause one call, which is held until it has been counted.
func (w *watched) call(what string, f func()) {
	w.Helper()
	// On a busy machine short calls may be counted too: their goroutines may have to wait for a processor.
	before := w.srv.Stats().SlowCalls[w.pool]
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	waits.Receive(w, w.enter, what)
	waits.Eventually(w, func() bool { return w.srv.Stats().SlowCalls[w.pool] > before }, what+" is counted as slow")
	w.leave <- struct{}{}
	waits.Receive(w, done, "what comes after "+what)
	w.rest("after " + what)
}

// rest waits until no call runs. One that has returned, but not for the watchdog, would be counted some day.
func (w *watched) rest(when string) {
	w.Helper()
	waits.Becomes(w, func() int { return session.CallsUnderWay(w.srv) }, 0, "calls that run "+when)
}

// A handler that holds up its goroutine is counted.
func TestWatchdog(t *testing.T) {
	for pool, blocking := range map[string]bool{"worker": false, "blocking": true} {
		t.Run(pool, func(t *testing.T) {
			w := watch(t, pool, blocking)
			defer close(w.leave) // calls that come with the end of the server
			c := wstest.Dial(t, w.addr, "/")
			for range 100 {
				c.SendText("fast")
				c.Want(ws.OpText, "fast")
			}
			w.rest("after short ones")
			for range 2 {
				w.call("OnMessage", func() { c.SendText("slow"); c.Want(ws.OpText, "slow") })
			}
			w.call("OnBinary", func() { c.Send(ws.NewBinaryFrame([]byte("slow"))) })
			w.call("OnPing", func() { c.Send(ws.NewPingFrame([]byte("slow"))); c.Want(ws.OpPong, "slow") })
			w.call("OnPong", func() { c.Send(ws.NewPongFrame([]byte("slow"))) })
			w.call("OnClose", func() { c.Send(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "slow"))); c.WantClose(1000) })
			w.call("OnOpen", func() { c = wstest.Dial(t, w.addr, "/?open") })
			w.call("OnError of a broken connection", func() { c.Close() })
			c = wstest.Dial(t, w.addr, "/")
			w.call("OnError of a wrong frame", func() { c.SendBytes([]byte{0xff, 0x80, 0, 0, 0, 0}); c.WantClose(1002) })
			w.call("OnUpgrade", func() { wstest.Dial(t, w.addr, "/?upgrade") })
			w.call("Route.HTTP", func() {
				if status, _ := wstest.Get(t, "http://"+w.addr+"/"); status != 404 {
					t.Errorf("a nil response: status %d, want 404", status)
				}
			})
		})
	}
}
