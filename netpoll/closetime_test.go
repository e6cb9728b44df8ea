package netpoll_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// closing returns a connection through network, to which messages of 1 KiB have been sent that the
// kernel has taken, and which is being closed.
func closing(t *testing.T, network string, messages int) (*netpoll.Reactor, netpoll.Conn, net.Conn, chan error) {
	t.Helper()
	closed := make(chan error, 1)
	h := &funcs{
		notice: func(t *netpoll.Turn, _ netpoll.Reason) { t.CloseFlushed(true) },
		closed: func(_ *netpoll.Turn, err error) { closed <- err },
	}
	var r *netpoll.Reactor
	var id netpoll.Conn
	var c net.Conn
	if cfg := (netpoll.Config{CloseTimeout: 5 * time.Second}); network == "unix" {
		r, id, c = pairWith(t, cfg, h)
	} else {
		conns := make(chan netpoll.Conn, 1)
		h.opened = func(t *netpoll.Turn) { conns <- t.Conn() }
		var addr string
		r, addr = start(t, cfg, h)
		c = narrow(t, addr)
		id = waits.Receive(t, conns, "the connection")
	}
	if err := c.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	send1K(t, r, id, messages)
	if err := r.Wake(id); err != nil {
		t.Fatal(err)
	}
	waits.Eventually(t, func() bool { return r.Idle(id) && r.HasDeadline(id) }, "the connection is closing")
	return r, id, c, closed
}

// A peer that answers at once costs nothing of what tells a late one from a dead one.
func TestCloseAnsweredAtOnce(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			r, id, c, closed := closing(t, network, 1)
			if r.Marks(id) {
				t.Error("it is remembered what the peer has acknowledged")
			}
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Error(err)
			}
			c.Close()
			if err := waits.Receive(t, closed, "the end"); err != nil {
				t.Errorf("Closed was told %v", err)
			}
			if r.Marks(id) {
				t.Error("it was remembered what the peer had acknowledged")
			}
		})
	}
}

// A unix socket's peer that reads has as long for its answer as it goes on reading. One that does
// not is cut off.
func TestCloseOfUnixSocket(t *testing.T) {
	const messages = 40
	r, id, c, closed := closing(t, "unix", messages)
	for range messages / 4 {
		if _, err := io.CopyN(io.Discard, c, 4<<10); err != nil {
			t.Fatal(err)
		}
		tick(r, 6*time.Second)
		waits.Eventually(t, func() bool { return !r.Due(id) || len(closed) > 0 }, "the deadline has been set anew")
		if len(closed) > 0 {
			t.Fatalf("cut off while the peer reads: %v", <-closed)
		}
	}
	tick(r, 6*time.Second)
	if err := waits.Receive(t, closed, "the end"); !errors.Is(err, netpoll.ErrCloseTimeout) {
		t.Errorf("Closed was told %v, want ErrCloseTimeout", err)
	}
}

// A peer that has acknowledged all of its output just before the time was up gets as much time
// again for its answer, although nothing was known of it before.
func TestCloseLateAcknowledgement(t *testing.T) {
	r, id, c, closed := closing(t, "tcp", 20)
	if _, err := io.CopyN(io.Discard, c, 20<<10); err != nil {
		t.Fatal(err)
	}
	waits.Eventually(t, func() bool { return r.Unacked(id) == 0 }, "all is acknowledged")
	tick(r, 6*time.Second)
	waits.Eventually(t, func() bool { return !r.Due(id) || len(closed) > 0 }, "the deadline has been set anew")
	c.Close()
	if err := waits.Receive(t, closed, "the end"); err != nil {
		t.Errorf("Closed was told %v", err)
	}
}
