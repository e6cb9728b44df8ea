package session_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

func frames(n int, f func(i int) ws.Frame) []byte {
	var b bytes.Buffer
	for i := range n {
		_ = ws.WriteFrame(&b, ws.MaskFrame(f(i)))
	}
	return b.Bytes()
}

// A hundred pings at once are no flood: all are answered, and the last is answered last.
func TestPingBurst(t *testing.T) {
	_, addr := wstest.Serve(t, oneRoute(session.Echo{}))
	c := wstest.Dial(t, addr, "/")
	if _, err := c.Write(frames(100, func(i int) ws.Frame { return ws.NewPingFrame(fmt.Append(nil, i)) })); err != nil {
		t.Fatal(err)
	}
	last := -1
	for last < 99 {
		var i int
		if f := c.Read(); f.Header.OpCode != ws.OpPong {
			t.Fatalf("opcode %v", f.Header.OpCode)
		} else if _, err := fmt.Sscan(string(f.Payload), &i); err != nil || i <= last {
			t.Fatalf("pong %q after %d", f.Payload, last)
		}
		last = i
	}
	c.SendText("still here")
	c.Want(ws.OpText, "still here")
}

func TestControlFlood(t *testing.T) {
	for name, frame := range map[string]func(int) ws.Frame{
		"pings": func(int) ws.Frame { return ws.NewPingFrame(nil) },
		"pongs": func(int) ws.Frame { return ws.NewPongFrame(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			h, e := recorder()
			cfg := oneRoute(h)
			cfg.ControlRate, cfg.ControlBurst, cfg.ControlPatience = 10, 20, 100*time.Millisecond
			s, addr := wstest.Serve(t, cfg)
			c := wstest.Dial(t, addr, "/")
			_, _ = c.Write(frames(100, frame))
			c.WantClose(1008)
			e.want(t, session.CloseInfo{Code: wsproto.StatusPolicyViolation, Initiator: session.ByServer})
			st := s.Stats()
			if n := st.Evictions["control_flood"]; n != 1 {
				t.Errorf("%d evictions counted", n)
			}
			if st.Throttled < 2 { // it had its chance
				t.Errorf("reading stopped %d times", st.Throttled)
			}
			if n := st.PingsReceived + st.PongsReceived; n > 60 {
				t.Errorf("%d of them were read", n)
			}
		})
	}
}

// Who sends a few more than it may is slowed down, and loses nothing.
func TestControlRateStopsReading(t *testing.T) {
	cfg := oneRoute(session.Echo{})
	cfg.ControlRate, cfg.ControlBurst = 4, 20
	s, addr := wstest.Serve(t, cfg)
	c := wstest.Dial(t, addr, "/")
	began := time.Now()
	_, _ = c.Write(frames(24, func(i int) ws.Frame { return ws.NewPingFrame(fmt.Append(nil, i)) }))
	c.SendText("behind them")
	for i := range 24 {
		c.Want(ws.OpPong, fmt.Sprint(i))
	}
	c.Want(ws.OpText, "behind them")
	if took := time.Since(began); took < 750*time.Millisecond { // for three tokens
		t.Errorf("all were read within %v", took)
	}
	if st := s.Stats(); st.Throttled == 0 || st.Evictions["control_flood"] != 0 {
		t.Errorf("reading stopped %d times, evictions: %v", st.Throttled, st.Evictions)
	}
}

// A client that pings and reads nothing has a bounded number of pongs waiting, and then sees the
// latest.
func TestPingsOfClientThatDoesNotRead(t *testing.T) {
	const pings = 5000
	route := session.Route{Path: "/", Mode: session.NeverBlocks, MaxMessage: 32 << 20, Handler: session.HandlerFuncs{Message: func(s session.Session, m session.Message) {
		_ = s.Send(m.Opcode, m.Data)
	}}}
	cfg := session.Config{Routes: []session.Route{route}, ControlRate: 1, ControlBurst: 2 * pings}
	cfg.Reactor.QueueBytes = 64 << 20
	cfg.Reactor.ReadHighWater = 63 << 20 // pings are read although output waits
	s, addr := wstest.Serve(t, cfg)
	c := wstest.Dial(t, addr, "/")
	big := bytes.Repeat([]byte("x"), 24<<20) // more than the two sockets take
	c.Send(ws.NewBinaryFrame(big))
	c.Send(ws.NewBinaryFrame([]byte("behind it")))
	if _, err := c.Write(frames(pings, func(i int) ws.Frame { return ws.NewPingFrame(fmt.Append(nil, i)) })); err != nil {
		t.Fatal(err)
	}
	waits.Becomes(t, func() uint64 { return s.Stats().PingsReceived }, pings, "pings received")
	st := s.Stats()
	if st.QueueMessages > 3 {
		t.Errorf("%d messages wait", st.QueueMessages)
	}
	if st.Superseded != pings-1 {
		t.Errorf("%d pongs superseded", st.Superseded)
	}
	c.Want(ws.OpBinary, string(big))
	c.Want(ws.OpPong, fmt.Sprint(pings-1)) // ahead of what waited
	c.Want(ws.OpBinary, "behind it")
}

func TestFragmentFlood(t *testing.T) {
	cfg := oneRoute(session.Echo{})
	cfg.FragmentRate = 100
	cfg.Routes[0].MaxFragments = 50
	s, addr := wstest.Serve(t, cfg)
	part := func(i int) ws.Frame { // messages of ten parts of an octet
		switch i % 10 {
		case 0:
			return ws.NewFrame(ws.OpText, false, []byte("a"))
		case 9:
			return ws.NewFrame(ws.OpContinuation, true, []byte("a"))
		}
		return ws.NewFrame(ws.OpContinuation, false, []byte("a"))
	}
	c := wstest.Dial(t, addr, "/")
	if _, err := c.Write(frames(100, part)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		c.Want(ws.OpText, "aaaaaaaaaa")
	}
	_, _ = c.Write(frames(500, part))
	c.WantClose(1008)
	if n := s.Stats().Evictions["fragment_flood"]; n != 1 {
		t.Errorf("%d evictions counted", n)
	}
	// Fragments of some size are not limited, nor are messages of one frame.
	c = wstest.Dial(t, addr, "/")
	large := bytes.Repeat([]byte("b"), wsproto.TinyFragment)
	for range 50 {
		go func() {
			_, _ = c.Write(frames(10, func(i int) ws.Frame {
				f := part(i)
				f.Payload, f.Header.Length = bytes.Clone(large), int64(len(large))
				return f
			}))
		}()
		c.Want(ws.OpText, string(bytes.Repeat(large, 10)))
	}
	for range 300 {
		c.SendText("c")
		c.Want(ws.OpText, "c")
	}
}

// The pieces of compressed messages may be small, but not empty without end.
func TestFragmentFloodCompressed(t *testing.T) {
	cfg := deflating(session.Echo{})
	cfg.FragmentRate = 100
	cfg.Routes[0].MaxFragments = 50
	_, addr := wstest.Serve(t, cfg)
	c := wstest.DialWith(t, addr, "/", offerDeflate)
	message := func(n int) []byte {
		var b bytes.Buffer
		first := ws.NewFrame(ws.OpText, false, nil)
		first.Header.Rsv = rsv1
		_ = ws.WriteFrame(&b, ws.MaskFrame(first))
		b.Write(frames(n, func(int) ws.Frame { return ws.NewFrame(ws.OpContinuation, false, nil) }))
		_ = ws.WriteFrame(&b, ws.MaskFrame(ws.NewFrame(ws.OpContinuation, true, []byte("\x00"))))
		return b.Bytes()
	}
	_, _ = c.Write(message(40))
	c.Want(ws.OpText, "")
	for range 10 {
		_, _ = c.Write(message(40))
	}
	c.WantClose(1008)
}
