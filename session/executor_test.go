package session

import (
	"testing"
	"time"

	"wsgateway/netpoll"
)

// Nobody judges a request whose client is gone, and what has been found out about it is not kept.
func TestForgottenRequests(t *testing.T) {
	e := newExecutor(&Server{tr: silent{}}, 1, 100)
	gate, judged := make(chan struct{}), make(chan conn, 100)
	for i := range uint32(20) {
		c := netpoll.MakeConn(i, 1)
		e.decideAsync(c, func() *verdict {
			judged <- c
			<-gate
			return &verdict{}
		})
	}
	first := <-judged
	for i := range uint32(19) {
		e.forget(netpoll.MakeConn(i, 1))
	}
	close(gate)
	if n := e.close(10 * time.Second); n > 0 {
		t.Fatalf("%d calls run", n)
	}
	if c := <-judged; first.Index() != 0 || c.Index() != 19 || len(judged) > 0 {
		t.Errorf("%d and %d were judged, and %d others", first.Index(), c.Index(), len(judged))
	}
	kept := 0
	for i := range e.lanes {
		kept += len(e.lanes[i].verdicts) + len(e.lanes[i].m)
	}
	if kept != 1 || e.verdict(netpoll.MakeConn(19, 1)) == nil {
		t.Errorf("%d verdicts and lanes are kept", kept)
	}
}

// silent is a transport of which only Wake is used.
type silent struct{ transport }

func (silent) Wake(conn) error { return nil }
