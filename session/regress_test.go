package session_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

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
	s := <-opened
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
		if got := <-e; uint16(got.Code) != uint16(code) || got.Initiator != session.ByServer {
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
			if err := <-late; !errors.Is(err, session.ErrClosed) {
				t.Errorf("Send in OnClose: %v", err)
			}
		})
	}
}

// What counts is the pause, however long the message has been going on, and however the frames fall into the
// reads.
func TestStallTimeoutIsForPauses(t *testing.T) {
	cfg := oneRoute(session.Echo{})
	cfg.StallTimeout, cfg.MinRate = 600*time.Millisecond, 1
	_, addr := wstest.Serve(t, cfg)
	c := wstest.Dial(t, addr, "/")
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()

	// A fragment every 0.3 s, cut in the middle of the next one's header.
	first := ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(ws.OpText, false, []byte("a"))))
	next := ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(ws.OpContinuation, false, []byte("a"))))
	last := ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(ws.OpContinuation, true, []byte("z"))))
	stream := append([]byte(nil), first...)
	const fragments = 6
	for range fragments {
		stream = append(stream, next...)
	}
	stream = append(stream, last...)
	for p := stream; len(p) > 0; {
		n := min(len(next), len(p))
		if len(p) == len(stream) {
			n = len(first) + 3
		}
		if _, err := c.Write(p[:n]); err != nil {
			t.Fatal(err)
		}
		p = p[n:]
		<-tick.C
	}
	c.Want(ws.OpText, strings.Repeat("a", fragments+1)+"z")

	// Whole messages every 0.3 s, each read ending inside the next one.
	message := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte("m"))))
	stream = []byte(strings.Repeat(string(message), 6))
	for p := stream; len(p) > 0; {
		n := min(len(message), len(p))
		if len(p) == len(stream) {
			n = 3
		}
		if _, err := c.Write(p[:n]); err != nil {
			t.Fatal(err)
		}
		p = p[n:]
		<-tick.C
	}
	for range 6 {
		c.Want(ws.OpText, "m")
	}
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
	opened := make(chan session.Session, 1)
	e := make(ends, 1)
	cfg := oneRoute(session.HandlerFuncs{
		Open:  func(s session.Session, _ *wsproto.Request) { opened <- s },
		Close: func(_ session.Session, c session.CloseInfo) { e <- c },
	})
	cfg.PingInterval, cfg.PingTimeout = 300*time.Millisecond, 300*time.Millisecond
	cfg.Reactor.QueueBytes = 64 << 20
	_, addr := wstest.Serve(t, cfg)
	c := wstest.Dial(t, addr, "/")
	s := <-opened
	const size = 12 << 20
	if err := s.SendBinary(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	pong := ws.MustCompileFrame(ws.MaskFrame(ws.NewPongFrame(nil)))
	buf := make([]byte, 512<<10)
	for read := 0; read < size; {
		n, err := c.Reader.Read(buf)
		if err != nil {
			t.Fatalf("after %d bytes: %v", read, err)
		}
		read += n
		if read%(512<<10) < n {
			<-tick.C
			if _, err := c.Write(pong); err != nil {
				t.Fatal(err)
			}
		}
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
