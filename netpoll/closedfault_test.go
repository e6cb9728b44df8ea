package netpoll_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// faults are what a handler does that does not return.
var faults = map[string]func(){"panic": func() { panic("as asked") }, "goexit": runtime.Goexit}

// A connection that is cut off counts once, whatever Closed does then.
func TestCutOffCountsOnce(t *testing.T) {
	for name, fault := range faults {
		for _, how := range []error{netpoll.ErrCloseTimeout, netpoll.ErrReactorClosed} {
			t.Run(name+"/"+how.Error(), func(t *testing.T) {
				opened, told := make(chan bool, 1), make(chan error, 1)
				r, addr := start(t, netpoll.Config{}, &funcs{
					opened: func(*netpoll.Turn) { opened <- true },
					data:   func(t *netpoll.Turn, _ []byte) { t.Abort(how) },
					closed: func(_ *netpoll.Turn, err error) {
						told <- err
						fault()
					},
				})
				c := dial(t, addr)
				waits.Receive(t, opened, "the call of Opened")
				if how == netpoll.ErrReactorClosed {
					if err := r.Close(); err != nil {
						t.Error(err)
					}
				} else {
					write(t, c, "x")
				}
				if err := waits.Receive(t, told, "the call of Closed"); !errors.Is(err, how) {
					t.Errorf("Closed was told %v", err)
				}
				settled(t, r)
				if n := r.Stats().CutOff; n != 1 {
					t.Errorf("%d were cut off, want 1", n)
				}
			})
		}
	}
}

// A connection that has been closed in an orderly way stays so: the peer gets no reset, although
// Closed fails.
func TestFaultInClosedIsNotAReset(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			r, addr := start(t, netpoll.Config{}, &funcs{
				data: func(t *netpoll.Turn, p []byte) {
					_ = t.Reactor().Send(t.Conn(), netpoll.Message{Body: p})
					t.CloseFlushed(false)
				},
				closed: func(*netpoll.Turn, error) { fault() },
			})
			c := dial(t, addr)
			write(t, c, "hello")
			if p, err := io.ReadAll(c); string(p) != "hello" || err != nil {
				t.Errorf("read %q, %v", p, err)
			}
			settled(t, r)
			const closeWait = 8 // include/net/tcp_states.h
			if state := tcpState(t, c); state != closeWait {
				t.Errorf("the peer's socket is in state %d, want CLOSE_WAIT", state)
			}
		})
	}
}

func tcpState(t *testing.T, c *net.TCPConn) uint8 {
	t.Helper()
	fd := duplicate(t, c)
	defer unix.Close(fd)
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		t.Fatal(err)
	}
	return info.State
}
