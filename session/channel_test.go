package session_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

func textMessage(format string, args ...any) *session.Prepared {
	return session.Prepare(wsproto.OpText, fmt.Appendf(nil, format, args...))
}

// members opens n sessions that have joined a channel.
func members(t *testing.T, srv *session.Server, addr, channel string, n int, opened chan session.Session) (cs []*wstest.Client, ss []session.Session) {
	t.Helper()
	for range n {
		cs = append(cs, wstest.Dial(t, addr, "/"))
		s := waits.Receive(t, opened, "the call of OnOpen")
		if err := s.Join(channel); err != nil {
			t.Fatal(err)
		}
		ss = append(ss, s)
	}
	if got := srv.MemberCount(channel); got != n {
		t.Fatalf("%d members, want %d", got, n)
	}
	return cs, ss
}

func opener() (session.Config, chan session.Session) {
	opened := make(chan session.Session, 1)
	return oneRoute(session.HandlerFuncs{Open: func(s session.Session, _ *wsproto.Request) { opened <- s }}), opened
}

func TestChannel(t *testing.T) {
	cfg, opened := opener()
	srv, addr := wstest.Serve(t, cfg)
	cs, ss := members(t, srv, addr, "news", 5, opened)

	if err := ss[0].Join("news"); err != nil || srv.MemberCount("news") != 5 {
		t.Errorf("joining twice: %v, %d members", err, srv.MemberCount("news"))
	}
	publish := func(channel, text string, want session.Published, except ...session.Session) {
		t.Helper()
		if got, err := srv.Publish(channel, textMessage("%s", text), except...); got != want || err != nil {
			t.Errorf("Publish to %s: %+v, %v, want %+v, nil", channel, got, err, want)
		}
	}
	publish("news", "one", session.Published{Sequence: 1, Reached: 5})
	publish("news", "two", session.Published{Sequence: 2, Reached: 3}, ss[1], ss[3])
	publish("nobody", "x", session.Published{})
	ss[2].Leave("news")
	ss[2].Leave("never joined")
	publish("news", "three", session.Published{Sequence: 3, Reached: 4})
	for i, c := range cs {
		c.Want(ws.OpText, "one")
		if i != 1 && i != 3 {
			c.Want(ws.OpText, "two")
		}
		if i != 2 {
			c.Want(ws.OpText, "three")
		}
	}
	if got := slices.Collect(srv.Members("news")); len(got) != 4 || slices.Contains(got, ss[2]) {
		t.Errorf("members %v", got)
	}
	if err := ss[0].Join("other"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(ss[0].Channels(), ","); got != "other,news" {
		t.Errorf("in channels %s", got)
	}
	all := map[string]int{}
	for name, n := range srv.Channels() {
		all[name] = n
	}
	if len(all) != 2 || all["news"] != 4 || all["other"] != 1 {
		t.Errorf("channels %v", all)
	}

	// Membership ends with the session.
	_ = ss[0].Close(1000, "")
	cs[0].Send(ws.NewCloseFrame(nil))
	cs[0].WantClose(1000)
	waits.Eventually(t, func() bool { return srv.MemberCount("news") == 3 && srv.MemberCount("other") == 0 }, "news has three members and other has none")
	if err := ss[0].Join("news"); !errors.Is(err, session.ErrClosed) {
		t.Errorf("joining after the end: %v", err)
	}
	if ss[0].Channels() != nil {
		t.Error("a session that has ended is in channels")
	}
}

func TestChannelNames(t *testing.T) {
	cfg, opened := opener()
	cfg.SessionChannels = 3
	srv, addr := wstest.Serve(t, cfg)
	wstest.Dial(t, addr, "/")
	s := waits.Receive(t, opened, "the call of OnOpen")
	for _, name := range []string{"", strings.Repeat("x", session.MaxChannelName+1), "a\u0085b", "a\x00b", "a\nb", "\x7f", "\xff"} {
		if err := s.Join(name); !errors.Is(err, session.ErrChannelName) {
			t.Errorf("Join(%q): %v", name, err)
		}
		if _, err := srv.Publish(name, textMessage("x")); !errors.Is(err, session.ErrChannelName) {
			t.Errorf("Publish(%q): %v", name, err)
		}
	}
	for _, name := range []string{strings.Repeat("x", session.MaxChannelName), "große Neuigkeiten", "a/b.c:d*"} {
		if err := s.Join(name); err != nil {
			t.Errorf("Join(%q): %v", name, err)
		}
	}
	if err := s.Join("one too many"); !errors.Is(err, session.ErrTooManyChannels) {
		t.Error(err)
	}
	s.Leave("a/b.c:d*")
	if err := s.Join("has room now"); err != nil {
		t.Error(err)
	}
	var zero session.Session
	if err := zero.Join("a"); !errors.Is(err, session.ErrClosed) {
		t.Errorf("zero session: %v", err)
	}
	zero.Leave("a")
}

// What one goroutine publishes reaches every member in order and without a gap, while others
// publish, and members come and go.
func TestPublishOrder(t *testing.T) {
	const clients, publishers, messages = 100, 3, 300 // more than a slice
	cfg, opened := opener()
	cfg.Reactor.QueueBytes, cfg.Reactor.QueueMessages = 8<<20, 10_000
	srv, addr := wstest.Serve(t, cfg)
	cs, _ := members(t, srv, addr, "c", clients, opened)
	_, extra := members(t, srv, addr, "d", 20, opened)

	var all sync.WaitGroup
	stop := make(chan struct{})
	all.Go(func() { // joins and leaves
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			s := extra[i%len(extra)]
			_ = s.Join("c")
			s.Leave("c")
		}
	})
	var publishing sync.WaitGroup
	for p := range publishers {
		publishing.Go(func() {
			for i := range messages {
				for second(srv.Publish("c", textMessage("%d %d", p, i))) != nil { // ErrBusy
				}
			}
		})
	}
	for _, c := range cs {
		all.Go(func() {
			var next [publishers]int
			for range publishers * messages {
				f := c.Read()
				var p, i int
				if _, err := fmt.Sscan(string(f.Payload), &p, &i); err != nil || i != next[p] {
					t.Errorf("%q, want %d of that publisher", f.Payload, next[p])
					return
				}
				next[p]++
			}
		})
	}
	publishing.Wait()
	close(stop)
	all.Wait()
}

// Channels and subscriptions that are over leave nothing behind.
func TestChannelChurn(t *testing.T) {
	cfg, opened := opener()
	srv, addr := wstest.Serve(t, cfg)
	var all sync.WaitGroup
	for range 8 {
		c := wstest.Dial(t, addr, "/")
		s := waits.Receive(t, opened, "the call of OnOpen")
		all.Go(func() {
			for i := range 500 {
				_ = s.Join(fmt.Sprint("c", i%7))
				_, _ = srv.Publish(fmt.Sprint("c", i%7), textMessage("x"))
				s.Leave(fmt.Sprint("c", (i+3)%7))
			}
			c.Close()
		})
	}
	all.Wait()
	waits.Becomes(t, func() int { return srv.Stats().Sessions }, 0, "open sessions")
	for name, n := range srv.Channels() {
		t.Errorf("channel %s with %d members is left", name, n)
	}
}
