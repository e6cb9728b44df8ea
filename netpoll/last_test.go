package netpoll_test

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// turnOf is a turn with ways to send: a message that may be dropped, and the last one.
type turnOf = func(t *netpoll.Turn, data func() error, last func())

// Whatever DropQueued discards, and whenever the last message is sent: what arrives is what was sent, from the
// first message on without a gap, and the last one.
func TestDropQueuedLeavesNoGap(t *testing.T) {
	for name, turns := range map[string][]turnOf{
		"last before": {func(t *netpoll.Turn, _ func() error, last func()) {
			last()
			t.DropQueued()
		}},
		"more and last before": {func(t *netpoll.Turn, data func() error, last func()) {
			_, _ = data(), data()
			last()
			t.DropQueued()
		}},
		"more before": {func(t *netpoll.Turn, data func() error, last func()) {
			_ = data()
			t.DropQueued()
			last()
		}},
		"more and last in a turn before": {
			func(_ *netpoll.Turn, data func() error, last func()) {
				_, _ = data(), data()
				last()
			},
			func(t *netpoll.Turn, _ func() error, _ func()) { t.DropQueued() },
		},
		"more in a turn before": {
			func(_ *netpoll.Turn, data func() error, _ func()) { _ = data() },
			func(t *netpoll.Turn, _ func() error, last func()) {
				t.DropQueued()
				last()
			},
		},
		"more than a buffer before": {func(t *netpoll.Turn, data func() error, last func()) {
			for range 10 {
				_ = data()
			}
			last()
			t.DropQueued()
		}},
		"more behind": {func(nt *netpoll.Turn, data func() error, last func()) {
			nt.DropQueued()
			if err := data(); !errors.Is(err, netpoll.ErrQueueFull) {
				t.Errorf("a message behind a gap: %v", err)
			}
			last()
		}},
	} {
		t.Run(name, func(t *testing.T) { dropInTurns(t, turns) })
	}
}

// dropInTurns fills a queue and runs turns on its connection. What arrives has no gap.
func dropInTurns(t *testing.T, turns []turnOf) {
	const size = 4000
	var seq uint32
	var r *netpoll.Reactor
	var c netpoll.Conn
	send := func() error {
		seq++
		return r.Send(c, netpoll.Message{Body: numbered{kind: kindPlain, seq: seq}.bytes(size)})
	}
	last := func() {
		if err := r.Send(c, netpoll.Message{Body: numbered{kind: kindEnd}.bytes(0), Final: true}); err != nil {
			t.Error(err)
		}
	}
	notices := make(chan turnOf, len(turns))
	done := make(chan bool, len(turns))
	h := &funcs{notice: func(t *netpoll.Turn, why netpoll.Reason) {
		if why&netpoll.Woken == 0 {
			return
		}
		(<-notices)(t, send, last)
		if len(notices) == 0 {
			t.CloseFlushed(false)
		}
		done <- true
	}}
	r, conn, peer := pairWith(t, netpoll.Config{QueueMessages: 1000, QueueBytes: 1 << 20}, h)
	c = conn
	for r.Queued(c) < 20*size {
		if err := send(); err != nil {
			t.Fatal(err)
		}
	}
	for _, do := range turns {
		notices <- do
	}
	for range turns {
		if err := r.Wake(c); err != nil {
			t.Fatal(err)
		}
		<-done
	}
	checkPrefix(t, peer)
	settled(t, r)
}

// checkPrefix reads numbered messages, from 1 on without a gap, until the end message and the end.
func checkPrefix(t *testing.T, peer net.Conn) {
	t.Helper()
	if err := peer.SetDeadline(time.Now().Add(waits.Patience)); err != nil {
		t.Fatal(err)
	}
	var before uint32
	for {
		m, err := readNumbered(peer)
		if err != nil {
			t.Fatalf("behind message %d: %v", before, err)
		}
		if m.kind == kindEnd {
			break
		}
		if m.seq != before+1 {
			t.Fatalf("message %d behind %d", m.seq, before)
		}
		before = m.seq
	}
	if n, err := io.Copy(io.Discard, peer); n != 0 || err != nil {
		t.Errorf("behind the last message: %d bytes, %v", n, err)
	}
	if before == 0 {
		t.Error("nothing arrived")
	}
}

// A message whose rest found no room ends the stream: nothing may come behind its half.
func TestNothingBehindHalfAMessage(t *testing.T) {
	r, c, peer := pair(t, netpoll.Config{})
	if err := r.WriteBroken(c, []byte("behind")); err != nil {
		t.Error(err)
	}
	r.Close()
	if p, err := io.ReadAll(peer); len(p) != 0 || err != nil && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("read %q, %v", p, err)
	}
}

// A program may have closed its standard input: 0 is a descriptor like others.
func TestDescriptorZero(t *testing.T) {
	due := make(chan bool, 100)
	opened := make(chan netpoll.Conn, 1)
	h := &funcs{
		opened: func(t *netpoll.Turn) { t.SetDeadline(time.Second); opened <- t.Conn() },
		notice: func(*netpoll.Turn, netpoll.Reason) { due <- true },
	}
	r, addr := start(t, netpoll.Config{}, h)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	stdin, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(unix.Dup2(stdin, 0), unix.Close(stdin)); err != nil {
			t.Error(err)
		}
	}()
	if err := unix.Close(0); err != nil {
		t.Fatal(err)
	}
	to, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}); err != nil {
		t.Fatal(err)
	}
	c := <-opened
	if got, err := unix.Getsockname(0); err != nil {
		t.Fatalf("the connection does not have descriptor 0: %v, %v", got, err)
	}
	if r.At(c.Index()) != c {
		t.Error("the reactor does not know its connection")
	}
	tick(r, 2*time.Second)
	waits.Eventually(t, func() bool { return len(due) > 0 }, "the deadline is told of")
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if n := r.Stats().Conns; n != 0 {
		t.Errorf("%d connections survived Close", n)
	}
}

// A peer that never stops sending, so that no turn reads all of it, is not excused for ever.
func TestDeadlineOfOneWhoSendsAllTheTime(t *testing.T) {
	const timeout = time.Second
	told, gone := make(chan time.Duration, 1), make(chan error, 1)
	var reads atomic.Int64
	h := &funcs{
		data: func(t *netpoll.Turn, p []byte) {
			reads.Add(1)
			if p[0] == 'd' {
				t.SetDeadline(timeout)
			}
		},
		notice: func(t *netpoll.Turn, why netpoll.Reason) {
			if why&netpoll.Deadline != 0 {
				told <- t.Overdue()
				t.Abort(nil)
			}
		},
		closed: func(_ *netpoll.Turn, err error) { gone <- err },
	}
	r, addr := start(t, netpoll.Config{TurnBytes: 1, ReadBuffer: 1, CloseTimeout: 5 * time.Second}, h)
	c := dial(t, addr)
	go func() { // ends with the connection
		p := make([]byte, 64<<10)
		p[0] = 'd'
		for {
			if _, err := c.Write(p); err != nil {
				return
			}
			p[0] = 0
		}
	}()
	for range 100 {
		seen := reads.Load()
		tick(r, 100*time.Millisecond)
		waits.Eventually(t, func() bool { return reads.Load() > seen+2 || len(told) > 0 }, "it had turns, or is gone")
		if len(told) == 0 {
			continue
		}
		if overdue := <-told; overdue < 5*time.Second || overdue > 6*time.Second {
			t.Errorf("told %v behind the deadline, with input that had not been read", overdue)
		}
		if err := <-gone; err != nil {
			t.Errorf("aborted without an error, closed with %v", err)
		}
		return
	}
	t.Error("not told in 10 s")
}

// A peer that takes what is queued when the connection is closed gets it all, however slowly. A unix socket
// tells that a piece of up to half of its buffer (208 KiB, unix(7)) was read when all of it was.
func TestCloseWaitsForWhoReads(t *testing.T) {
	const timeout, size = 5 * time.Second, 2 << 20
	for name, tt := range map[string]struct {
		chunk int // that is read in each CloseTimeout
		all   bool
	}{
		"fast":       {1 << 20, true},
		"slowly":     {200 << 10, true},
		"not at all": {0, false},
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			noted := make(chan bool, 1)
			r, c, peer := pairWith(t, netpoll.Config{CloseTimeout: timeout, QueueBytes: 4 << 20}, &funcs{
				notice: func(t *netpoll.Turn, _ netpoll.Reason) { t.CloseFlushed(false); noted <- true },
				closed: func(_ *netpoll.Turn, err error) { ended <- err },
			})
			sent := 0
			for r.Queued(c) < size {
				if err := r.Send(c, netpoll.Message{Body: make([]byte, 64<<10)}); err != nil {
					t.Fatal(err)
				}
				sent += 64 << 10
			}
			if err := r.Wake(c); err != nil {
				t.Fatal(err)
			}
			<-noted
			waits.Eventually(t, func() bool { return r.Idle(c) }, "the connection is closing")
			if err := peer.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			got := 0
			read := func(n int) (err error) {
				n, err = io.ReadFull(peer, make([]byte, n))
				got += n
				return err
			}
			periods := 0
			for len(ended) == 0 && r.At(c.Index()) == c {
				r.Advance(timeout / 2)
				if err := read(tt.chunk); err != nil {
					break
				}
				tick(r, timeout/2) // its turn sends what there is room for by now, and sees
				waits.Eventually(t, func() bool { return !r.Due(c) || r.At(c.Index()) != c }, "the deadline is seen")
				if periods++; periods > 100 {
					t.Fatal("it does not end")
				}
			}
			for read(1) == nil {
			}
			if err := <-ended; tt.all != (err == nil) || tt.all != (got == sent) {
				t.Errorf("read %d of %d bytes in %d periods, closed with %v", got, sent, periods, err)
			}
		})
	}
}

// Where nothing is queued nothing is dropped: what the turn has collected is sent, and behind it
// only the last message.
func TestDropQueuedWithoutQueue(t *testing.T) {
	refused := make(chan error, 1)
	r, id, c := pairWith(t, netpoll.Config{}, &funcs{notice: func(t *netpoll.Turn, _ netpoll.Reason) {
		send := func(p string, final bool) error {
			return t.Reactor().Send(t.Conn(), netpoll.Message{Body: []byte(p), Final: final})
		}
		err := send("collected, ", false)
		t.DropQueued()
		refused <- send("refused, ", false)
		if err = errors.Join(err, send("last", true)); err != nil {
			t.Abort(err)
		}
		t.CloseFlushed(false)
	}})
	if err := r.Wake(id); err != nil {
		t.Fatal(err)
	}
	if err := waits.Receive(t, refused, "the turn"); !errors.Is(err, netpoll.ErrQueueFull) {
		t.Errorf("Send after DropQueued: %v, want ErrQueueFull", err)
	}
	if p, err := io.ReadAll(c); string(p) != "collected, last" || err != nil {
		t.Errorf("read %q, %v", p, err)
	}
	settled(t, r)
	if n := r.Stats().Dropped; n != 1 {
		t.Errorf("%d messages count as dropped, want the one that was refused", n)
	}
}
