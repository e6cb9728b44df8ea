package netpoll_test

import (
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"wsgateway/netpoll"
)

// listening returns a reactor that has not been started.
func listening(t *testing.T) *netpoll.Reactor {
	t.Helper()
	r, err := netpoll.New(netpoll.Config{}, &echo{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// A reactor takes over the path of one that stops listening at that moment, and is found there.
func TestSocketFileTakeover(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old := listening(t)
	if _, err := old.Listen(netpoll.ListenConfig{Addr: "unix:" + path}); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		next := listening(t)
		tried, done := make(chan bool), make(chan bool)
		go func() {
			defer close(done)
			for first := true; ; first = false {
				_, err := next.Listen(netpoll.ListenConfig{Addr: "unix:" + path})
				if first {
					close(tried)
				}
				if err == nil {
					return
				}
			}
		}()
		<-tried
		old.StopAccepting()
		<-done
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatalf("takeover %d: %v", i, err)
		}
		c.Close()
		old = next
	}
}

// Of two that find the same dead socket one listens there, and the other is told.
func TestDeadSocketIsReplacedOnce(t *testing.T) {
	for range 100 {
		path := filepath.Join(t.TempDir(), "s")
		dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		dead.SetUnlinkOnClose(false)
		dead.Close()
		var listen atomic.Int32
		var both sync.WaitGroup
		for range 2 {
			r := listening(t)
			both.Go(func() {
				if _, err := r.Listen(netpoll.ListenConfig{Addr: "unix:" + path}); err == nil {
					listen.Add(1)
				}
			})
		}
		both.Wait()
		if n := listen.Load(); n != 1 {
			t.Fatalf("%d listen", n)
		}
	}
}
