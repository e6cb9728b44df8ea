package netpoll_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// funcs is a handler made of functions.
type funcs struct {
	opened func(t *netpoll.Turn)
	data   func(t *netpoll.Turn, p []byte)
	notice func(t *netpoll.Turn, why netpoll.Reason)
	closed func(t *netpoll.Turn, err error)
}

func (h *funcs) Opened(t *netpoll.Turn, refused bool) {
	if h.opened != nil {
		h.opened(t)
	}
}
func (h *funcs) Data(t *netpoll.Turn, p []byte) {
	if h.data != nil {
		h.data(t, p)
	}
}
func (h *funcs) Ended(t *netpoll.Turn) { t.CloseFlushed(false) }
func (h *funcs) Notice(t *netpoll.Turn, why netpoll.Reason) {
	if h.notice != nil {
		h.notice(t, why)
	}
}
func (h *funcs) Closed(t *netpoll.Turn, err error) {
	if h.closed != nil {
		h.closed(t, err)
	}
}

func TestSlotIsSmall(t *testing.T) {
	if netpoll.SlotSize != 48 {
		t.Errorf("a slot takes %d bytes, and says that it takes 48", netpoll.SlotSize)
	}
}

// Connections come and go as fast as they can, in several ways, while writers send to every
// handle they have ever seen. Each connection must get nothing but what is meant for it.
func TestIsolationUnderChurn(t *testing.T) {
	cycles := 5000
	if raceEnabled {
		cycles = 1500
	}
	var handles sync.Map // netpoll.Conn -> secret
	h := &funcs{
		data: func(t *netpoll.Turn, p []byte) {
			if len(p) == 8 {
				handles.Store(t.Conn(), [8]byte(p))
			}
			_ = t.Reactor().Send(t.Conn(), netpoll.Message{Body: p})
		},
	}
	for name, cfg := range map[string]netpoll.Config{
		"mixed":   {Workers: 4},
		"workers": {Workers: 4, Loops: 2, InlineBatch: netpoll.NoInline},
	} {
		t.Run(name, func(t *testing.T) {
			handles.Clear()
			r, addr := start(t, cfg, h)
			stop := make(chan struct{})
			var senders sync.WaitGroup
			var refused atomic.Uint64
			for range 2 {
				senders.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						handles.Range(func(k, v any) bool {
							secret := v.([8]byte)
							if err := r.Send(k.(netpoll.Conn), netpoll.Message{Body: secret[:]}); errors.Is(err, netpoll.ErrClosed) {
								refused.Add(1)
								handles.Delete(k)
							}
							return true
						})
					}
				})
			}
			var clients sync.WaitGroup
			var next atomic.Uint64
			for range 16 {
				clients.Go(func() {
					for {
						n := next.Add(1)
						if n > uint64(cycles) {
							return
						}
						if err := secretCycle(addr, n); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			clients.Wait()
			close(stop)
			senders.Wait()
			settled(t, r)
			if st := r.Stats(); st.Accepted != uint64(cycles) || st.Closed != uint64(cycles) {
				t.Errorf("%d accepted, %d closed of %d", st.Accepted, st.Closed, cycles)
			}
			if refused.Load() == 0 {
				t.Error("no send to a closed connection was tried: the test shows nothing")
			}
		})
	}
}

// secretCycle opens a connection, sends a secret, and reads nothing but that secret.
func secretCycle(addr string, n uint64) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	var secret, got [8]byte
	binary.BigEndian.PutUint64(secret[:], n*0x9e3779b97f4a7c15)
	if _, err := c.Write(secret[:]); err != nil {
		return err
	}
	for range 1 + n%3 {
		if _, err := io.ReadFull(c, got[:]); err != nil {
			if n%3 != 0 {
				return nil // the echo has come, and no sender was quick enough
			}
			return err
		}
		if got != secret {
			return errors.New("read somebody else's secret")
		}
		if n%3 != 0 {
			_ = c.SetDeadline(time.Now().Add(time.Millisecond))
		}
	}
	if n%4 == 0 {
		return c.(*net.TCPConn).SetLinger(0) // RST
	}
	return nil
}

func TestQueueBounds(t *testing.T) {
	notices := make(chan netpoll.Reason, 100)
	conns := make(chan netpoll.Conn, 1)
	h := &funcs{
		opened: func(t *netpoll.Turn) { conns <- t.Conn() },
		notice: func(t *netpoll.Turn, why netpoll.Reason) { notices <- why },
	}
	const bound = 256 << 10
	r, addr := start(t, netpoll.Config{QueueBytes: bound, QueueMessages: 50}, h)
	for name, size := range map[string]int{"bytes": 64 << 10, "messages": 16 << 10} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, addr)
			id := <-conns
			sent := 0
			var err error
			for err == nil {
				if err = r.Send(id, netpoll.Message{Body: bytes.Repeat([]byte{byte(sent)}, size)}); err == nil {
					sent++
				}
				if q := r.Queued(id); q > bound+size+48 {
					t.Fatalf("%d bytes queued, want at most the mark of %d and one message", q, bound)
				}
			}
			if !errors.Is(err, netpoll.ErrQueueFull) {
				t.Fatal(err)
			}
			if why := <-notices; why&netpoll.Overflow == 0 {
				t.Errorf("notice %b", why)
			}
			// What was accepted arrives, whole and in order.
			buf := make([]byte, size)
			for i := range sent {
				if _, err := io.ReadFull(c, buf); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(buf, bytes.Repeat([]byte{byte(i)}, size)) {
					t.Fatalf("message %d is not what was sent", i)
				}
			}
			c.Close()
		})
	}
	settled(t, r)
}

func TestTotalQueueBound(t *testing.T) {
	conns := make(chan netpoll.Conn, 100)
	h := &funcs{opened: func(t *netpoll.Turn) { conns <- t.Conn() }}
	const total = 1 << 20
	r, addr := start(t, netpoll.Config{QueueBytes: total, QueueTotalBytes: total, QueueMessages: 1 << 20}, h)
	full := 0
	for range 8 {
		dial(t, addr)
		id := <-conns
		for {
			err := r.Send(id, netpoll.Message{Body: make([]byte, 32<<10)})
			if r.Stats().QueueBytes > total {
				t.Fatalf("%d bytes queued in all", r.Stats().QueueBytes)
			}
			if err != nil {
				break
			}
		}
		full++
	}
	if st := r.Stats(); full != 8 || st.Overflows["total"] == 0 {
		t.Errorf("overflows: %v", st.Overflows)
	}
}

// Tiny messages count like all others.
func TestTotalQueueBoundOfTinyMessages(t *testing.T) {
	conns := make(chan netpoll.Conn, 2)
	h := &funcs{opened: func(t *netpoll.Turn) { conns <- t.Conn() }}
	const total = 1 << 20
	r, addr := start(t, netpoll.Config{QueueBytes: total, QueueTotalBytes: total, QueueMessages: 1 << 20}, h)
	for range 2 {
		dial(t, addr)
		id := <-conns
		var err error
		for err == nil {
			err = r.Send(id, netpoll.Message{Body: make([]byte, 64)})
			if q := r.Stats().QueueBytes; q > total {
				t.Fatalf("%d bytes queued in all", q)
			}
		}
		// If a turn was collecting output when all the room was taken, its connection has failed.
		total := r.Stats().Overflows["total"]
		if !errors.Is(err, netpoll.ErrQueueFull) && !(errors.Is(err, netpoll.ErrClosed) && total > 0) {
			t.Fatalf("Send returned %v with %d overflows of the total, want ErrQueueFull", err, total)
		}
	}
}

// One message larger than the queue's bound is deliverable when nothing else waits.
func TestLargeMessageIntoEmptyQueue(t *testing.T) {
	conns := make(chan netpoll.Conn, 1)
	h := &funcs{opened: func(t *netpoll.Turn) { conns <- t.Conn() }}
	r, addr := start(t, netpoll.Config{QueueBytes: 1 << 10}, h)
	c := dial(t, addr)
	id := <-conns
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	if err := r.Send(id, netpoll.Message{Prefix: netpoll.MakePrefix(big[:10]), Body: big[10:]}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(big))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, big) {
		t.Fatalf("%v", err)
	}
}

func TestStalledWriter(t *testing.T) {
	conns := make(chan netpoll.Conn, 1)
	notices := make(chan netpoll.Reason, 1)
	h := &funcs{
		opened: func(t *netpoll.Turn) { conns <- t.Conn() },
		notice: func(t *netpoll.Turn, why netpoll.Reason) { t.Abort(errors.New("slow")); notices <- why },
	}
	r, addr := start(t, netpoll.Config{WriteStall: time.Second}, h)
	dial(t, addr)
	if err := r.Send(<-conns, netpoll.Message{Body: make([]byte, 32<<20)}); err != nil {
		t.Fatal(err)
	}
	tick(r, 900*time.Millisecond)
	select {
	case why := <-notices:
		t.Fatalf("notice %b after 0.9 s", why)
	default:
	}
	tick(r, 200*time.Millisecond)
	if why := <-notices; why&netpoll.Stalled == 0 {
		t.Errorf("notice %b", why)
	}
	settled(t, r)
}

func TestDeadline(t *testing.T) {
	armed := make(chan struct{}, 2)
	notices := make(chan netpoll.Reason, 1)
	h := &funcs{
		opened: func(t *netpoll.Turn) { t.SetDeadline(time.Second); armed <- struct{}{} },
		data: func(t *netpoll.Turn, p []byte) {
			t.SetDeadline(0)
			_ = t.Reactor().Send(t.Conn(), netpoll.Message{Body: p})
		},
		notice: func(t *netpoll.Turn, why netpoll.Reason) { notices <- why; t.CloseFlushed(true) },
	}
	r, addr := start(t, netpoll.Config{}, h)
	kept, late := dial(t, addr), dial(t, addr)
	talk(t, kept)
	// A connection counts before Opened has returned: only its deadline tells that it can expire.
	waits.Eventually(t, func() bool { return len(armed) == 2 }, "both have their deadlines")
	tick(r, 2*time.Second)
	waits.Eventually(t, func() bool { return len(notices) == 1 }, "the deadline is noticed")
	if why := <-notices; why&netpoll.Deadline == 0 {
		t.Errorf("notice %b", why)
	}
	if n, err := late.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read %d, %v", n, err)
	}
	talk(t, kept)
	// The peer does not close: the close timeout does. That its kernel acknowledges our end may count as
	// progress for once.
	waits.Eventually(t, func() bool { tick(r, 10*time.Second); return r.Stats().Conns == 1 }, "the lingering connection is closed")
}

func TestPanicIsContained(t *testing.T) {
	var closed chan error
	h := &funcs{
		data: func(t *netpoll.Turn, p []byte) {
			if p[0] == 'p' {
				panic("as asked")
			}
			_ = t.Reactor().Send(t.Conn(), netpoll.Message{Body: p})
		},
		closed: func(_ *netpoll.Turn, err error) { closed <- err },
	}
	for name, cfg := range map[string]netpoll.Config{"loop": {}, "worker": {Workers: 1, InlineBatch: netpoll.NoInline}} {
		t.Run(name, func(t *testing.T) {
			closed = make(chan error, 20)
			r, addr := start(t, cfg, h)
			other := dial(t, addr)
			for range 10 {
				c := dial(t, addr)
				if _, err := c.Write([]byte("panic")); err != nil {
					t.Fatal(err)
				}
				if err := <-closed; !errors.Is(err, netpoll.ErrPanic) {
					t.Errorf("closed with %v", err)
				}
				talk(t, other)
			}
			if n := r.Stats().Panics; n != 10 {
				t.Errorf("%d panics counted", n)
			}
		})
	}
}

func TestPauseStopsReading(t *testing.T) {
	conns, hangUps := make(chan netpoll.Conn, 1), make(chan netpoll.Reason, 10)
	var got atomic.Int64
	h := &funcs{
		opened: func(t *netpoll.Turn) { conns <- t.Conn(); t.Pause() },
		data: func(t *netpoll.Turn, p []byte) {
			got.Add(int64(len(p)))
			_ = t.Reactor().Send(t.Conn(), netpoll.Message{Body: p})
		},
		notice: func(t *netpoll.Turn, why netpoll.Reason) {
			if why&netpoll.HangUp != 0 {
				hangUps <- why
			}
			if why&netpoll.Woken != 0 {
				t.Resume()
			}
		},
	}
	r, addr := start(t, netpoll.Config{}, h)
	c := dial(t, addr)
	id := <-conns
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil { // its edge comes while nobody reads, too
		t.Fatal(err)
	}
	<-hangUps // of which the handler is told, although it does not read
	if got.Load() != 0 {
		t.Fatal("input was delivered while paused")
	}
	if err := r.Wake(id); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(c); string(all) != "hello" || err != nil {
		t.Fatalf("%q, %v", all, err)
	}
}

func TestZeroConn(t *testing.T) {
	r, addr := start(t, netpoll.Config{}, &echo{})
	checkZeroConn(t, r) // before there is any connection
	talk(t, dial(t, addr))
	checkZeroConn(t, r)
}

func checkZeroConn(t *testing.T, r *netpoll.Reactor) {
	t.Helper()
	if n := r.Queued(0); n != 0 {
		t.Errorf("Queued: %d", n)
	}
	if err := r.Send(0, netpoll.Message{Body: []byte("x")}); !errors.Is(err, netpoll.ErrClosed) {
		t.Errorf("Send: %v", err)
	}
	if err := r.Wake(0); !errors.Is(err, netpoll.ErrClosed) {
		t.Errorf("Wake: %v", err)
	}
	if p := r.Peer(0); p.IsValid() {
		t.Errorf("Peer: %v", p)
	}
}
