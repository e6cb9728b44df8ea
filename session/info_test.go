package session_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

func TestRetainedRequest(t *testing.T) {
	opened := make(chan session.Session, 1)
	agents := make(chan string, 1)
	_, addr := wstest.Serve(t, session.Config{Routes: []session.Route{{
		Path: "/", Mode: session.NeverBlocks, Retain: []string{"Origin", "cookie", "X-List", "Host"}, RetainQuery: true,
		Handler: session.HandlerFuncs{
			Open: func(s session.Session, r *wsproto.Request) {
				agent, _ := r.Header("User-Agent")
				agents <- string(agent)
				opened <- s
			},
		},
		OnUpgrade: func(u *session.Upgrade) error { u.Value = "from " + string(u.Request.RawQuery); return nil },
	}}})
	c := wstest.DialWith(t, addr, "/room/1?a=b", ws.Dialer{Header: ws.HandshakeHeaderHTTP(http.Header{
		"Origin": {"https://a.com"}, "Cookie": {`x=1; prefs={"a":1}; y=2`, "loose; z=3;"}, "X-List": {"a", "b"}, "User-Agent": {"test"},
	})})
	s := waits.Receive(t, opened, "the call of OnOpen")
	if agent := waits.Receive(t, agents, "the call of OnOpen"); agent != "test" {
		t.Errorf("OnOpen sees User-Agent %q", agent)
	}
	for name, want := range map[string]string{"origin": "https://a.com", "Cookie": `x=1; prefs={"a":1}; y=2; loose; z=3;`, "x-list": "a, b", "User-Agent": ""} {
		if got := s.Header(name); got != want {
			t.Errorf("Header(%s) = %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"x": "1", "y": "2", "z": "3", "q": ""} {
		if got, ok := s.Cookie(name); got != want || ok != (want != "") {
			t.Errorf("Cookie(%s) = %q, %v", name, got, ok)
		}
	}
	if s.Origin() != "https://a.com" || s.Host() != addr {
		t.Errorf("origin %q, host %q", s.Origin(), s.Host())
	}
	if s.Query() != "a=b" || s.Path() != "/room/1" || s.Value() != "from a=b" {
		t.Errorf("query %q, path %q, value %v", s.Query(), s.Path(), s.Value())
	}
	if err := s.SetValue(7); err != nil || s.Value() != 7 || s.Query() != "a=b" {
		t.Errorf("%v, value %v, query %q", err, s.Value(), s.Query())
	}
	c.Close()
	waits.Eventually(t, func() bool { return !s.IsAvailable() && s.Value() == nil && s.Header("Origin") == "" }, "the session is gone, with its value and header")
	if err := s.SetValue(8); !errors.Is(err, session.ErrClosed) {
		t.Error(err)
	}
}

func TestUsers(t *testing.T) {
	cfg, opened := opener()
	srv, addr := wstest.Serve(t, cfg)
	var cs []*wstest.Client
	var ss []session.Session
	for range 4 {
		cs = append(cs, wstest.Dial(t, addr, "/"))
		ss = append(ss, waits.Receive(t, opened, "the call of OnOpen"))
	}
	for i, id := range []string{"ann", "ann", "bob", "bob"} {
		if err := ss[i].SetUser(id); err != nil {
			t.Fatal(err)
		}
	}
	_ = ss[3].SetUser("ann")
	if ss[3].User() != "ann" || len(slices.Collect(srv.UserSessions("ann"))) != 3 || len(slices.Collect(srv.UserSessions("bob"))) != 1 {
		t.Error("wrong sessions")
	}
	if n := srv.MemberCount("ann"); n != 0 {
		t.Errorf("a user is a channel with %d members", n)
	}
	_ = ss[1].SetUser("")
	if st := srv.Stats().Channels; st.Users != 2 || st.UserSessions != 3 || st.Channels != 0 || st.Subscriptions != 0 {
		t.Errorf("stats %+v, want 2 users with 3 sessions, and no channels", st)
	}
	if got, err := srv.SendUser("ann", textMessage("for ann")); got != (session.Published{Sequence: 1, Reached: 2}) || err != nil {
		t.Errorf("SendUser: %+v, %v, want number 1, 2 reached", got, err)
	}
	for _, tt := range []struct {
		path, text string
		except     []session.Session
		reached    int
		err        error
	}{
		{"", "for all", ss[:1], 4, nil},
		{"/", "for the route", nil, 4, nil},
		{"/other", "for nobody", nil, 0, session.ErrNoRoute},
	} {
		got, err := srv.SendAll(tt.path, textMessage("%s", tt.text), tt.except...)
		if got != (session.Published{Reached: tt.reached}) || !errors.Is(err, tt.err) {
			t.Errorf("SendAll to %q: %+v, %v, want %d reached, %v", tt.path, got, err, tt.reached, tt.err)
		}
	}
	for i, want := range []string{"for ann|for the route", "for all|for the route", "for all|for the route", "for ann|for all|for the route"} {
		for m := range strings.SplitSeq(want, "|") {
			cs[i].Want(ws.OpText, m)
		}
	}
	if n := len(slices.Collect(srv.Sessions())); n != 4 {
		t.Errorf("%d sessions", n)
	}
	if err := ss[0].SetUser("a\x00b"); !errors.Is(err, session.ErrChannelName) {
		t.Error(err)
	}
}

func TestHooks(t *testing.T) {
	events := make(chan string, 10)
	h := session.HandlerFuncs{
		Message: func(_ session.Session, m session.Message) { events <- "text " + string(m.Data) },
		Binary:  func(_ session.Session, p []byte) { events <- "binary " + string(p) },
		Ping:    func(_ session.Session, p []byte) bool { events <- "ping " + string(p); return string(p) != "veto" },
		Pong:    func(_ session.Session, p []byte) { events <- "pong " + string(p) },
		Error:   func(_ session.Session, err error) { events <- "error " + err.Error() },
		Close:   func(_ session.Session, c session.CloseInfo) { events <- "close" },
	}
	_, addr := wstest.Serve(t, oneRoute(h))
	want := func(w string) {
		t.Helper()
		if got := waits.Receive(t, events, w); !strings.HasPrefix(got, w) {
			t.Fatalf("%q, want %q", got, w)
		}
	}
	c := wstest.Dial(t, addr, "/")
	c.SendText("a")
	want("text a")
	c.Send(ws.NewBinaryFrame([]byte("b")))
	want("binary b")
	c.Send(ws.NewPingFrame([]byte("veto")))
	want("ping veto")
	c.Send(ws.NewPingFrame([]byte("p")))
	want("ping p")
	c.Want(ws.OpPong, "p")
	c.Send(ws.NewPongFrame([]byte("q")))
	want("pong q")
	_, _ = c.Write([]byte{0x83, 0x80, 0, 0, 0, 0})
	want("error wsproto: reserved opcode")
	want("close")

	c = wstest.Dial(t, addr, "/")
	c.Close()
	want("error session: connection broken")
	want("close")

	c = wstest.Dial(t, addr, "/")
	c.Send(ws.NewCloseFrame(nil))
	want("close") // and no error
}

// The request that OnOpen gets stays what it is while other clients connect.
func TestRequestInOnOpen(t *testing.T) {
	agents := make(chan string, 1)
	connect := func(url, agent string) error {
		conn, _, _, err := (ws.Dialer{Header: ws.HandshakeHeaderHTTP(http.Header{"User-Agent": {agent}})}).Dial(context.Background(), url)
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	cfg := session.Config{Routes: []session.Route{
		{Path: "/first", Mode: session.NeverBlocks, Handler: session.HandlerFuncs{Open: func(_ session.Session, r *wsproto.Request) {
			for range 50 {
				if err := connect("ws://"+string(r.Host)+"/other", strings.Repeat("B", 40)); err != nil {
					t.Error(err)
				}
			}
			agent, _ := r.Header("User-Agent")
			agents <- string(agent)
		}}},
		{Path: "/other", Mode: session.NeverBlocks, Handler: session.HandlerFuncs{}},
	}}
	cfg.Reactor.Workers = 2
	_, addr := wstest.Serve(t, cfg)
	for range 5 {
		connected := make(chan error, 1)
		go func() { connected <- connect("ws://"+addr+"/first", strings.Repeat("A", 40)) }()
		if got := waits.Receive(t, agents, "the call of OnOpen"); got != strings.Repeat("A", 40) {
			t.Errorf("another client's request: %q", got)
		}
		if err := waits.Receive(t, connected, "the end of the handshake"); err != nil {
			t.Fatal(err)
		}
	}
}
