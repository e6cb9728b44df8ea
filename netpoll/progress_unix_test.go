package netpoll_test

import (
	"io"
	"net"
	"testing"
	"time"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// progress is what a call of Turn.Progress has returned.
type progress struct {
	left  time.Duration
	known bool
}

// unixPeer returns a connection through a unix socket, and a function that calls Progress for it.
func unixPeer(t *testing.T) (r *netpoll.Reactor, id netpoll.Conn, c net.Conn, ask func() progress) {
	t.Helper()
	answers := make(chan progress, 1)
	r, id, c = pairWith(t, netpoll.Config{}, &funcs{notice: func(t *netpoll.Turn, _ netpoll.Reason) {
		var p progress
		p.left, p.known = t.Progress(20 * time.Second)
		answers <- p
	}})
	return r, id, c, func() progress {
		t.Helper()
		if err := r.Wake(id); err != nil {
			t.Fatal(err)
		}
		return waits.Receive(t, answers, "a call of Progress")
	}
}

// send1K sends messages of 1 KiB each, which the kernel takes at once, and one by one.
func send1K(t *testing.T, r *netpoll.Reactor, id netpoll.Conn, messages int) {
	t.Helper()
	waits.Eventually(t, func() bool { return r.Idle(id) }, "no turn collects what is sent")
	for range messages {
		if err := r.Send(id, netpoll.Message{Body: make([]byte, 1<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.Queued(id); n > 0 {
		t.Fatalf("%d bytes are queued, want all in the kernel", n)
	}
}

// A unix socket's peer takes something when it reads, and not when it is sent more.
func TestProgressOnUnixSocket(t *testing.T) {
	r, id, c, ask := unixPeer(t)
	unknown, none, some := progress{}, progress{0, true}, progress{20 * time.Second, true}
	if got := ask(); got != none {
		t.Errorf("nothing has been sent: %+v, want no progress", got)
	}
	read := func(messages int64) {
		if _, err := io.CopyN(io.Discard, c, messages<<10); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		what       string
		send, read int
		want       progress
	}{
		{"it is sent something", 20, 0, none}, {"it is sent more", 1, 0, none}, {"it reads", 0, 3, some},
		{"it rests", 0, 0, none}, {"it reads more than it is sent", 2, 5, some}, {"it is sent more", 3, 0, none},
		{"it reads all", 0, 18, some}, {"it owes an answer", 0, 0, none},
	} {
		send1K(t, r, id, step.send)
		read(int64(step.read))
		if got := ask(); got != step.want {
			t.Errorf("%s: %+v, want %+v", step.what, got, step.want)
		}
	}

	r, id, c, ask = unixPeer(t)
	send1K(t, r, id, 2)
	if got := ask(); got != unknown {
		t.Errorf("the first call: %+v, want that it does not know", got)
	}
	read(1)
	if got := ask(); got != some {
		t.Errorf("it has read: %+v, want progress", got)
	}
}
