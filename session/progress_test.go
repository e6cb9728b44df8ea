package session

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"wsgateway/internal/waits"
)

// With the defaults a client may pause inside a message for as long as it may be silent otherwise, several times
// if the whole is fast enough. A drip is given up on.
func TestProgress(t *testing.T) {
	const silence, rate = 47 * time.Second, 1024
	type step struct {
		bytes uint64
		pause time.Duration
	}
	for name, tt := range map[string]struct {
		steps []step // repeated
		fails time.Duration
	}{
		"one long pause":            {[]step{{10_000, 48 * time.Second}}, 47 * time.Second},
		"pauses of 40 s, 40 KB":     {[]step{{40_000, 40 * time.Second}}, 0},
		"a drip of 300 B/s":         {[]step{{300, time.Second}}, 133 * time.Second},
		"just above the rate":       {[]step{{1100, time.Second}}, 0},
		"fast, then nothing at all": {[]step{{1 << 20, time.Second}, {0, time.Hour}}, 48 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var p progress
			now, sent := uint32(1<<32-5000), uint64(1<<40) // time wraps around meanwhile
			begin := now
			failed := time.Duration(0)
			p.note(1, sent, now)
			for i := 0; time.Duration(now-begin)*time.Millisecond < 10*time.Minute && failed == 0; i++ {
				s := tt.steps[i%len(tt.steps)]
				sent += s.bytes
				p.note(1, sent, now)
				left := p.left(now, silence, rate)
				if left < s.pause {
					failed = time.Duration(now-begin)*time.Millisecond + left
				}
				now += uint32(s.pause / time.Millisecond)
			}
			if d := failed - tt.fails; d < -time.Second || d > time.Second || (failed == 0) != (tt.fails == 0) {
				t.Errorf("given up on after %v, want %v (0: never)", failed, tt.fails)
			}
		})
	}
}

// What comes of the next message is not the last one's progress, and has all its time.
func TestProgressBeginsAnew(t *testing.T) {
	var p progress
	p.note(1, 100, 1000)
	p.note(2, 100, 91_000)
	if left := p.left(91_000, 47*time.Second, 1024); left != 47*time.Second {
		t.Errorf("%v are left at the beginning of a message, want 47s", left)
	}
	p.shift(5000)
	if left := p.left(96_000, 47*time.Second, 1024); left != 47*time.Second {
		t.Errorf("%v are left after 5 s that do not count, want 47s", left)
	}
}

// uploader is a client inside a message, on a server whose time the test advances.
type uploader struct {
	*testing.T
	srv *Server
	*Clock
	net.Conn
	sent uint64
}

// upload begins a message of n bytes.
func upload(t *testing.T, cfg Config, n int) *uploader {
	cfg.Routes = []Route{{Path: "/", Mode: NeverBlocks, MaxMessage: 4 << 20, Handler: HandlerFuncs{
		Message: func(s Session, m Message) { _ = s.SendText("thanks") },
	}}}
	srv, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	u := &uploader{T: t, srv: srv, Clock: UseClock(srv)}
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	u.Conn, _ = connected(t, addr.String())
	t.Cleanup(func() { _ = u.Conn.Close() })
	u.sent = srv.Stats().ReadBytes
	u.send(binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, uint64(n)))
	u.send(make([]byte, 4))
	return u
}

// send sends bytes, and waits until the server has read them. It reports whether the client is still served.
func (u *uploader) send(p []byte) bool {
	u.Helper()
	if _, err := u.Write(p); err != nil {
		return false
	}
	u.sent += uint64(len(p))
	waits.Eventually(u.T, func() bool {
		st := u.srv.Stats()
		return st.ReadBytes >= u.sent || st.Sessions == 0
	}, "the server has read what was sent")
	return u.srv.Stats().Sessions == 1
}

// A phone that changes cells in the middle of an upload comes through.
func TestPausesInsideAFrame(t *testing.T) {
	const piece, pieces = 40_000, 5
	u := upload(t, Config{}, piece*pieces)
	for i := range pieces {
		if !u.send(make([]byte, piece)) {
			t.Fatalf("the client is given up on after %d pauses of 40 s: %v", i, u.srv.Stats().Evictions)
		}
		if i < pieces-1 {
			u.Pass(t, 40*time.Second)
		}
	}
	got := make([]byte, 1<<10)
	for want := []byte("\x81\x06thanks"); ; {
		n, err := u.Read(got)
		if err != nil {
			t.Fatalf("the answer does not come: %v", err)
		}
		if bytes.Contains(got[:n], want) { // pings may come before it
			return
		}
	}
}

// A client that drips is given up on, however short its pauses are.
func TestDripInsideAFrame(t *testing.T) {
	u := upload(t, Config{}, 1<<20)
	for i := 1; u.send(make([]byte, 3000)); i++ {
		if i > 20 {
			t.Fatal("a client that sends 300 bytes a second is served for more than 200 s")
		}
		u.Pass(t, 10*time.Second)
	}
	if ev := u.srv.Stats().Evictions; ev["message_timeout"] != 1 {
		t.Errorf("evictions %v, want one for message_timeout", ev)
	}
	if all, err := io.ReadAll(u.Conn); !bytes.Contains(all, []byte("\x03\xf0")) {
		t.Errorf("the client read %q, %v; want a Close frame with 1008", all, err)
	}
}

// When memory for incomplete messages is nearly used up a pause has to be shorter, also one that has begun
// before. When it is there again nobody is hurried.
func TestMemoryPressureShortensPauses(t *testing.T) {
	u := upload(t, Config{InboundBytes: 1 << 20}, 600_000)
	if !u.send(make([]byte, 300_000)) {
		t.Fatal("the client is given up on at once")
	}
	hold := func(n int64) { u.srv.bufs.used.Add(n) } // another client's
	hold(400_000)
	u.Pass(t, 5*time.Second)
	hold(-400_000)
	u.Pass(t, 30*time.Second)
	if !u.send(make([]byte, 10)) {
		t.Fatalf("a client is given up on for a pause of 35 s, although there is memory: %v", u.srv.Stats().Evictions)
	}
	hold(400_000)
	defer hold(-400_000)
	u.Pass(t, 15*time.Second)
	waits.Eventually(t, func() bool { return u.srv.Stats().Sessions == 0 }, "the client has been given up on")
	if ev := u.srv.Stats().Evictions; ev["memory_pressure"] != 1 {
		t.Errorf("evictions %v, want one for memory_pressure", ev)
	}
}
