package netpoll_test

import (
	"context"
	"log/slog"
	"testing"

	"golang.org/x/sys/unix"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// blockedLog is a slog.Handler whose calls do not return until release is closed.
type blockedLog struct {
	slog.Handler
	called  chan string
	release chan struct{}
}

func (l *blockedLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *blockedLog) Handle(_ context.Context, r slog.Record) error {
	l.called <- r.Message
	<-l.release
	return nil
}

// blockedLogger starts a reactor, whose log blocks, with a listener and without connections.
func blockedLogger(t *testing.T, before func(*netpoll.Reactor)) (*netpoll.Reactor, *blockedLog, string) {
	t.Helper()
	l := &blockedLog{slog.DiscardHandler, make(chan string, 10), make(chan struct{})}
	r := reactor(t, netpoll.Config{Loops: 1, Workers: 2, Logger: slog.New(l)})
	t.Cleanup(func() { close(l.release) }) // before the reactor is closed
	addr, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	before(r)
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	return r, l, addr.String()
}

// stopsAccepting checks that StopAccepting does not wait for the log.
func stopsAccepting(t *testing.T, r *netpoll.Reactor) {
	t.Helper()
	stopped := make(chan bool, 1)
	go func() {
		r.StopAccepting()
		stopped <- true
	}()
	waits.Receive(t, stopped, "StopAccepting, while the log blocks")
}

// A log that blocks while a listener is watched again holds up neither the closing of connections
// nor StopAccepting.
func TestBlockedLogOfResume(t *testing.T) {
	for name, closed := range map[string]bool{"after a rest": false, "after a close": true} {
		t.Run(name, func(t *testing.T) {
			r, l, addr := blockedLogger(t, func(*netpoll.Reactor) {})
			c := dial(t, addr)
			talk(t, c)
			go r.ResumeFailing(closed)
			waits.Receive(t, l.called, "the call of the log")
			r.WaitForRoom()
			c.Close()
			settled(t, r)
			stopsAccepting(t, r)
		})
	}
}

// Nor does one that blocks while a socket is made to listen again.
func TestBlockedLogOfRevive(t *testing.T) {
	errnos := make(chan unix.Errno, 1)
	errnos <- unix.EINVAL
	r, l, addr := blockedLogger(t, func(r *netpoll.Reactor) {
		r.InjectAcceptErrors(func() unix.Errno {
			select {
			case errno := <-errnos:
				return errno
			default:
				return 0
			}
		})
	})
	dial(t, addr)
	waits.Receive(t, l.called, "the call of the log")
	stopsAccepting(t, r)
}
