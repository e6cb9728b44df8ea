package session

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// A caller that was held up must not overwrite what its successor in the slot has noted.
func TestBeginIsForOneGeneration(t *testing.T) {
	var rec record
	first, second := netpoll.MakeConn(0, 1), netpoll.MakeConn(0, 2)
	if !rec.begin(first, ByTransport, 1006) || rec.begin(first, ByServer, 1000) {
		t.Error("not just the first of a session begins to end it")
	}
	if !rec.begin(second, ByServer, 4000) {
		t.Error("a new session cannot begin to end")
	}
	if rec.begin(first, ByServer, 1000) || !rec.closing(second) {
		t.Error("a late call for the old session overwrote the new one's end")
	}
	if by, code := rec.end(); by != ByServer || code != 4000 {
		t.Errorf("ended by %v with %d", by, code)
	}
}

// heldUp is a transport that holds up the first last message.
type heldUp struct {
	transport
	first          atomic.Bool
	entered, leave chan struct{}
}

func (h *heldUp) Send(c conn, m netpoll.Message) error {
	if m.Final && h.first.CompareAndSwap(false, true) {
		close(h.entered)
		<-h.leave
	}
	return h.transport.Send(c, m)
}

// The application has begun to close and not come to send its Close frame when the client's
// arrives: one must be sent all the same, and only one.
func TestCloseFrameWhenBothBegin(t *testing.T) {
	opened, ended := make(chan Session, 1), make(chan CloseInfo, 1)
	s, err := NewServer(Config{Routes: []Route{{Path: "/", Mode: NeverBlocks, Handler: HandlerFuncs{
		Open:  func(s Session, _ *wsproto.Request) { opened <- s },
		Close: func(_ Session, c CloseInfo) { ended <- c },
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h := &heldUp{transport: s.tr, entered: make(chan struct{}), leave: make(chan struct{})}
	s.tr = h
	addr, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	c, r := connected(t, addr.String())
	defer c.Close()
	ses := waits.Receive(t, opened, "the call of OnOpen")
	closed := make(chan error, 1)
	go func() { closed <- ses.Close(4000, "late") }()
	waits.Receive(t, h.entered, "the first Close frame")
	_, _ = c.Write([]byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8}) // Close 1000
	if info := waits.Receive(t, ended, "the call of OnClose"); info != (CloseInfo{Code: 4000, Initiator: ByServer, Clean: true}) {
		t.Errorf("OnClose(%+v)", info)
	}
	close(h.leave)
	if err := waits.Receive(t, closed, "the end of Close"); err != nil {
		t.Errorf("Close: %v", err)
	}
	if got, err := io.ReadAll(r); string(got) != "\x88\x02\x0f\xa0" || err != nil {
		t.Errorf("the client read % x, %v", got, err)
	}
}

// connected returns a client after its handshake.
func connected(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	r := bufio.NewReader(c)
	if res, err := http.ReadResponse(r, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	return c, r
}
