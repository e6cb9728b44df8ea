package session_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// farewellRoute closes its sessions as their messages say, and bids them farewell by the code.
func farewellRoute(t *testing.T, ended ends) session.Route {
	return session.Route{
		Path: "/", Mode: session.NeverBlocks,
		Handler: session.HandlerFuncs{
			Message: func(s session.Session, m session.Message) {
				switch string(m.Data) {
				case "close":
					_ = s.Close(4000, "enough")
				case "none":
					_ = s.Close(4001, "")
				case "no UTF-8":
					_ = s.Close(4002, "")
				case "worse":
					_ = s.Close(4003, "")
				default:
					panic("as it was told")
				}
			},
			Close: func(_ session.Session, c session.CloseInfo) { ended <- c },
		},
		Farewell: func(s session.Session, code wsproto.StatusCode, reason string) []byte {
			if s.Path() != "/" || s.Close(4999, "") == nil {
				t.Error("not asked once, on behalf of the session that ends")
			}
			switch code {
			case 4001:
				return nil
			case 4002:
				return []byte{0xff}
			case 4003:
				panic("at the end")
			}
			return fmt.Appendf(nil, "%d %s", code, reason)
		},
	}
}

// A session is told why it ends by whoever of us ends it, and not where the client's fault or its own end
// is the reason.
func TestFarewell(t *testing.T) {
	type end struct {
		name string
		do   func(*session.Server, *wstest.Client) // what the handler does not do itself
		text string                                // last message, "" for none
		code wsproto.StatusCode                    // in the Close frame behind it
	}
	for _, tt := range []end{
		{"Close", func(_ *session.Server, c *wstest.Client) { c.SendText("close") }, "4000 enough", 4000},
		{"panic", func(_ *session.Server, c *wstest.Client) { c.SendText("panic") }, "1011 internal error", 1011},
		{"no text", func(_ *session.Server, c *wstest.Client) { c.SendText("none") }, "", 4001},
		{"no UTF-8", func(_ *session.Server, c *wstest.Client) { c.SendText("no UTF-8") }, "", 4002},
		{"panicking Farewell", func(_ *session.Server, c *wstest.Client) { c.SendText("worse") }, "", 4003},
		{"client breaks a rule", func(_ *session.Server, c *wstest.Client) { c.Send(ws.NewTextFrame([]byte{0xff})) }, "", 1007},
		{"client closes", func(_ *session.Server, c *wstest.Client) {
			c.Send(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "")))
		}, "", 1000},
		{"Shutdown", func(s *session.Server, _ *wstest.Client) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := s.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		}, "1001 ", 1001},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ended := make(ends, 2)
			s, addr := wstest.Serve(t, session.Config{Routes: []session.Route{farewellRoute(t, ended)}})
			c := wstest.Dial(t, addr, "/")
			done := make(chan struct{})
			go func() { defer close(done); tt.do(s, c) }()
			if tt.text != "" {
				c.Want(ws.OpText, tt.text)
			}
			f := c.Read()
			if got, _ := ws.ParseCloseFrameDataUnsafe(f.Payload); f.Header.OpCode != ws.OpClose || wsproto.StatusCode(got) != tt.code {
				t.Fatalf("read opcode %v %q, want a Close frame with %d", f.Header.OpCode, f.Payload, tt.code)
			}
			if tt.name != "client closes" && tt.name != "client breaks a rule" {
				c.Send(f) // the answer
			}
			c.WantEOF()
			waits.Receive(t, done, "the end of the test case")
			if info := waits.Receive(t, ended, "the call of OnClose"); info.Code != tt.code {
				t.Errorf("OnClose(%+v)", info)
			}
			want := uint64(0)
			if tt.text != "" {
				want = 1
			}
			if got := s.Stats().SentText; got != want {
				t.Errorf("%d messages counted, want %d", got, want)
			}
			panics := map[string]uint64{"panic": 1, "panicking Farewell": 1}[tt.name]
			if got := s.Stats().HandlerPanics; got != panics {
				t.Errorf("%d panics counted, want %d", got, panics)
			}
		})
	}
}

// The Close frame is sent even if Farewell ends the goroutine.
func TestFarewellGoexit(t *testing.T) {
	opened := make(chan session.Session, 1)
	_, addr := wstest.Serve(t, session.Config{Routes: []session.Route{{
		Path: "/", Mode: session.NeverBlocks,
		Handler:  session.HandlerFuncs{Open: func(s session.Session, _ *wsproto.Request) { opened <- s }},
		Farewell: func(session.Session, wsproto.StatusCode, string) []byte { runtime.Goexit(); return nil },
	}}})
	c := wstest.Dial(t, addr, "/")
	s := waits.Receive(t, opened, "the call of OnOpen")
	go s.Close(4000, "")
	f := c.Read()
	if got, _ := ws.ParseCloseFrameDataUnsafe(f.Payload); f.Header.OpCode != ws.OpClose || got != 4000 {
		t.Fatalf("read opcode %v %q, want a Close frame with 4000", f.Header.OpCode, f.Payload)
	}
	c.Send(f)
	c.WantEOF()
}
