package session_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
)

// serving returns a server whose route answers every message, and what Serve or ListenAndServe, run
// by f in a goroutine of its own, returns.
func serving(t *testing.T, f func(*session.Server) error) (*session.Server, <-chan error) {
	t.Helper()
	s, err := session.NewServer(session.Config{Routes: []session.Route{{Path: "/", Handler: session.Echo{}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	returned := make(chan error, 1)
	go func() { returned <- f(s) }()
	return s, returned
}

func listener(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func wantServerClosed(t *testing.T, returned <-chan error) {
	t.Helper()
	if err := waits.Receive(t, returned, "the end of Serve after that of the server"); !errors.Is(err, session.ErrServerClosed) {
		t.Errorf("returned %v, want ErrServerClosed", err)
	}
}

// Serve takes several listeners, whose clients are served as those of Listen are, and returns
// ErrServerClosed when the server is shut down.
func TestServe(t *testing.T) {
	first, second := listener(t), listener(t)
	a, b := first.Addr().String(), second.Addr().String()
	s, returned := serving(t, func(s *session.Server) error { return s.Serve(first) })
	c := wstest.Dial(t, a, "/")
	c.SendText("one")
	c.Want(ws.OpText, "one")

	more := make(chan error, 1)
	go func() { more <- s.Serve(second) }()
	d := wstest.Dial(t, b, "/")
	d.SendText("two")
	d.Want(ws.OpText, "two")

	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		ended <- s.Shutdown(ctx)
	}()
	wantServerClosed(t, returned)
	wantServerClosed(t, more)
	for _, peer := range []*wstest.Client{c, d} {
		if f := peer.Read(); f.Header.OpCode != ws.OpClose {
			t.Fatalf("a frame with opcode %v, want a Close frame", f.Header.OpCode)
		}
		peer.Send(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusGoingAway, "")))
	}
	if err := waits.Receive(t, ended, "the end of Shutdown"); err != nil {
		t.Errorf("Shutdown returned %v, want nil", err)
	}
	if err := s.Serve(listener(t)); err == nil {
		t.Error("Serve after Shutdown returned nil, want an error")
	}
}

func TestListenAndServe(t *testing.T) {
	ln := listener(t)
	addr := ln.Addr().String()
	ln.Close() // a port that is free, as a rule
	s, returned := serving(t, func(s *session.Server) error { return s.ListenAndServe(addr) })
	waits.Eventually(t, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, "the server listens")
	c := wstest.Dial(t, addr, "/")
	c.SendText("x")
	c.Want(ws.OpText, "x")
	if err := s.Close(); err != nil {
		t.Errorf("Close returned %v, want nil", err)
	}
	wantServerClosed(t, returned)

	if err := s.ListenAndServe("127.0.0.1:0"); !errors.Is(err, session.ErrServerClosed) {
		t.Errorf("ListenAndServe after Close returned %v, want ErrServerClosed", err)
	}
	late := listener(t)
	defer late.Close()
	if err := s.Serve(late); !errors.Is(err, session.ErrServerClosed) {
		t.Errorf("Serve after Close returned %v, want ErrServerClosed", err)
	}

	_, refused := serving(t, func(s *session.Server) error { return s.ListenAndServe("256.0.0.1:0") })
	if err := waits.Receive(t, refused, "the end of ListenAndServe"); err == nil || errors.Is(err, session.ErrServerClosed) {
		t.Errorf("an address that does not exist: %v, want the system's error", err)
	}
}
