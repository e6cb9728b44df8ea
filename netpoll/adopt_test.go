package netpoll_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// duplicate returns a duplicate of a descriptor of package net.
func duplicate(t *testing.T, c syscall.Conn) (fd int) {
	t.Helper()
	rc, err := c.SyscallConn()
	if err == nil {
		cerr := rc.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 3) })
		err = errors.Join(err, cerr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// tcpPair returns both ends of a loopback connection.
func tcpPair(t *testing.T) (ours, peer *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer = dial(t, ln.Addr().String())
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn), peer
}

// What had been read before comes first, as input like any other, and the handler knows from its
// first call who it is.
func TestAdopt(t *testing.T) {
	early := bytes.Repeat([]byte("0123456789"), 1000) // several reads and turns
	for name, cfg := range map[string]netpoll.Config{
		"inline": {}, "workers": {InlineBatch: netpoll.NoInline}, "small": {ReadBuffer: 512, TurnBytes: 1024},
	} {
		t.Run(name, func(t *testing.T) {
			values, peers := make(chan any, 1), make(chan netip.AddrPort, 1)
			h := &funcs{
				opened: func(t *netpoll.Turn) {
					value, _ := t.Adopted()
					values <- value
					peers <- t.Reactor().Peer(t.Conn())
				},
				data: func(t *netpoll.Turn, p []byte) { _ = t.Reactor().Send(t.Conn(), netpoll.Message{Body: p}) },
			}
			r, _ := start(t, cfg, h)
			ours, c := tcpPair(t)
			if _, err := c.Write([]byte("late")); err != nil {
				t.Fatal(err)
			}
			id, err := r.AdoptConn(ours, bytes.Clone(early), "value")
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(early)+4)
			if _, err := io.ReadFull(c, got); err != nil || string(got) != string(early)+"late" {
				t.Fatalf("%d bytes came back, ending in %q, %v", len(got), got[len(got)-10:], err)
			}
			talk(t, c)
			if value, peer := <-values, <-peers; value != "value" || peer.String() != c.LocalAddr().String() {
				t.Errorf("Opened knew %v and %v", value, peer)
			}
			if _, err := ours.Write(nil); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the net.Conn is still open: %v", err)
			}
			if n := r.Stats().Conns; n != 1 {
				t.Errorf("%d connections", n)
			}
			c.Close()
			settled(t, r)
			if err := r.Wake(id); !errors.Is(err, netpoll.ErrClosed) {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

// Without a byte read before, and without anything in the socket, the handler hears of it at once.
func TestAdoptSilent(t *testing.T) {
	opened := make(chan any, 1)
	r, _ := start(t, netpoll.Config{}, &funcs{opened: func(t *netpoll.Turn) { v, _ := t.Adopted(); opened <- v }})
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	if _, err := r.Adopt(netpoll.Socket{FD: fds[0], Value: 7, Unsent: []byte("first")}); err != nil {
		t.Fatal(err)
	}
	if v := waits.Receive(t, opened, "the call of Opened"); v != 7 {
		t.Errorf("value %v, want 7", v)
	}
	p := make([]byte, 10)
	if n, err := unix.Read(fds[1], p); err != nil || string(p[:n]) != "first" {
		t.Errorf("read %q, %v", p[:n], err)
	}
}

// What is adopted counts against the limit, and what is refused stays the caller's.
func TestAdoptRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  netpoll.Config
		prep func(t *testing.T, r *netpoll.Reactor, addr string)
		want error
	}{
		"full": {netpoll.Config{MaxConns: 1, Spare: 5}, func(t *testing.T, _ *netpoll.Reactor, addr string) { talk(t, dial(t, addr)) }, netpoll.ErrFull},
		"full, no spare": {netpoll.Config{MaxConns: 1, Spare: 1}, func(t *testing.T, r *netpoll.Reactor, addr string) {
			talk(t, dial(t, addr))
			dial(t, addr)
			waits.Eventually(t, func() bool { return r.Stats().AcceptPauses["full"] == 1 }, "the spare is taken")
		}, netpoll.ErrFull},
		"stopped": {netpoll.Config{}, func(_ *testing.T, r *netpoll.Reactor, _ string) { r.StopAccepting() }, netpoll.ErrStopped},
		"closed":  {netpoll.Config{}, func(_ *testing.T, r *netpoll.Reactor, _ string) { r.Close() }, netpoll.ErrReactorClosed},
	} {
		t.Run(name, func(t *testing.T) {
			r, addr := start(t, tt.cfg, &echo{})
			tt.prep(t, r, addr)
			before := r.Stats()
			ours, c := tcpPair(t)
			if _, err := r.AdoptConn(ours, nil, nil); !errors.Is(err, tt.want) {
				t.Fatalf("AdoptConn: %v, want %v", err, tt.want)
			}
			if after := r.Stats(); after.Conns != before.Conns || after.Accepted != before.Accepted || after.Refused != before.Refused {
				t.Errorf("%+v before, %+v after", before, after)
			}
			if _, err := ours.Write([]byte("still mine")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 10)); err != nil {
				t.Error(err)
			}
		})
	}
	r, _ := start(t, netpoll.Config{}, &echo{})
	lone, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(lone)
	if _, err := r.Adopt(netpoll.Socket{FD: lone}); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("a socket that is not connected: %v", err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := r.AdoptConn(a, nil, nil); err == nil {
		t.Error("a pipe was adopted")
	}
}

// Whoever adopts while the reactor is being closed gets an error, or a connection that is closed.
func TestAdoptWhileClosing(t *testing.T) {
	for range 20 {
		r, _ := start(t, netpoll.Config{Loops: 2}, &echo{})
		const n = 8
		adopted := make(chan bool, n)
		for range n {
			ours, _ := tcpPair(t)
			go func() {
				_, err := r.AdoptConn(ours, []byte("x"), nil)
				if err != nil && !errors.Is(err, netpoll.ErrReactorClosed) && !errors.Is(err, netpoll.ErrStopped) {
					t.Error(err)
				}
				adopted <- err == nil
			}()
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		for range n {
			<-adopted
		}
		if st := r.Stats(); st.Conns != 0 || st.Accepted != st.Closed {
			t.Fatalf("%d connections left, %d accepted, %d closed", st.Conns, st.Accepted, st.Closed)
		}
	}
}
