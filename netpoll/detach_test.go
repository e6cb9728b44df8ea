package netpoll_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// detached is what a handler has taken out of its reactor.
type detached struct {
	netpoll.Socket
	err error
}

// detacher returns a handler that gives its connection away on the first input, after before.
func detacher(before func(t *netpoll.Turn)) (*funcs, chan detached, chan error) {
	out, closed := make(chan detached, 1), make(chan error, 1)
	return &funcs{
		data: func(t *netpoll.Turn, p []byte) {
			if before != nil {
				before(t)
			}
			so, err := t.Detach()
			so.Unread = append(bytes.Clone(p), so.Unread...)
			out <- detached{so, err}
		},
		closed: func(_ *netpoll.Turn, err error) { closed <- err },
	}, out, closed
}

// A connection that moves from one reactor to another loses nothing: neither what has been read,
// nor what is queued behind a full socket.
func TestDetachAndAdopt(t *testing.T) {
	big := bytes.Repeat([]byte("abcdefghij"), 1<<19) // fills the socket
	h, out, closed := detacher(func(t *netpoll.Turn) {
		_ = t.Reactor().Send(t.Conn(), netpoll.Message{Body: big})
		_ = t.Reactor().Send(t.Conn(), netpoll.Message{Body: []byte("more")})
	})
	r, addr := start(t, netpoll.Config{QueueBytes: 16 << 20}, h)
	c := dial(t, addr)
	if _, err := c.Write([]byte("input")); err != nil {
		t.Fatal(err)
	}
	so := <-out
	if so.err != nil || string(so.Unread) != "input" || len(so.Unsent) == 0 || so.Peer.String() != c.LocalAddr().String() {
		t.Fatalf("Detach: %v; unread %q, %d bytes unsent, peer %v", so.err, so.Unread, len(so.Unsent), so.Peer)
	}
	if err := <-closed; !errors.Is(err, netpoll.ErrDetached) {
		t.Errorf("Closed was told %v", err)
	}
	settled(t, r)
	if n := r.Stats().Dropped; n != 0 {
		t.Errorf("%d messages dropped", n)
	}
	second, _ := start(t, netpoll.Config{}, &echo{})
	if _, err := second.Adopt(so.Socket); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(big)+len("moreinput"))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != string(big)+"moreinput" {
		t.Fatalf("%d bytes, ending in %q, %v", len(got), got[len(got)-20:], err)
	}
	talk(t, c)
}

// The first reactor is done with a detached socket: it neither watches nor closes it.
func TestDetachLeaves(t *testing.T) {
	h, out, closed := detacher(nil)
	r, addr := start(t, netpoll.Config{Loops: 3}, h)
	c := dial(t, addr)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	so := <-out
	<-closed
	settled(t, r)
	batches := r.Stats().Events
	if _, err := c.Write([]byte("later")); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 5)
	waits.Eventually(t, func() bool {
		_, err := unix.Read(so.FD, p)
		return err == nil
	}, "the socket has what was sent")
	if after := r.Stats().Events; string(p) != "later" || after != batches {
		t.Errorf("read %q; %d events before, %d after", p, batches, after)
	}
	r.Close()
	if _, err := unix.Write(so.FD, []byte("alive")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(c, p); err != nil || string(p) != "alive" {
		t.Errorf("read %q, %v", p, err)
	}
	if err := unix.Close(so.FD); err != nil {
		t.Error(err)
	}
}

// What Adopt was given and the handler has not got goes on with the socket.
func TestDetachUnread(t *testing.T) {
	h, out, _ := detacher(nil)
	r, _ := start(t, netpoll.Config{ReadBuffer: 4}, h)
	ours, c := tcpPair(t)
	if _, err := r.AdoptConn(ours, []byte("abcdefghij"), nil); err != nil {
		t.Fatal(err)
	}
	so := <-out
	if string(so.Unread) != "abcdefghij" {
		t.Errorf("unread: %q", so.Unread)
	}
	if err := unix.Close(so.FD); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("still open")
	}
}

// A connection that is over, or whose output is, cannot be given away, and goes its way.
func TestDetachTooLate(t *testing.T) {
	for name, before := range map[string]func(t *netpoll.Turn){
		"closing": func(t *netpoll.Turn) { t.CloseFlushed(false) },
		"after the last": func(t *netpoll.Turn) {
			_ = t.Reactor().Send(t.Conn(), netpoll.Message{Body: []byte("bye"), Final: true})
		},
		"behind a gap":      func(t *netpoll.Turn) { t.DropQueued() },
		"behind a full one": func(t *netpoll.Turn) { fill(t) },
	} {
		t.Run(name, func(t *testing.T) {
			h, out, closed := detacher(before)
			r, addr := start(t, netpoll.Config{QueueBytes: 64 << 10}, h)
			c := dial(t, addr)
			write(t, c, "x")
			if so := waits.Receive(t, out, "the call of Detach"); !errors.Is(so.err, netpoll.ErrClosed) {
				t.Errorf("Detach: %v, want ErrClosed", so.err)
			}
			_ = c.CloseWrite()
			_, _ = io.Copy(io.Discard, c)
			c.Close()
			if err := waits.Receive(t, closed, "the end"); err != nil {
				t.Errorf("Closed was told %v", err)
			}
			settled(t, r)
		})
	}
}

// fill sends until a message is refused.
func fill(t *netpoll.Turn) {
	for t.Reactor().Send(t.Conn(), netpoll.Message{Body: make([]byte, 10<<10)}) == nil {
	}
}
