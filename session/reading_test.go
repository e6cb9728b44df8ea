package session_test

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// What a paused client has sent is delivered when it is resumed, whoever pauses it.
func TestPauseReading(t *testing.T) {
	got := make(chan string, 100)
	sessions := make(chan session.Session, 1)
	cfg := oneRoute(session.HandlerFuncs{
		Open: func(s session.Session, _ *wsproto.Request) { sessions <- s },
		Message: func(s session.Session, m session.Message) {
			if string(m.Data) == "pause" {
				if err := s.PauseReading(); err != nil {
					t.Error(err)
				}
			}
			got <- string(m.Data)
		},
	})
	cfg.StallTimeout, cfg.PingInterval = 5*time.Second, time.Hour
	for _, inline := range []bool{false, true} {
		cfg.Routes[0].Mode = loopIf(inline)
		srv := wstest.New(t, cfg)
		clock := session.UseClock(srv)
		c := wstest.Dial(t, wstest.Start(t, srv, "127.0.0.1:0"), "/")
		s := waits.Receive(t, sessions, "the call of OnOpen")
		// All in one segment: what is behind the message that pauses is held back too.
		batch := append(frames(1, func(int) ws.Frame { return ws.NewTextFrame([]byte("pause")) }),
			frames(100, func(i int) ws.Frame { return ws.NewTextFrame([]byte(fmt.Sprint(i))) })...)
		batch = append(batch, frames(1, func(int) ws.Frame { return ws.NewPingFrame([]byte("p")) })...)
		batch = append(batch, 0x81, 0x85, 0, 0, 0, 0, 'h', 'a') // and the beginning of a frame
		if _, err := c.Write(batch); err != nil {
			t.Fatal(err)
		}
		if m := waits.Receive(t, got, "a message"); m != "pause" {
			t.Fatalf("%q", m)
		}
		// Longer than a frame may take: this time does not count.
		clock.Pass(t, time.Minute)
		if len(got) > 0 || !s.IsAvailable() {
			t.Fatalf("%d messages came, available: %v", len(got), s.IsAvailable())
		}
		if err := s.ResumeReading(); err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			if m := waits.Receive(t, got, "a message"); m != fmt.Sprint(i) {
				t.Fatalf("%q, want %d", m, i)
			}
		}
		c.Want(ws.OpPong, "p")
		if err := s.PauseReading(); err != nil { // in the middle of a frame
			t.Fatal(err)
		}
		waits.Eventually(t, func() bool { return session.Held(s) }, "a turn has stopped reading")
		clock.Pass(t, time.Minute)
		if err := s.ResumeReading(); err != nil {
			t.Fatal(err)
		}
		clock.Pass(t, time.Second) // the frame still has most of its time
		if _, err := c.Write([]byte("lf!")); err != nil {
			t.Fatal(err)
		}
		if m := waits.Receive(t, got, "the message that was paused inside"); m != "half!" {
			t.Fatalf("%q", m)
		}
		// A closing handshake is completed nevertheless.
		if err := s.PauseReading(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(4000, ""); err != nil {
			t.Fatal(err)
		}
		c.Want(ws.OpClose, "\x0f\xa0")
		c.Send(ws.NewCloseFrame(ws.NewCloseFrameBody(4000, "")))
		c.WantEOF()
		if err := s.ResumeReading(); !errors.Is(err, session.ErrClosed) {
			t.Error(err)
		}
		if st := srv.Stats(); len(st.Evictions) > 0 {
			t.Error(st.Evictions)
		}
	}
}

// Terminate needs nobody's consent.
func TestTerminate(t *testing.T) {
	h, ends := recorder()
	sessions := make(chan session.Session, 1)
	base := h.(session.HandlerFuncs)
	base.Open = func(s session.Session, _ *wsproto.Request) { sessions <- s }
	base.Message = func(s session.Session, _ session.Message) {
		if err := s.Terminate(); err != nil {
			t.Error(err)
		}
	}
	_, addr := wstest.Serve(t, oneRoute(base))
	for _, how := range []func(c *wstest.Client, s session.Session){
		func(c *wstest.Client, s session.Session) { _ = s.Terminate() },
		func(c *wstest.Client, s session.Session) { c.SendText("terminate") },
		func(c *wstest.Client, s session.Session) { _ = s.PauseReading(); _ = s.Terminate() },
	} {
		c := wstest.Dial(t, addr, "/")
		s := waits.Receive(t, sessions, "the call of OnOpen")
		how(c, s)
		if f, err := wstest.ReadFrame(c.Reader); err == nil {
			t.Errorf("read %+v", f)
		}
		ends.want(t, session.CloseInfo{Code: 1006, Initiator: session.ByServer})
		if err := s.Terminate(); !errors.Is(err, session.ErrClosed) {
			t.Error(err)
		}
	}
	// In a closing handshake that the client does not complete, too.
	c := wstest.Dial(t, addr, "/")
	s := waits.Receive(t, sessions, "the call of OnOpen")
	if err := s.Close(4001, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Terminate(); err != nil {
		t.Fatal(err)
	}
	ends.want(t, session.CloseInfo{Code: 4001, Initiator: session.ByServer})
	_ = c
}

func TestLatency(t *testing.T) {
	sessions, ended := make(chan session.Session, 1), make(ends, 1)
	_, addr := wstest.Serve(t, oneRoute(session.HandlerFuncs{
		Open:  func(s session.Session, _ *wsproto.Request) { sessions <- s },
		Close: func(_ session.Session, c session.CloseInfo) { ended <- c },
	}))
	c := wstest.Dial(t, addr, "/")
	s := waits.Receive(t, sessions, "the call of OnOpen")
	if d := s.Latency(); d != 0 {
		t.Errorf("%v before any ping", d)
	}
	for range 2 {
		asked := time.Now()
		if err := s.Ping(); err != nil {
			t.Fatal(err)
		}
		f := c.Read()
		came := time.Now()
		for range 3 { // what no ping of ours has said does not count
			c.Send(ws.NewPongFrame([]byte("12345678")))
		}
		before := s.Latency()
		least := time.Since(came)
		c.Send(ws.NewPongFrame(f.Payload))
		waits.Eventually(t, func() bool { return s.Latency() != before }, "the latency has been measured again")
		// It is in whole microseconds.
		if d, most := s.Latency(), time.Since(asked); d < least-time.Microsecond || d > most+time.Microsecond {
			t.Errorf("latency %v, want between %v and %v", d, least, most)
		}
	}
	c.Close()
	ended.want(t, session.CloseInfo{Code: 1006, Initiator: session.ByTransport})
	if d := s.Latency(); d != 0 {
		t.Errorf("%v after the end", d)
	}
}

// A client that sends more than it may is slowed down, and loses nothing.
func TestRate(t *testing.T) {
	for name, rate := range map[string]session.Rate{
		"messages": {Messages: 200, MessageBurst: 20},
		"bytes":    {Bytes: 20_000, ByteBurst: 2000},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan string, 1000)
			cfg := oneRoute(session.HandlerFuncs{Message: func(_ session.Session, m session.Message) { got <- string(m.Data) }})
			cfg.Routes[0].Rate = rate
			srv, addr := wstest.Serve(t, cfg)
			c := wstest.Dial(t, addr, "/")
			began := time.Now()
			const n = 220
			if _, err := c.Write(frames(n, func(i int) ws.Frame { return ws.NewTextFrame(fmt.Appendf(nil, "%0100d", i)) })); err != nil {
				t.Fatal(err)
			}
			for i := range n {
				if m := waits.Receive(t, got, "a message"); m != fmt.Sprintf("%0100d", i) {
					t.Fatalf("%q, want %d", m, i)
				}
			}
			// 20 at once, and 200 in a second. How much longer depends on the machine.
			if took := time.Since(began); took < 900*time.Millisecond {
				t.Errorf("%d messages in %v", n, took)
			}
			if st := srv.Stats(); st.Throttled == 0 || len(st.Evictions) > 0 {
				t.Errorf("throttled %d times, %v", st.Throttled, st.Evictions)
			}
		})
	}
}

// Who sends too much for too long is closed with 1008.
func TestRateAbuse(t *testing.T) {
	h, ends := recorder()
	cfg := oneRoute(h)
	cfg.Routes[0].Rate = session.Rate{Messages: 50, Patience: 500 * time.Millisecond}
	srv, addr := wstest.Serve(t, cfg)
	c := wstest.Dial(t, addr, "/")
	go func() {
		for {
			if _, err := c.Write(frames(10, func(int) ws.Frame { return ws.NewTextFrame(make([]byte, 1000)) })); err != nil {
				return
			}
		}
	}()
	ends.want(t, session.CloseInfo{Code: wsproto.StatusPolicyViolation, Initiator: session.ByServer})
	if st := srv.Stats(); st.Evictions["rate_limit"] != 1 {
		t.Error(st.Evictions)
	}
}

func TestRateOfConfig(t *testing.T) {
	for _, r := range []session.Rate{{Messages: -1}, {Bytes: -1}, {MessageBurst: 1}, {ByteBurst: 1}, {Messages: 1, Patience: -1}} {
		cfg := oneRoute(session.Echo{})
		cfg.Routes[0].Rate = r
		if _, err := session.NewServer(cfg); err == nil {
			t.Errorf("%+v is accepted", r)
		}
	}
}

// A client that is reset while it is paused is gone at once, or with the next ping.
func TestResetWhilePaused(t *testing.T) {
	for _, abort := range []bool{true, false} {
		h, ends := recorder()
		base := h.(session.HandlerFuncs)
		sessions := make(chan session.Session, 1)
		base.Open = func(s session.Session, _ *wsproto.Request) { _ = s.PauseReading(); sessions <- s }
		cfg := oneRoute(base)
		cfg.PingInterval, cfg.PingTimeout = 200*time.Millisecond, time.Hour
		_, addr := wstest.Serve(t, cfg)
		c := wstest.Dial(t, addr, "/")
		waits.Receive(t, sessions, "the call of OnOpen")
		if abort {
			_ = c.Conn.(*net.TCPConn).SetLinger(0)
		}
		c.Close()
		ends.want(t, session.CloseInfo{Code: 1006, Initiator: session.ByTransport})
	}
}

// Control frames do not give an incomplete message more time, where each of them holds the client
// for a moment.
func TestPingsDoNotExtendMessages(t *testing.T) {
	h, ends := recorder()
	cfg := blockingRoute(h)
	cfg.StallTimeout = 500 * time.Millisecond
	srv, addr := wstest.Serve(t, cfg)
	c := wstest.Dial(t, addr, "/")
	c.Send(ws.NewFrame(ws.OpText, false, []byte("beginning")))
	stop := make(chan struct{})
	var pings sync.WaitGroup
	pings.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				_ = ws.WriteFrame(c, ws.MaskFrame(ws.NewPingFrame(nil)))
			}
		}
	})
	ends.want(t, session.CloseInfo{Code: wsproto.StatusPolicyViolation, Initiator: session.ByServer})
	close(stop)
	pings.Wait()
	if n := srv.Stats().Evictions["message_timeout"]; n != 1 {
		t.Errorf("%d timeouts", n)
	}
}
