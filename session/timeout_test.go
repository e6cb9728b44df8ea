package session_test

import (
	"io"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// What a client begins it has to complete in time, whatever it leaves undone.
func TestTimeouts(t *testing.T) {
	type step func(c *wstest.Client)
	write := func(p ...byte) step { return func(c *wstest.Client) { _, _ = c.Write(p) } }
	for name, tt := range map[string]struct {
		do       step
		want     wsproto.StatusCode // of the Close frame; 0: the connection just ends
		eviction string
		end      session.CloseInfo
	}{
		"half a header": {
			write(0x81), wsproto.StatusPolicyViolation, "message_timeout",
			session.CloseInfo{Code: wsproto.StatusPolicyViolation, Initiator: session.ByServer},
		},
		"half a payload": {
			write(0x82, 0x84, 0, 0, 0, 0, 1, 2), wsproto.StatusPolicyViolation, "message_timeout",
			session.CloseInfo{Code: wsproto.StatusPolicyViolation, Initiator: session.ByServer},
		},
		"half a message": {
			func(c *wstest.Client) { c.Send(ws.NewFrame(ws.OpText, false, []byte("a"))) }, wsproto.StatusPolicyViolation, "message_timeout",
			session.CloseInfo{Code: wsproto.StatusPolicyViolation, Initiator: session.ByServer},
		},
		"no answer to our Close": {
			func(c *wstest.Client) { c.SendText("close") }, 4000, "close_timeout",
			session.CloseInfo{Code: 4000, Initiator: session.ByServer},
		},
		"no answer to pings": {
			func(*wstest.Client) {}, 0, "ping_timeout",
			session.CloseInfo{Code: wsproto.StatusAbnormal, Initiator: session.ByServer},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := make(ends, 1)
			cfg := oneRoute(session.HandlerFuncs{
				Message: func(s session.Session, m session.Message) {
					if string(m.Data) == "close" {
						_ = s.Close(4000, "")
						return
					}
					_ = s.Send(m.Opcode, m.Data)
				},
				Close: func(_ session.Session, c session.CloseInfo) { e <- c },
			})
			cfg.StallTimeout = 500 * time.Millisecond
			cfg.Reactor.CloseTimeout = 500 * time.Millisecond
			cfg.PingInterval, cfg.PingTimeout = time.Second, time.Second
			if tt.eviction != "ping_timeout" {
				cfg.PingInterval = time.Hour
			}
			s, addr := wstest.Serve(t, cfg)
			c := wstest.Dial(t, addr, "/")
			tt.do(c)
			for {
				f, err := wstest.ReadFrame(c.Reader)
				if err != nil {
					if tt.want != 0 {
						t.Fatal(err)
					}
					break
				}
				if f.Header.OpCode == ws.OpPing {
					continue // and let it wait
				}
				code, _ := ws.ParseCloseFrameDataUnsafe(f.Payload)
				if wsproto.StatusCode(code) != tt.want {
					t.Fatalf("opcode %v, code %d", f.Header.OpCode, code)
				}
				break
			}
			_, _ = io.Copy(io.Discard, c.Reader) // until the server has closed the connection
			e.want(t, tt.end)
			if st := s.Stats(); st.Evictions[tt.eviction] != 1 {
				t.Errorf("evictions %v", st.Evictions)
			}
		})
	}
}

// A message may take longer than the timeout as long as bytes keep coming at MinRate, and a
// client that answers pings may be silent for ever.
func TestSlowButAlive(t *testing.T) {
	t.Parallel()
	cfg := oneRoute(session.Echo{})
	cfg.StallTimeout, cfg.MinRate = 10*time.Second, 100
	cfg.PingInterval, cfg.PingTimeout = 5*time.Second, 5*time.Second
	p := pausing(t, cfg)
	const piece, pieces = 1000, 6
	frame := ws.MustCompileFrame(ws.MaskFrame(ws.NewBinaryFrame(make([]byte, piece*pieces))))
	for rest := frame; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
		p.write(rest[:min(piece, len(rest))])
		if len(rest) > piece {
			p.Pass(t, 9*time.Second)
		}
	}
	f := p.Read()
	for f.Header.OpCode == ws.OpPing { // bytes that follow answer it
		f = p.Read()
	}
	if f.Header.OpCode != ws.OpBinary || len(f.Payload) != piece*pieces {
		t.Fatalf("opcode %v, %d bytes, want the message", f.Header.OpCode, len(f.Payload))
	}
	for range 4 {
		p.Pass(t, 6*time.Second)
		f := p.Read()
		if f.Header.OpCode != ws.OpPing {
			t.Fatalf("opcode %v, want a ping", f.Header.OpCode)
		}
		p.write(ws.MustCompileFrame(ws.MaskFrame(ws.NewPongFrame(f.Payload))))
	}
	p.SendText("alive")
	p.WantText("alive")
}
