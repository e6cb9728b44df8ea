package session

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ticking has time go on while a client is being held, once.
type ticking struct {
	transport
	mu          sync.Mutex
	armed, done atomic.Bool
}

func (k *ticking) Advance(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.transport.Advance(d)
}

func (k *ticking) Now() uint32 {
	if k.armed.Load() {
		pc, _, _, _ := runtime.Caller(1)
		if strings.HasSuffix(runtime.FuncForPC(pc).Name(), ".hold") && k.armed.CompareAndSwap(true, false) {
			k.Advance(25 * time.Millisecond)
			k.done.Store(true)
		}
	}
	return k.transport.Now()
}

// What a client owes may be paid between the look that holds it and the one that says for how long.
func TestHoldWhileTimeGoesOn(t *testing.T) {
	got := make(chan string, 1)
	s, err := NewServer(Config{ControlRate: 50, ControlBurst: 2, Routes: []Route{{Path: "/", Mode: NeverBlocks, Handler: HandlerFuncs{
		Message: func(_ Session, m Message) { got <- string(m.Data) },
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	k := &ticking{transport: s.tr}
	s.tr = k
	addr, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	c, _ := connected(t, addr.String())
	defer c.Close()
	k.armed.Store(true)
	_, _ = c.Write([]byte(strings.Repeat("\x89\x80\x00\x00\x00\x00", 3) + "\x81\x82\x00\x00\x00\x00hi")) // one ping is owed
	select {
	case <-got:
	case <-time.After(30 * time.Second):
		t.Error("waited 30 s for the message of a client that is to be read from again")
	}
	if !k.done.Load() {
		t.Error("time did not go on")
	}
}
