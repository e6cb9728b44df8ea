package session_test

import (
	"net"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// level is what a process holds.
type level struct {
	goroutines, fds int
	heap            uint64
}

func measure(t *testing.T) level {
	t.Helper()
	for range 3 { // pools keep what one collection leaves
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return level{runtime.NumGoroutine(), len(fds), m.HeapAlloc}
}

// Thousands of clients that come and go in every way leave nothing behind.
func TestChurnLeavesNothing(t *testing.T) {
	cycles := 3000
	if raceEnabled {
		cycles = 600
	}
	b := session.NewBroadcast()
	var mu sync.Mutex
	opened, closed := 0, 0
	s, addr := wstest.Serve(t, session.Config{Routes: []session.Route{
		{Path: "/", Handler: session.Echo{}, Mode: session.OnLoop},
		{Path: "/room/{rest...}", Mode: session.NeverBlocks, Handler: session.HandlerFuncs{
			Open:    func(s session.Session, _ *wsproto.Request) { mu.Lock(); opened++; mu.Unlock(); b.OnOpen(s, nil) },
			Message: func(s session.Session, m session.Message) { _ = s.Send(m.Opcode, m.Data) },
			Close: func(s session.Session, c session.CloseInfo) {
				mu.Lock()
				closed++
				mu.Unlock()
				b.OnClose(s, c)
			},
		}},
	}})
	cycle := func(n int) {
		path := "/"
		if n%2 == 0 {
			path = "/room/of/one"
		}
		c := connect(t, addr, path)
		defer c.Close()
		c.SendText("hello")
		c.Want(ws.OpText, "hello")
		switch n / 2 % 4 {
		case 0:
			c.Send(ws.NewCloseFrame(nil))
			c.Want(ws.OpClose, "")
		case 1:
			_ = c.Conn.(*net.TCPConn).SetLinger(0)
		case 2:
			_, _ = c.Write([]byte{0x82, 0xfe, 0xff, 0xff, 1, 2, 3, 4, 5}) // in the middle of a frame
		}
	}
	run := func(n int) {
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := w; i < n; i += 8 {
					cycle(i)
				}
			})
		}
		wg.Wait()
		waits.Becomes(t, func() int { return s.Stats().Conns }, 0, "open connections")
	}
	run(cycles / 5)
	before := measure(t)
	run(cycles)
	after := measure(t)
	if after.goroutines > before.goroutines || after.fds > before.fds {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if !raceEnabled && after.heap > before.heap+before.heap/20+64<<10 {
		t.Errorf("the heap has grown from %d to %d bytes", before.heap, after.heap)
	}
	mu.Lock()
	defer mu.Unlock()
	if opened == 0 || opened != closed {
		t.Errorf("%d times OnOpen, %d times OnClose", opened, closed)
	}
}
