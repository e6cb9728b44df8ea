package echo_test

import (
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"wsgateway/echo"
	"wsgateway/internal/wstest"
	"wsgateway/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A message comes back as it was, to its sender alone.
func TestMessagesComeBack(t *testing.T) {
	var target echo.Target
	srv, addr := wstest.Serve(t, session.Config{Routes: target.Routes("/")})
	a, b := wstest.Dial(t, addr, "/"), wstest.Dial(t, addr, "/")
	for _, text := range []string{"", "hello", strings.Repeat("wörld", 40_000)} {
		a.SendText(text)
		a.WantText(text)
	}
	a.SendBinary([]byte{0, 1, 0xff})
	a.Want(ws.OpBinary, "\x00\x01\xff")
	b.SendText("mine")
	b.WantText("mine") // and nothing before it
	if st := srv.Stats(); st.LoopTurns == 0 {
		t.Errorf("%d turns on the loop, %d on workers: want some on the loop, since an echo is short", st.LoopTurns, st.WorkerTurns)
	}
	a.Leave()
	if err := target.Close(t.Context()); err != nil || target.Counters() != nil {
		t.Errorf("Close: %v, counters %v, want nil and none", err, target.Counters())
	}
}
