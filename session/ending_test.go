package session_test

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// A client that is too slow gets what it was sent without a gap, then the Close frame, whatever OnError does.
func TestTooSlowSeesNoGap(t *testing.T) {
	for name, onError := range map[string]func(session.Session){
		"nothing": func(session.Session) {},
		"Close":   func(s session.Session) { _ = s.Close(4000, "too slow") },
		"Send": func(s session.Session) {
			if err := s.SendBinary(make([]byte, 4)); err == nil {
				t.Error("a message was accepted behind a gap")
			}
		},
	} {
		for _, why := range []string{"queue full", "stalled"} {
			t.Run(name+", "+why, func(t *testing.T) {
				opened, faults := make(chan session.Session, 1), make(chan error, 1)
				cfg := oneRoute(session.HandlerFuncs{
					Open:  func(s session.Session, _ *wsproto.Request) { opened <- s },
					Error: func(s session.Session, err error) { onError(s); faults <- err },
				})
				if why == "stalled" {
					cfg.Reactor.WriteStall = 20 * time.Millisecond
				}
				c := dialUnix(t, cfg) // its buffer is small
				s := waits.Receive(t, opened, "the call of OnOpen")
				p := make([]byte, 2000)
				for n := uint32(1); why == "queue full" || s.BufferedAmount() < 100_000; n++ {
					binary.BigEndian.PutUint32(p, n)
					if err := s.SendBinary(p); err != nil { // it may stall before all are sent
						break
					}
				}
				if err := waits.Receive(t, faults, "the call of OnError"); !errors.Is(err, session.ErrTooSlow) {
					t.Errorf("OnError(%v)", err)
				}
				for last := uint32(0); ; last++ {
					f := c.Read()
					if f.Header.OpCode == ws.OpClose {
						return
					}
					if got := binary.BigEndian.Uint32(f.Payload); got != last+1 {
						t.Fatalf("message %d behind %d", got, last)
					}
				}
			})
		}
	}
}

// A client that does not stop sending after our Close frame has twice CloseTimeout, not for ever.
func TestFloodAfterClose(t *testing.T) {
	const timeout = 100 * time.Millisecond
	opened, ended := make(chan session.Session, 1), make(ends, 1)
	cfg := oneRoute(session.HandlerFuncs{
		Open:  func(s session.Session, _ *wsproto.Request) { opened <- s },
		Close: func(_ session.Session, c session.CloseInfo) { ended <- c },
	})
	cfg.Reactor.CloseTimeout = timeout
	srv, addr := wstest.Serve(t, cfg)
	c := wstest.Dial(t, addr, "/")
	s := waits.Receive(t, opened, "the call of OnOpen")
	begin := srv.Now()
	if err := s.Close(4000, ""); err != nil {
		t.Fatal(err)
	}
	one := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte("x"))))
	flood := make([]byte, 0, 1<<20)
	for len(flood)+len(one) <= cap(flood) {
		flood = append(flood, one...)
	}
	go func() { // ends with the connection
		for {
			if _, err := c.Conn.Write(flood); err != nil {
				return
			}
		}
	}()
	ended.want(t, session.CloseInfo{Code: 4000, Initiator: session.ByServer})
	// Each client is looked at four times a second; of the rest is plenty.
	if took := srv.Now() - begin; took > 2*timeout+time.Second {
		t.Errorf("it was given up on after %v of the gateway's time", took)
	}
}

// "No bound" may be said with the largest number.
func TestLargestSettings(t *testing.T) {
	opened := make(chan session.Session, 1)
	cfg := oneRoute(session.HandlerFuncs{Open: func(s session.Session, _ *wsproto.Request) { opened <- s }})
	cfg.SessionChannels = math.MaxInt
	cfg.ControlBurst, cfg.ControlRate = math.MaxInt, 1
	cfg.PingInterval, cfg.PingTimeout = 1<<32*time.Millisecond, 1<<32*time.Millisecond // 0 in 32 bits of milliseconds
	cfg.Reactor.WriteStall = math.MaxInt64
	srv, addr := wstest.Serve(t, cfg)
	c := wstest.Dial(t, addr, "/")
	s := waits.Receive(t, opened, "the call of OnOpen")
	if err := errors.Join(s.SetUser("u"), s.Join("a"), s.Join("b")); err != nil {
		t.Error(err)
	}
	for range 300 { // more than the default burst
		c.Send(ws.NewPingFrame(nil))
		c.Want(ws.OpPong, "")
	}
	begin := srv.Now()
	waits.Eventually(t, func() bool { return srv.Now() > begin+time.Second }, "a second has passed for the server") // it has been looked at
	c.Send(ws.NewPingFrame([]byte("end")))
	c.Want(ws.OpPong, "end") // and not a ping
}

func TestBroadcastRefusesWhatIsNoMessage(t *testing.T) {
	b := session.NewBroadcast()
	srv, addr := wstest.Serve(t, oneRoute(b))
	c := wstest.Dial(t, addr, "/")
	c.SendText("in") // OnOpen has returned when it is back
	c.Want(ws.OpText, "in")
	if err := b.Send(session.Prepare(wsproto.OpPing, nil)); !errors.Is(err, session.ErrPayload) {
		t.Errorf("a ping: %v", err)
	}
	if n := srv.Stats().Channels.Publications; n != 1 {
		t.Errorf("%d publications counted, want 1", n)
	}
}
