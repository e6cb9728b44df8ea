package netpoll_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// narrow is a TCP client whose receive buffer is as small as the kernel allows.
func narrow(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
	}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// scripted returns a handler that does on each Woken what do sends, and tells its connection and end.
func scripted() (h *funcs, do chan func(*netpoll.Turn), conns chan netpoll.Conn, closed chan error) {
	do, conns, closed = make(chan func(*netpoll.Turn), 1), make(chan netpoll.Conn, 1), make(chan error, 1)
	return &funcs{
		opened: func(t *netpoll.Turn) { conns <- t.Conn() },
		notice: func(t *netpoll.Turn, why netpoll.Reason) {
			if why&netpoll.Woken != 0 {
				(<-do)(t)
			}
		},
		closed: func(_ *netpoll.Turn, err error) { closed <- err },
	}, do, conns, closed
}

// An orderly close lasts as long as the peer acknowledges what it was sent, although the queue is
// empty all the time, and then until the peer ends its side.
func TestCloseWaitsForProgress(t *testing.T) {
	const size, step = 50 << 10, 5 << 10
	h, do, conns, closed := scripted()
	r, addr := start(t, netpoll.Config{CloseTimeout: 5 * time.Second}, h)
	c := narrow(t, addr)
	id := <-conns
	if err := r.Send(id, netpoll.Message{Body: make([]byte, size)}); err != nil {
		t.Fatal(err)
	}
	if n := r.Queued(id); n > 0 {
		t.Fatalf("%d bytes are queued, want all in the kernel", n)
	}
	do <- func(t *netpoll.Turn) { t.CloseFlushed(true) }
	if err := r.Wake(id); err != nil {
		t.Fatal(err)
	}
	waits.Eventually(t, func() bool { return len(do) == 0 && r.Idle(id) }, "the connection is closing")
	for range size / step {
		before := r.Unacked(id)
		if _, err := io.CopyN(io.Discard, c, step); err != nil {
			t.Fatal(err)
		}
		waits.Eventually(t, func() bool { return r.Unacked(id) < before }, "bytes are acknowledged")
		tick(r, 6*time.Second)
		waits.Eventually(t, func() bool { return !r.Due(id) || len(closed) > 0 }, "the deadline has been set anew")
		select {
		case err := <-closed:
			t.Fatalf("cut off while the peer reads: %v", err)
		default:
		}
	}
	if n, err := io.Copy(io.Discard, c); n != 0 || err != nil {
		t.Errorf("%d more bytes, %v", n, err)
	}
	c.Close()
	if err := <-closed; err != nil {
		t.Errorf("Closed was told %v", err)
	}
	if n := r.Stats().CutOff; n != 0 {
		t.Errorf("%d were cut off", n)
	}
}

// A peer that takes nothing, or does not end its side, is cut off after CloseTimeout, and counted.
func TestCloseWithoutProgress(t *testing.T) {
	for name, size := range map[string]int{"reads nothing": 50 << 10, "does not close": 1, "queue": 4 << 20} {
		t.Run(name, func(t *testing.T) {
			h, do, conns, closed := scripted()
			r, addr := start(t, netpoll.Config{CloseTimeout: 5 * time.Second}, h)
			narrow(t, addr)
			id := <-conns
			if err := r.Send(id, netpoll.Message{Body: make([]byte, size)}); err != nil {
				t.Fatal(err)
			}
			do <- func(t *netpoll.Turn) { t.CloseFlushed(true) }
			if err := r.Wake(id); err != nil {
				t.Fatal(err)
			}
			waits.Eventually(t, func() bool { return len(do) == 0 && r.Idle(id) }, "the connection is closing")
			deadline := time.Now().Add(30 * time.Second)
			for cut := false; !cut; {
				tick(r, 6*time.Second)
				select {
				case err := <-closed:
					if cut = true; !errors.Is(err, netpoll.ErrCloseTimeout) {
						t.Errorf("Closed was told %v, want ErrCloseTimeout", err)
					}
				case <-time.After(50 * time.Millisecond):
					if time.Now().After(deadline) {
						t.Fatal("not cut off")
					}
				}
			}
			if n := r.Stats().CutOff; n != 1 {
				t.Errorf("%d were cut off, want 1", n)
			}
		})
	}
}

// Progress tells a peer that acknowledges from one that only answers probes, and from one that has
// acknowledged everything.
func TestProgress(t *testing.T) {
	h, do, conns, _ := scripted()
	r, addr := start(t, netpoll.Config{}, h)
	c := narrow(t, addr)
	id := <-conns
	ask := func() bool {
		answer := make(chan bool, 1)
		do <- func(t *netpoll.Turn) { left, _ := t.Progress(20 * time.Second); answer <- left > 0 }
		if err := r.Wake(id); err != nil {
			t.Fatal(err)
		}
		return <-answer
	}
	if ask() {
		t.Error("nothing has been sent, want no progress")
	}
	if err := r.Send(id, netpoll.Message{Body: make([]byte, 50<<10)}); err != nil {
		t.Fatal(err)
	}
	waits.Eventually(t, func() bool { return !ask() }, "the peer's window is shut")
	for range 3 {
		before := r.Unacked(id)
		if _, err := io.CopyN(io.Discard, c, 10<<10); err != nil {
			t.Fatal(err)
		}
		waits.Eventually(t, func() bool { return r.Unacked(id) < before }, "bytes are acknowledged")
		if !ask() {
			t.Error("bytes have been acknowledged, want progress")
		}
	}
	if _, err := io.CopyN(io.Discard, c, 20<<10); err != nil {
		t.Fatal(err)
	}
	waits.Eventually(t, func() bool { return r.Unacked(id) == 0 }, "all is acknowledged")
	if !ask() {
		t.Error("the last bytes have been acknowledged, want progress")
	}
	if ask() {
		t.Error("nothing is left, want no progress")
	}
}

// A peer whose window is shut for Socket.UserTimeout is told from one that has gone. Where that is
// not set, but the kernel gives up, it is an error of the connection as others are.
func TestUserTimeout(t *testing.T) {
	for name, size := range map[string]int{"kernel": 30 << 10, "queue": 4 << 20} {
		for timeout, want := range map[time.Duration]error{300 * time.Millisecond: netpoll.ErrUserTimeout, 0: unix.ETIMEDOUT} {
			t.Run(fmt.Sprintf("%s/%v", name, timeout), func(t *testing.T) {
				h, _, conns, closed := scripted()
				r, addr := start(t, netpoll.Config{Socket: netpoll.SocketOptions{UserTimeout: timeout}}, h)
				narrow(t, addr)
				id := waits.Receive(t, conns, "the connection")
				if err := r.SetSocketOption(id, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 300); err != nil {
					t.Fatal(err)
				}
				if err := r.Send(id, netpoll.Message{Body: make([]byte, size)}); err != nil {
					t.Fatal(err)
				}
				err := waits.Receive(t, closed, "the end")
				if !errors.Is(err, want) || timeout == 0 && errors.Is(err, netpoll.ErrUserTimeout) {
					t.Errorf("Closed was told %v, want %v", err, want)
				}
			})
		}
	}
}

// What comes behind an urgent mark is read without anything else arriving.
func TestUrgentMark(t *testing.T) {
	got, entered, leave := make(chan string, 10), make(chan bool), make(chan bool)
	r, addr := start(t, netpoll.Config{Loops: 1, Workers: 2, InlineBatch: netpoll.NoInline}, &funcs{data: func(t *netpoll.Turn, p []byte) {
		switch string(p) {
		case "hello":
			_ = t.Reactor().Send(t.Conn(), netpoll.Message{Body: p})
			return
		case "1":
			entered <- true
			<-leave
		}
		got <- string(p)
	}})
	other := dial(t, addr)
	talk(t, other)
	c := dial(t, addr)
	if _, err := c.Write([]byte("1")); err != nil {
		t.Fatal(err)
	}
	<-entered
	fd := duplicate(t, c)
	defer unix.Close(fd)
	for _, part := range []struct {
		p     string
		flags int
	}{{"before", 0}, {"!", unix.MSG_OOB}, {"behind", 0}} {
		if err := unix.Sendto(fd, []byte(part.p), part.flags, nil); err != nil {
			t.Fatal(err)
		}
	}
	talk(t, other) // the loop has seen everything when it sees this
	close(leave)
	all := ""
	for all != "1beforebehind" {
		select {
		case p := <-got:
			all += p
		case <-time.After(10 * time.Second):
			t.Fatalf("read %q, and then nothing", all)
		}
	}
	if n := r.Stats().Conns; n != 2 {
		t.Errorf("%d connections", n)
	}
}
