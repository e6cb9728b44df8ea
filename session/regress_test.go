package session_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// A handler that answers a full queue with a Close of its own is heard: the queue is dropped,
// its Close frame is not.
func TestCloseFrameSurvivesTheQueue(t *testing.T) {
	opened := make(chan session.Session, 1)
	e := make(ends, 1)
	cfg := oneRoute(session.HandlerFuncs{
		Open:  func(s session.Session, _ *wsproto.Request) { opened <- s },
		Close: func(_ session.Session, c session.CloseInfo) { e <- c },
	})
	_, addr := wstest.Serve(t, cfg)
	c := wstest.Dial(t, addr, "/")
	s := waits.Receive(t, opened, "the call of OnOpen")
	for {
		err := s.SendBinary(make([]byte, 64<<10))
		if errors.Is(err, session.ErrQueueFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(4000, "slow"); err != nil && !errors.Is(err, session.ErrClosed) {
		t.Fatal(err)
	}
	for {
		f := c.Read() // what had been begun comes first
		if f.Header.OpCode != ws.OpClose {
			continue
		}
		code, _ := ws.ParseCloseFrameDataUnsafe(f.Payload)
		if code != 4000 && code != 1013 { // the overflow's own turn may have been first
			t.Errorf("Close frame with %d", code)
		}
		if got := waits.Receive(t, e, "the call of OnClose"); uint16(got.Code) != uint16(code) || got.Initiator != session.ByServer {
			t.Errorf("the client read %d, OnClose got %+v", code, got)
		}
		return
	}
}

func TestSendingIsOverInOnClose(t *testing.T) {
	for name, end := range map[string]func(c *wstest.Client){
		"cut":      func(c *wstest.Client) { c.Close() },
		"half cut": func(c *wstest.Client) { _ = c.Conn.(interface{ CloseWrite() error }).CloseWrite() },
		"close":    func(c *wstest.Client) { c.Send(ws.NewCloseFrame(nil)) },
		"error":    func(c *wstest.Client) { _, _ = c.Write([]byte{0xff, 0xff}) },
	} {
		t.Run(name, func(t *testing.T) {
			late := make(chan error, 1)
			_, addr := wstest.Serve(t, oneRoute(session.HandlerFuncs{
				Close: func(s session.Session, _ session.CloseInfo) { late <- s.SendText("late") },
			}))
			end(wstest.Dial(t, addr, "/"))
			if err := waits.Receive(t, late, "the call of OnClose"); !errors.Is(err, session.ErrClosed) {
				t.Errorf("Send in OnClose: %v", err)
			}
		})
	}
}

// What counts is the pause, however long the message has been going on, and however the frames fall into the
// reads.
func TestStallTimeoutIsForPauses(t *testing.T) {
	t.Parallel()
	cfg := oneRoute(session.Echo{})
	cfg.StallTimeout, cfg.MinRate, cfg.PingInterval = 10*time.Second, 1, time.Hour
	s := pausing(t, cfg)

	// A fragment every 9 s, cut in the middle of the next one's header.
	first := ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(ws.OpText, false, []byte("aaaaaaaaaa"))))
	next := ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(ws.OpContinuation, false, []byte("aaaaaaaaaa"))))
	last := ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(ws.OpContinuation, true, []byte("z"))))
	const fragments = 5
	stream := slices.Concat(first, bytes.Repeat(next, fragments), last)
	s.write(stream[:len(first)+3])
	for p := stream[len(first)+3:]; len(p) > 0; p = p[min(len(next), len(p)):] {
		s.Pass(t, 9*time.Second)
		s.write(p[:min(len(next), len(p))])
	}
	s.WantText(strings.Repeat("a", 10*(fragments+1)) + "z")

	// Whole messages every 9 s, each read ending inside the next one.
	message := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte("m"))))
	stream = bytes.Repeat(message, 3)
	s.write(stream[:3])
	for p := stream[3:]; len(p) > 0; p = p[min(len(message), len(p)):] {
		s.Pass(t, 9*time.Second)
		s.write(p[:min(len(message), len(p))])
	}
	for range 3 {
		s.WantText("m")
	}
}

// pauser is a client that lets time pass between what it sends.
type pauser struct {
	*wstest.Client
	*session.Clock
	srv  *session.Server
	sent uint64
}

// pausing starts a server, and connects a client to it.
func pausing(t *testing.T, cfg session.Config) *pauser {
	t.Helper()
	srv := wstest.New(t, cfg)
	p := &pauser{srv: srv, Clock: session.UseClock(srv)}
	p.Client = wstest.Dial(t, wstest.Start(t, srv, "127.0.0.1:0"), "/")
	p.sent = srv.Stats().ReadBytes
	return p
}

// write sends bytes, and waits until the server has read them.
func (p *pauser) write(b []byte) {
	p.Helper()
	p.SendBytes(b)
	p.sent += uint64(len(b))
	waits.Becomes(p, func() uint64 { return p.srv.Stats().ReadBytes }, p.sent, "bytes that the server has read")
}

// What is received fast does not buy time for a stall afterwards.
func TestStallAfterFastStart(t *testing.T) {
	e := make(ends, 1)
	cfg := oneRoute(session.HandlerFuncs{Close: func(_ session.Session, c session.CloseInfo) { e <- c }})
	cfg.StallTimeout, cfg.MinRate = 500*time.Millisecond, 1000
	_, addr := wstest.Serve(t, cfg)
	c := wstest.Dial(t, addr, "/")
	frame := ws.MustCompileFrame(ws.MaskFrame(ws.NewBinaryFrame(make([]byte, 1<<20))))
	begun := time.Now()
	if _, err := c.Write(frame[:len(frame)-1]); err != nil {
		t.Fatal(err)
	}
	e.want(t, session.CloseInfo{Code: 1008, Initiator: session.ByServer})
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("closed after %v", d)
	}
}

// A client that keeps reading, slowly, and answers pings is alive, although the gateway does not
// read it while so much waits for it.
func TestBackPressureIsNoSilence(t *testing.T) {
	t.Parallel()
	opened := make(chan session.Session, 1)
	e := make(ends, 1)
	cfg := oneRoute(session.HandlerFuncs{
		Open:  func(s session.Session, _ *wsproto.Request) { opened <- s },
		Close: func(_ session.Session, c session.CloseInfo) { e <- c },
	})
	cfg.PingInterval, cfg.PingTimeout = 10*time.Second, 10*time.Second
	cfg.Reactor.QueueBytes = 64 << 20
	p := pausing(t, cfg)
	s := waits.Receive(t, opened, "the session")
	const size, step = 24 << 20, 3 << 20
	if err := s.SendBinary(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	for read := 0; read < size; read += step {
		p.Pass(t, 8*time.Second)
		if n, err := io.CopyN(io.Discard, p.Reader, step); err != nil {
			t.Fatalf("after %d bytes: %v", read+int(n), err)
		}
		p.Send(ws.NewPongFrame(nil))
	}
	select {
	case end := <-e:
		t.Errorf("OnClose(%+v)", end)
	default:
	}
}

// Thousands of tiny frames are served in many turns, all of them, in order.
func TestTinyFrames(t *testing.T) {
	for name, inline := range map[string]bool{"loop": true, "worker": false} {
		t.Run(name, func(t *testing.T) {
			const n = 20000
			got := make(chan byte, n+1)
			s, addr := wstest.Serve(t, session.Config{Routes: []session.Route{{Path: "/", Mode: loopIf(inline), Handler: session.HandlerFuncs{
				Message: func(_ session.Session, m session.Message) { got <- m.Data[0] },
				Close:   func(session.Session, session.CloseInfo) { close(got) },
			}}}})
			c := wstest.Dial(t, addr, "/")
			var stream []byte
			for i := range n {
				stream = append(stream, ws.MustCompileFrame(ws.MaskFrame(ws.NewBinaryFrame([]byte{byte(i)})))...)
			}
			stream = append(stream, ws.MustCompileFrame(ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, ""))))...)
			if _, err := c.Write(stream); err != nil {
				t.Fatal(err)
			}
			c.WantClose(1000)
			i := 0
			for b := range got {
				if b != byte(i) {
					t.Fatalf("message %d is %d", i, b)
				}
				i++
			}
			if i != n {
				t.Errorf("%d messages of %d", i, n)
			}
			if st := s.Stats(); st.LoopTurns+st.WorkerTurns < n/64 {
				t.Errorf("%d messages in %d turns", n, st.LoopTurns+st.WorkerTurns)
			}
		})
	}
}
