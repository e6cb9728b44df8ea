package broadcast_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"wsgateway/broadcast"
	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a server with a target at /b, and returns the routes' server and its address.
func serve(t *testing.T, channel string, cfg session.Config, paths ...string) (*session.Server, string) {
	t.Helper()
	target, err := broadcast.New(channel)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		cfg.Routes = append(cfg.Routes, target.Routes(path)...)
	}
	srv, addr := wstest.Serve(t, cfg)
	t.Cleanup(func() {
		if err := target.Close(t.Context()); err != nil {
			t.Errorf("Close: %v, want nil", err)
		}
	})
	return srv, addr
}

// dial returns clients that have all become members. OnOpen runs in the turn whose output is the 101
// answer, so a client that has read that is one.
func dial(t *testing.T, n int, addr, path string) (list []*wstest.Client) {
	t.Helper()
	for range n {
		list = append(list, wstest.Dial(t, addr, path))
	}
	return list
}

// Every message reaches every client, the sender included, with its type.
func TestEverybodyGetsEveryMessage(t *testing.T) {
	_, addr := serve(t, "all", session.Config{}, "/b")
	clients := dial(t, 10, addr, "/b")
	for _, c := range clients {
		c.SendText("hello")
	}
	for _, c := range clients {
		for range clients {
			c.WantText("hello")
		}
	}
	clients[3].SendBinary([]byte{1, 2, 3})
	for _, c := range clients {
		c.Want(ws.OpBinary, "\x01\x02\x03")
	}
	clients[0].Leave()
	clients[1].SendText("one less")
	for _, c := range clients[1:] {
		c.WantText("one less")
	}
}

// The messages of one sender arrive in their order, in a large audience too.
func TestOrderOfOneSender(t *testing.T) {
	const listeners, messages = 70, 200
	_, addr := serve(t, "all", session.Config{}, "/b")
	clients := dial(t, listeners, addr, "/b")
	for i := range messages {
		clients[0].SendText(fmt.Sprint(i))
	}
	for _, c := range []*wstest.Client{clients[0], clients[listeners-1]} {
		for i := range messages {
			c.WantText(fmt.Sprint(i))
		}
	}
}

// The routes of one target are one audience; another target has another one.
func TestAudiences(t *testing.T) {
	other, err := broadcast.New("others")
	if err != nil {
		t.Fatal(err)
	}
	srv, addr := serve(t, "all", session.Config{Routes: other.Routes("/other")}, "/a", "/b")
	a, b, c := wstest.Dial(t, addr, "/a"), wstest.Dial(t, addr, "/b"), wstest.Dial(t, addr, "/other")
	a.SendText("to a and b")
	a.WantText("to a and b")
	b.WantText("to a and b")
	c.SendText("to c")
	c.WantText("to c") // and nothing before it
	if n, m := srv.MemberCount("all"), srv.MemberCount("others"); n != 2 || m != 1 {
		t.Errorf("%d and %d members, want 2 and 1", n, m)
	}
}

// Where too many publications wait, the sender is told by its end, and nobody else is touched.
func TestTooManyMessages(t *testing.T) {
	const listeners = 70 // more than are sent to at once
	_, addr := serve(t, "all", session.Config{PublicationBytes: 1}, "/b")
	clients := dial(t, listeners, addr, "/b")
	clients[0].SendText("too large a message")
	clients[0].AnswerClose(1013)
	clients[1].Send(ws.NewPingFrame([]byte("there?")))
	clients[1].Want(ws.OpPong, "there?")
}

// lateHandler hands messages on when publications are refused because the server is shutting down.
type lateHandler struct {
	session.Handler
	called chan struct{}
}

func (h *lateHandler) OnMessage(s session.Session, m session.Message) {
	close(h.called)
	waits.Poll(func() bool {
		_, err := s.Server().Publish("nobody", session.Prepare(session.OpText, nil))
		return errors.Is(err, session.ErrDraining)
	})
	h.Handler.OnMessage(s, m)
}

// A message that comes while the server shuts down does not end its sender before everybody's time.
func TestMessageWhileDraining(t *testing.T) {
	target, err := broadcast.New("all")
	if err != nil {
		t.Fatal(err)
	}
	late := &lateHandler{target, make(chan struct{})}
	srv, addr := wstest.Serve(t, session.Config{Routes: []session.Route{{Path: "/b", Handler: late}}})
	c := wstest.Dial(t, addr, "/b")
	c.SendText("late")
	waits.Receive(t, late.called, "call of OnMessage")
	down := make(chan error, 1)
	go func() { down <- srv.Shutdown(t.Context()) }()
	c.AnswerClose(session.StatusGoingAway)
	if err := waits.Receive(t, down, "end of Shutdown"); err != nil {
		t.Errorf("Shutdown: %v, want nil", err)
	}
}

// The name is that of a channel.
func TestChannelName(t *testing.T) {
	for _, name := range []string{"", "a\x00", "\xff", strings.Repeat("x", session.MaxChannelName+1)} {
		if _, err := broadcast.New(name); !errors.Is(err, session.ErrChannelName) {
			t.Errorf("New(%.20q): %v, want ErrChannelName", name, err)
		}
	}
	if _, err := broadcast.New(strings.Repeat("x", session.MaxChannelName)); err != nil {
		t.Errorf("New with the longest name: %v, want nil", err)
	}
}
