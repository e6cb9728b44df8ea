package session_test

import (
	"testing"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
)

// A route whose handlers are all stuck holds up its own clients, and not those of other routes: neither
// their messages nor their handshakes wait.
func TestStuckRoute(t *testing.T) {
	entered, leave := make(chan bool, 10), make(chan bool)
	stuck := session.HandlerFuncs{Message: func(s session.Session, m session.Message) {
		entered <- true
		<-leave
		_ = s.Send(m.Opcode, m.Data)
	}}
	admit := func(*session.Upgrade) error { return nil }
	srv, addr := wstest.Serve(t, session.Config{BlockingCalls: 3, Routes: []session.Route{
		{Path: "/stuck", Handler: stuck, BlockingCalls: 2},
		{Path: "/well/{n}", Handler: session.Echo{}, Mode: session.MayBlock, OnUpgrade: admit},
		{Path: "/quick", Handler: session.Echo{}, Mode: session.NeverBlocks},
	}})
	var held []*wstest.Client
	for range 4 {
		c := wstest.Dial(t, addr, "/stuck")
		c.SendText("held")
		held = append(held, c)
	}
	for range 2 {
		waits.Receive(t, entered, "the call of OnMessage")
	}
	waits.Becomes(t, func() int { return srv.Stats().Blocking.Waiting }, 2, "calls that wait")
	for _, path := range []string{"/well/1", "/well/2", "/quick"} {
		c := wstest.Dial(t, addr, path)
		for range 10 {
			c.SendText("hello")
			c.WantText("hello")
		}
	}
	waits.Becomes(t, func() int { return srv.Stats().Blocking.Busy }, 2, "calls that run") // the answer comes before the call returns
	st := srv.Stats()
	if want := (session.BlockingStats{Size: 5, Busy: 2, Waiting: 2}); st.Blocking != want {
		t.Errorf("all routes: %+v, want %+v", st.Blocking, want)
	}
	for path, want := range map[string]session.BlockingStats{"/stuck": {Size: 2, Busy: 2, Waiting: 2}, "/well/{n}": {Size: 3}} {
		if got := st.BlockingRoutes[path]; got != want || len(st.BlockingRoutes) != 2 {
			t.Errorf("%s: %+v of %d routes, want %+v of 2", path, got, len(st.BlockingRoutes), want)
		}
	}
	close(leave)
	for _, c := range held {
		c.WantText("held")
	}
}
