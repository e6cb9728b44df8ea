package session

import (
	"io"
	"net"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/wsproto"
)

// unixClient is connected to a server through a unix socket, where the kernel does not say when the
// client last read.
func unixClient(t *testing.T) (*Server, Session, net.Conn, *Clock) {
	t.Helper()
	opened := make(chan Session, 1)
	s, err := NewServer(Config{Routes: []Route{{Path: "/", Mode: NeverBlocks, Handler: HandlerFuncs{
		Open: func(s Session, _ *wsproto.Request) { opened <- s },
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	clock := UseClock(s)
	addr, err := s.Listen("unix:" + filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(100 * time.Second)); err != nil {
		t.Fatal(err)
	}
	br, _, err := ws.Dialer{}.Upgrade(c, &url.URL{Scheme: "ws", Host: "x", Path: "/"})
	if err != nil || br != nil {
		t.Fatal("handshake: ", br, err)
	}
	return s, waits.Receive(t, opened, "the session"), c, clock
}

// A client that neither reads nor sends is evicted, although it is sent more all the time. What it
// is sent is not a sign of its life.
func TestSilentUnixClientIsEvicted(t *testing.T) {
	t.Parallel()
	s, client, _, clock := unixClient(t)
	for _, d := range []time.Duration{
		DefaultPingInterval * 11 / 10, // it is pinged
		DefaultPingTimeout + time.Second,
		DefaultPingTimeout + time.Second, // the time to compare what is unread with what was
	} {
		if n := s.Stats().Sessions; n != 1 {
			t.Fatalf("%d sessions, evicted: %v", n, s.Stats().Evictions)
		}
		if err := client.SendText("more"); err != nil {
			t.Fatal(err)
		}
		clock.Pass(t, d)
	}
	waits.Eventually(t, func() bool { return s.Stats().Evictions["ping_timeout"] == 1 }, "the client is evicted")
}

// A client that reads all the time, but slowly, does not come to the ping in time, and is not
// evicted.
func TestSlowUnixReaderIsAlive(t *testing.T) {
	t.Parallel()
	const messages, size, frame = 40, 1 << 10, 1<<10 + 4
	s, client, c, clock := unixClient(t)
	for range messages {
		if err := client.SendBinary(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Stats().QueueBytes; n != 0 {
		t.Fatalf("%d bytes are queued, want all in the kernel", n)
	}
	for range messages / 2 {
		if _, err := io.CopyN(io.Discard, c, 2*frame); err != nil {
			t.Fatalf("%v; evicted: %v", err, s.Stats().Evictions)
		}
		clock.Pass(t, 10*time.Second)
	}
	if st := s.Stats(); st.Sessions != 1 || st.PingsSent < 2 {
		t.Errorf("%d sessions, %d pings, evicted: %v", st.Sessions, st.PingsSent, st.Evictions)
	}
}
