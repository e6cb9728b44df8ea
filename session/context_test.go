package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
)

// ended fails the test unless a context ends, with the cause of a session that has.
func ended(t *testing.T, ctx context.Context) {
	t.Helper()
	waits.Receive(t, ctx.Done(), "the end of the context")
	if cause := context.Cause(ctx); !errors.Is(cause, session.ErrClosed) {
		t.Errorf("the context ended with %v, want ErrClosed", cause)
	}
}

// A call that may block, and waits for something on behalf of a client, ends when the client is gone,
// although it is not read from.
func TestContextOfBlockingCall(t *testing.T) {
	for name, leave := range map[string]func(*wstest.Client){
		"FIN": func(c *wstest.Client) { _ = c.Conn.(interface{ CloseWrite() error }).CloseWrite() },
		"RST": func(c *wstest.Client) {
			_ = c.Conn.(interface{ SetLinger(int) error }).SetLinger(0)
			c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			began, returned := make(chan struct{}), make(chan context.Context, 1)
			closed := make(ends, 1)
			_, addr := wstest.Serve(t, session.Config{Routes: []session.Route{{Path: "/", Handler: session.HandlerFuncs{
				Message: func(s session.Session, _ session.Message) {
					ctx := s.Context()
					close(began)
					select {
					case <-ctx.Done():
					case <-time.After(waits.Patience):
					}
					returned <- ctx
				},
				Close: func(_ session.Session, info session.CloseInfo) { closed <- info },
			}}}})
			c := wstest.Dial(t, addr, "/")
			c.SendText("x")
			waits.Receive(t, began, "the call of OnMessage")
			leave(c)
			ended(t, waits.Receive(t, returned, "the end of OnMessage"))
			closed.want(t, session.CloseInfo{Code: session.StatusAbnormal})
		})
	}
}

// The end of the server is the end of its sessions.
func TestContextEndsWithServer(t *testing.T) {
	contexts := make(chan context.Context, 1)
	srv, addr := wstest.Serve(t, oneRoute(session.HandlerFuncs{
		Open: func(s session.Session, _ *session.Request) { contexts <- s.Context() },
	}))
	wstest.Dial(t, addr, "/")
	ctx := waits.Receive(t, contexts, "the session's context")
	_ = srv.Close()
	ended(t, ctx)
}

// The context is one for as long as the session lives, and has ended when OnClose is called.
func TestContextEndsWithSession(t *testing.T) {
	opened, closed := make(chan session.Session, 1), make(chan error, 1)
	_, addr := wstest.Serve(t, session.Config{Routes: []session.Route{{
		Path: "/", Mode: session.NeverBlocks, Handler: session.HandlerFuncs{
			Open:  func(s session.Session, _ *session.Request) { opened <- s },
			Close: func(s session.Session, _ session.CloseInfo) { closed <- s.Context().Err() },
		}}}})
	c := wstest.Dial(t, addr, "/")
	s := waits.Receive(t, opened, "the call of OnOpen")
	ctx := s.Context()
	if again := s.Context(); ctx.Err() != nil || again != ctx {
		t.Errorf("of an open session: %v, the same again: %v; want nil, true", ctx.Err(), again == ctx)
	}
	if err := s.SetValue("x"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	ended(t, ctx)
	if err := waits.Receive(t, closed, "the call of OnClose"); err == nil {
		t.Error("in OnClose the context has not ended")
	}
	ended(t, s.Context())
	ended(t, session.Session{}.Context())
}
