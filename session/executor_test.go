package session

import (
	"testing"
	"time"

	"wsgateway/netpoll"
)

// What has not begun is not called once nobody wants to know, and nothing of it is kept.
func TestForgottenCalls(t *testing.T) {
	e := newExecutor(&Server{tr: silent{}}, 1, 100)
	gate, called := make(chan struct{}), make(chan conn, 100)
	for i := range uint32(20) {
		c := netpoll.MakeConn(i, 1)
		e.post(c, nil, func() {
			called <- c
			<-gate
		})
	}
	first := <-called
	for i := range uint32(19) {
		e.forget(netpoll.MakeConn(i, 1))
	}
	close(gate)
	if n := e.close(10 * time.Second); n > 0 {
		t.Fatalf("%d calls run", n)
	}
	if c := <-called; first.Index() != 0 || c.Index() != 19 || len(called) > 0 {
		t.Errorf("the calls of %d and %d were made, and %d others; want those of 0 and 19", first.Index(), c.Index(), len(called))
	}
	for i := range e.lanes {
		if n := len(e.lanes[i].m); n > 0 {
			t.Errorf("%d lanes are kept", n)
		}
	}
}

// silent is a transport of which only Wake is used.
type silent struct{ transport }

func (silent) Wake(conn) error { return nil }
