package session_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
)

// pingPong sends a masked frame and reads the echo, with no allocation of its own.
type pingPong struct {
	c          *wstest.Client
	frame, got []byte
}

func newPingPong(tb testing.TB, size int, inline bool) *pingPong {
	tb.Helper()
	s, err := session.NewServer(session.Config{Routes: []session.Route{{Path: "/", Handler: session.Echo{}, Mode: loopIf(inline)}}})
	if err != nil {
		tb.Fatal(err)
	}
	addr, err := s.Listen("127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	c := wstest.Dial(tb, addr.String(), "/")
	payload := bytes.Repeat([]byte("ä"), size/2)
	answer := ws.MustCompileFrame(ws.NewTextFrame(payload))
	return &pingPong{c, ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame(payload))), make([]byte, len(answer))}
}

func (p *pingPong) round() {
	if _, err := p.c.Conn.Write(p.frame); err != nil {
		p.c.Fatal(err)
	}
	for n := 0; n < len(p.got); {
		k, err := p.c.Conn.Read(p.got[n:])
		if err != nil {
			p.c.Fatal(err)
		}
		n += k
	}
}

// A complete frame is read, parsed, unmasked, checked, echoed and written without an
// allocation, from socket to socket.
func TestEchoAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for name, inline := range map[string]bool{"loop": true, "worker": false} {
		t.Run(name, func(t *testing.T) {
			p := newPingPong(t, 128, inline)
			if n := testing.AllocsPerRun(2000, p.round); n != 0 {
				t.Errorf("%v allocations a message", n)
			}
		})
	}
}

// A string is sent as it lies.
func TestSendTextAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	cfg, opened := opener()
	_, addr := wstest.Serve(t, cfg)
	c := wstest.Dial(t, addr, "/")
	s, text, got := waits.Receive(t, opened, "the call of OnOpen"), strings.Repeat("x", 1000), make([]byte, 1004)
	if n := testing.AllocsPerRun(500, func() {
		if err := s.SendText(text); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(c.Reader, got); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a message", n)
	}
}

func BenchmarkEcho(b *testing.B) {
	for _, tt := range []struct {
		name   string
		size   int
		inline bool
	}{
		{"loop/128B", 128, true},
		{"worker/128B", 128, false},
		{"loop/4KiB", 4 << 10, true},
	} {
		b.Run(tt.name, func(b *testing.B) {
			p := newPingPong(b, tt.size, tt.inline)
			b.SetBytes(int64(tt.size))
			b.ReportAllocs()
			for b.Loop() {
				p.round()
			}
		})
	}
}
