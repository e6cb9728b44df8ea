package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
)

// shutdown begins to shut a server down, and returns how that ends.
func shutdown(srv *session.Server, d time.Duration) <-chan error {
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		done <- srv.Shutdown(ctx)
	}()
	return done
}

// slowEcho answers when the test lets it, and says when it has been called.
func slowEcho() (h session.HandlerFuncs, called chan string, leave chan struct{}) {
	called, leave = make(chan string, 16), make(chan struct{})
	h.Message = func(s session.Session, m session.Message) {
		text := string(m.Data)
		called <- text
		<-leave
		_ = s.SendText("answer to " + text)
	}
	return h, called, leave
}

// letGo has stuck calls return, and waits until they have left nothing.
func letGo(t *testing.T, srv *session.Server, leave chan struct{}) {
	close(leave)
	waits.Eventually(t, func() bool {
		st := srv.Stats()
		return st.Conns == 0 && st.Sessions == 0 && st.InboundBytes == 0
	}, "stuck calls return")
}

// A call that runs while the server shuts down may finish, and what it sends arrives before the Close frame. So
// may one that waits for its turn. Other sessions are closed meanwhile.
func TestShutdownLetsCallsFinish(t *testing.T) {
	for _, mode := range []session.Mode{session.MayBlock, session.NeverBlocks} {
		t.Run(mode.String(), func(t *testing.T) {
			h, called, leave := slowEcho()
			cfg := session.Config{BlockingCalls: 1, Routes: []session.Route{
				{Path: "/slow", Mode: mode, Handler: h},
				{Path: "/idle", Mode: mode, Handler: session.HandlerFuncs{}},
			}}
			cfg.Reactor.Workers = 2
			srv, addr := wstest.Serve(t, cfg)
			running := wstest.Dial(t, addr, "/slow")
			running.SendText("one")
			waits.Receive(t, called, "the first call")
			busy := []*wstest.Client{running}
			if mode == session.MayBlock { // a second call waits for the pool's only goroutine
				waiting := wstest.Dial(t, addr, "/slow")
				waiting.SendText("one")
				waits.Eventually(t, func() bool { return srv.Stats().Blocking.Waiting == 1 }, "the second call waits")
				busy = append(busy, waiting)
			}
			idle := wstest.Dial(t, addr, "/idle")
			done := shutdown(srv, time.Minute)
			idle.AnswerClose(1001)
			close(leave)
			for _, c := range busy {
				c.Want(ws.OpText, "answer to one")
				c.AnswerClose(1001)
			}
			if err := waits.Receive(t, done, "the end of Shutdown"); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		})
	}
}

// lateContext is over long after its deadline, as on a machine that stands still meanwhile.
type lateContext struct {
	context.Context
	deadline time.Time
}

func (c lateContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Shortly before the context is over a client is told that it is going to be cut off, although its handler is
// still busy: there is time for it to answer.
func TestShutdownTellsClientsOfStuckHandlers(t *testing.T) {
	h, called, leave := slowEcho()
	srv, addr := wstest.Serve(t, session.Config{Routes: []session.Route{{Path: "/", Handler: h}}})
	defer letGo(t, srv, leave)
	c := wstest.Dial(t, addr, "/")
	c.SendText("one")
	waits.Receive(t, called, "the call")
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(lateContext{context.Background(), time.Now().Add(time.Second)}) }()
	c.AnswerClose(1001)
	err := waits.Receive(t, done, "the end of Shutdown")
	if _, cut := errors.AsType[session.CutOffError](err); cut || !errors.Is(err, session.ErrHandlerStuck) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v, want ErrHandlerStuck, as the client has gone in time", err)
	}
}

// Whatever handlers do, Shutdown ends with its context.
func TestShutdownEndsWithItsContext(t *testing.T) {
	for _, mode := range []session.Mode{session.MayBlock, session.NeverBlocks, session.OnLoop} {
		t.Run(mode.String(), func(t *testing.T) {
			h, called, leave := slowEcho()
			srv, addr := wstest.Serve(t, session.Config{
				HandlerTimeout: time.Hour,
				Routes:         []session.Route{{Path: "/", Mode: mode, Handler: h}},
			})
			defer letGo(t, srv, leave)
			c := wstest.Dial(t, addr, "/")
			c.SendText("one")
			waits.Receive(t, called, "the call")
			begin := time.Now()
			err := waits.Receive(t, shutdown(srv, 500*time.Millisecond), "the end of Shutdown")
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("Shutdown with 500 ms has taken %v", took)
			}
			if !errors.Is(err, session.ErrHandlerStuck) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: %v, want ErrHandlerStuck and context.DeadlineExceeded", err)
			}
		})
	}
}
