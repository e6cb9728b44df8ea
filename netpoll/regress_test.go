package netpoll_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// Close ends at once although clients keep loops and workers busy without a pause.
func TestCloseUnderFlood(t *testing.T) {
	for name, cfg := range map[string]netpoll.Config{
		"loop":   {},
		"worker": {Workers: 1, InlineBatch: netpoll.NoInline, TurnBytes: 1 << 10, ReadBuffer: 1 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			var read atomic.Int64
			r, addr := start(t, cfg, &funcs{data: func(_ *netpoll.Turn, p []byte) { read.Add(int64(len(p))) }})
			var writers sync.WaitGroup
			for range 20 {
				c := dial(t, addr)
				writers.Go(func() {
					for p := make([]byte, 200); ; {
						if _, err := c.Write(p); err != nil {
							return
						}
					}
				})
			}
			waits.Eventually(t, func() bool { return read.Load() > 1<<20 }, "the flood is on")
			closed := make(chan struct{})
			go func() { r.Close(); close(closed) }()
			waits.Receive(t, closed, "the end of Close while clients send")
			writers.Wait()
		})
	}
}

// A queue that never becomes empty does not remember what has passed through it.
func TestQueueForgetsWhatIsSent(t *testing.T) {
	r, id, c := pair(t, netpoll.Config{QueueBytes: 4 << 20, QueueMessages: 1 << 20})
	message := make([]byte, 2<<10)
	buf := make([]byte, 64<<10)
	for range 1000 { // some 30,000 messages
		for r.Queued(id) < 1<<20 {
			if err := r.Send(id, netpoll.Message{Body: message}); err != nil {
				t.Fatal(err)
			}
		}
		if n := r.QueueSlots(id); n > 4096 {
			t.Fatalf("the list of some 500 queued messages has room for %d", n)
		}
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
}

// Many tiny answers in one turn count as what they become: one piece of the queue.
func TestTinyAnswersDoNotFillTheQueue(t *testing.T) {
	conns := make(chan netpoll.Conn, 1)
	answered := make(chan error, 1)
	h := &funcs{
		opened: func(t *netpoll.Turn) { conns <- t.Conn() },
		data: func(t *netpoll.Turn, p []byte) {
			var err error
			for range 1000 {
				err = errors.Join(err, t.Reactor().Send(t.Conn(), netpoll.Message{Body: []byte("ok")}))
			}
			answered <- err
		},
	}
	r, addr := start(t, netpoll.Config{}, h)
	c := dial(t, addr)
	id := <-conns
	sent := 0
	for r.Queued(id) == 0 {
		if err := r.Send(id, netpoll.Message{Body: make([]byte, 16<<10)}); err != nil {
			t.Fatal(err)
		}
		sent += 16 << 10
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	if err := r.Send(id, netpoll.Message{Body: []byte("last")}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, sent+2000+4)
	if _, err := io.ReadFull(c, got); err != nil || !bytes.HasSuffix(got, []byte("okoklast")) {
		t.Fatalf("%v, %q", err, got[len(got)-8:])
	}
}

// A client that reads, however the edges fall, is not taken for stalled.
func TestSlowReaderIsNotStalled(t *testing.T) {
	conns := make(chan netpoll.Conn, 1)
	stalled := make(chan netpoll.Reason, 100)
	h := &funcs{
		opened: func(t *netpoll.Turn) { conns <- t.Conn() },
		notice: func(_ *netpoll.Turn, why netpoll.Reason) { stalled <- why },
	}
	r, addr := start(t, netpoll.Config{WriteStall: time.Second}, h)
	c := dial(t, addr)
	id := <-conns
	const size = 16 << 20
	if err := r.Send(id, netpoll.Message{Body: make([]byte, size)}); err != nil {
		t.Fatal(err)
	}
	for read := 0; read < size; {
		n, err := c.Read(make([]byte, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		read += n
		tick(r, 600*time.Millisecond)
	}
	settle := dial(t, addr) // its turns come behind those that the ticks asked for
	talkTo := <-conns
	_ = r.Send(talkTo, netpoll.Message{Body: []byte("hello")})
	if _, err := io.ReadFull(settle, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	select {
	case why := <-stalled:
		t.Errorf("notice %b for a client that reads", why)
	default:
	}
}

func TestEveryWaiterIsTold(t *testing.T) {
	r, addr := start(t, netpoll.Config{}, &echo{})
	c := dial(t, addr)
	talk(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	errs := make(chan error, 3)
	for range cap(errs) {
		go func() { errs <- r.Wait(ctx) }()
	}
	c.Close()
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
