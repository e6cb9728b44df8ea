package session_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// named returns a route whose sessions answer with its name and what they know of themselves.
func named(path, name string, ends chan<- string) session.Route {
	return session.Route{
		Path: path, Mode: session.NeverBlocks, Subprotocols: []string{"p-" + name},
		Handler: session.HandlerFuncs{
			Message: func(s session.Session, m session.Message) { _ = s.SendText(about(name, s)) },
			Close:   func(s session.Session, _ session.CloseInfo) { ends <- about(name, s) },
		},
		Farewell: func(s session.Session, _ session.StatusCode, _ string) []byte {
			return []byte("bye from " + about(name, s))
		},
	}
}

func about(name string, s session.Session) string {
	return fmt.Sprintf("%s: %s %s x=%s", name, s.Path(), s.Subprotocol(), s.PathValue("x"))
}

func setRoutes(t *testing.T, s *session.Server, routes ...session.Route) {
	t.Helper()
	if err := s.SetRoutes(routes); err != nil {
		t.Fatal(err)
	}
}

func dialAll(t *testing.T, addr string, path string, protocols ...string) *wstest.Client {
	t.Helper()
	return wstest.DialWith(t, addr, path, ws.Dialer{Protocols: protocols})
}

func wantTables(t *testing.T, s *session.Server, want int) {
	t.Helper()
	waits.Becomes(t, func() int { return s.Stats().RouteTables }, want, "route tables that are alive")
}

// Sessions keep the routes that they were opened with, to their end; new ones get the new routes.
func TestSetRoutes(t *testing.T) {
	ends := make(chan string, 10)
	cfg := session.Config{Routes: []session.Route{named("/first", "old first", ends), named("/a/{x}", "old", ends)}}
	cfg.Routes[1].MaxMessage = 100
	s, addr := wstest.Serve(t, cfg)
	old := dialAll(t, addr, "/a/1", "p-old", "p-new")
	setRoutes(t, s, named("/a/{x}", "new", ends), named("/b", "b", ends))
	young := dialAll(t, addr, "/a/2", "p-old", "p-new")
	for _, c := range []struct {
		client *wstest.Client
		want   string
	}{{old, "old: /a/1 p-old x=1"}, {young, "new: /a/2 p-new x=2"}} {
		c.client.SendText("who")
		c.client.WantText(c.want)
	}
	if status := wstest.Status(t, addr, "/first", ws.Dialer{}); status != http.StatusNotFound {
		t.Errorf("a route that is gone answers %d, want 404", status)
	}
	if r := s.Routes(); len(r) != 2 || r[0].Path != "/a/{x}" || r[1].Path != "/b" {
		t.Errorf("the routes are %+v, want /a/{x} and /b", r)
	}
	wantTables(t, s, 2)
	long := strings.Repeat("x", 101)
	young.SendText(long)
	young.WantText("new: /a/2 p-new x=2")
	old.SendText(long)
	old.WantClose(1009)
	if got := waits.Receive(t, ends, "OnClose"); got != "old: /a/1 p-old x=1" {
		t.Errorf("OnClose of %q, want that of the old route", got)
	}
	wantTables(t, s, 1)
}

func TestFarewellIsThatOfTheSessionsRoute(t *testing.T) {
	ends := make(chan string, 10)
	s, addr := wstest.Serve(t, session.Config{Routes: []session.Route{named("/{x}", "old", ends)}})
	old := dialAll(t, addr, "/1", "p-old")
	setRoutes(t, s, named("/{x}", "new", ends))
	young := dialAll(t, addr, "/2", "p-new")
	for x := range s.Sessions() {
		if err := x.Close(4000, ""); err != nil {
			t.Error(err)
		}
	}
	old.WantText("bye from old: /1 p-old x=1")
	young.WantText("bye from new: /2 p-new x=2")
	old.AnswerClose(4000)
	young.AnswerClose(4000)
	wantTables(t, s, 1)
}

// A table lives until OnClose has returned, where that may block too.
func TestRoutesLiveUntilOnClose(t *testing.T) {
	ends, entered, leave := make(chan string, 1), make(chan struct{}), make(chan struct{})
	old := named("/{x}", "old", ends)
	old.Mode = session.MayBlock
	old.Handler = session.HandlerFuncs{Close: func(s session.Session, _ session.CloseInfo) {
		close(entered)
		<-leave
		ends <- about("old", s)
	}}
	s, addr := wstest.Serve(t, session.Config{Routes: []session.Route{old}})
	c := dialAll(t, addr, "/1", "p-old")
	setRoutes(t, s, named("/other/{y}", "new", ends))
	c.Leave()
	waits.Receive(t, entered, "OnClose")
	waits.Becomes(t, func() int { return s.Stats().Conns }, 0, "connections")
	wantTables(t, s, 2)
	close(leave)
	if got := waits.Receive(t, ends, "OnClose"); got != "old: /1 p-old x=1" {
		t.Errorf("OnClose saw %q, want what the session was opened with", got)
	}
	wantTables(t, s, 1)
}

// A request is decided about by the table in which it has found its route, and holds it until then.
func TestSetRoutesDuringAHandshake(t *testing.T) {
	for _, end := range []string{"accepted", "refused", "gone", "late"} {
		t.Run(end, func(t *testing.T) {
			ends, entered, leave := make(chan string, 1), make(chan struct{}), make(chan error)
			old := named("/{x}", "old", ends)
			old.UpgradeMode = session.UpgradeMayBlock
			old.OnUpgrade = func(u *session.Upgrade) error {
				if u.PathValue("x") != "1" || u.Request.PathValue("x") != "1" {
					t.Errorf("OnUpgrade: path values %q and %q, want 1", u.PathValue("x"), u.Request.PathValue("x"))
				}
				close(entered)
				return <-leave
			}
			cfg := session.Config{Routes: []session.Route{old}}
			if end == "late" {
				cfg.HandshakeTimeout = 300 * time.Millisecond
			}
			s, addr := wstest.Serve(t, cfg)
			conn := wstest.Connect(t, addr)
			defer conn.Close()
			answer := make(chan string, 1)
			go func() { answer <- whoAnswers(t, conn) }()
			if end == "late" { // on a busy machine OnUpgrade is not even called
				waits.Becomes(t, func() uint64 { return s.Stats().Handshakes["503"] }, 1, "requests that were given up")
			} else {
				waits.Receive(t, entered, "OnUpgrade")
			}
			setRoutes(t, s, named("/{y}", "new", ends))
			switch end {
			case "accepted":
				wantTables(t, s, 2)
				leave <- nil
			case "refused":
				wantTables(t, s, 2)
				leave <- wsproto.ErrForbidden
			case "gone":
				_ = conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
				wantTables(t, s, 1)
				leave <- nil
			}
			got, want := waits.Receive(t, answer, "the answer"), map[string]string{
				"accepted": "old: /1 p-old x=1", "refused": "403", "late": "503", "gone": "",
			}[end]
			if end == "late" {
				close(leave)
			}
			if !strings.Contains(got, want) {
				t.Errorf("answer %q, want %q", got, want)
			}
			conn.Close()
			wantTables(t, s, 1)
		})
	}
}

// whoAnswers does a handshake, and returns what the session says of itself, or the refusal.
func whoAnswers(t *testing.T, conn net.Conn) string {
	c, err := wstest.Handshake(t, conn, "/1", ws.Dialer{Protocols: []string{"p-old"}})
	if err != nil {
		return err.Error()
	}
	c.SendText("who")
	return c.ReadText()
}

// SendAll looks at the pattern, whichever table it stands in.
func TestSendAllReachesEarlierRoutes(t *testing.T) {
	ends := make(chan string, 10)
	s, addr := wstest.Serve(t, session.Config{Routes: []session.Route{named("/room/{x}", "old", ends), named("/gone", "old", ends)}})
	old, gone := dialAll(t, addr, "/room/1"), dialAll(t, addr, "/gone")
	setRoutes(t, s, named("/other", "new", ends), named("/room/{x}", "new", ends))
	young, other := dialAll(t, addr, "/room/2"), dialAll(t, addr, "/other")
	send := func(path, text string) {
		t.Helper()
		if _, err := s.SendAll(path, session.Prepare(wsproto.OpText, []byte(text))); err != nil {
			t.Fatal(err)
		}
	}
	send("/room/{x}", "room")
	send("/gone", "gone")
	send("", "all")
	for _, c := range []*wstest.Client{old, young} {
		c.WantText("room")
		c.WantText("all")
	}
	gone.WantText("gone")
	gone.WantText("all")
	other.WantText("all")
	gone.Leave()
	waits.Receive(t, ends, "the call of OnClose")
	old.Leave()
	waits.Receive(t, ends, "the call of OnClose")
	wantTables(t, s, 1)
	for _, path := range []string{"/gone", "/room/1", "/room/{y}"} {
		if _, err := s.SendAll(path, session.Prepare(wsproto.OpText, nil)); !errors.Is(err, session.ErrNoRoute) {
			t.Errorf("SendAll(%q): error %v, want ErrNoRoute", path, err)
		}
	}
}

// What only later routes need, a server that had no such route at first has too.
func TestSetRoutesBringsWhatTheyNeed(t *testing.T) {
	s, addr := wstest.Serve(t, session.Config{Routes: []session.Route{{Path: "/", Mode: session.OnLoop, Handler: session.HandlerFuncs{}}}})
	blocking := make(chan struct{})
	echo := session.HandlerFuncs{Message: func(s session.Session, m session.Message) {
		<-blocking
		_ = s.Send(m.Opcode, m.Data)
	}}
	setRoutes(t, s,
		session.Route{Path: "/blocks", Handler: echo},
		session.Route{Path: "/deflate", Deflate: true, Handler: echo},
		session.Route{Path: "/rate", Mode: session.NeverBlocks, Handler: echo, Rate: session.Rate{Messages: 1000}},
		session.Route{Path: "/lossy", Mode: session.NeverBlocks, Handler: echo, Outbound: session.DropOldest},
	)
	close(blocking)
	for _, path := range []string{"/blocks", "/deflate", "/rate", "/lossy"} {
		c := wstest.DialWith(t, addr, path, ws.Dialer{})
		c.SendText(strings.Repeat(path, 100))
		c.WantText(strings.Repeat(path, 100))
	}
}

// A handler may replace the routes, that of its own session included.
func TestSetRoutesInAHandler(t *testing.T) {
	for _, mode := range []session.Mode{session.MayBlock, session.NeverBlocks, session.OnLoop} {
		t.Run(mode.String(), func(t *testing.T) {
			route := session.Route{Path: "/", Mode: mode}
			route.Handler = session.HandlerFuncs{Message: func(s session.Session, m session.Message) {
				err := s.Server().SetRoutes([]session.Route{route})
				_ = s.SendText(fmt.Sprint(err))
			}}
			s, addr := wstest.Serve(t, session.Config{Routes: []session.Route{route}})
			c := wstest.Dial(t, addr, "/")
			for range 10 {
				c.SendText("again")
				c.WantText("<nil>")
			}
			c.Leave()
			wantTables(t, s, 1)
		})
	}
}

// Every open session of an earlier table holds it; SetRoutes says so when there are too many.
func TestTooManyRouteTables(t *testing.T) {
	route := session.Route{Path: "/", Mode: session.NeverBlocks, Handler: session.Echo{}}
	s, addr := wstest.Serve(t, session.Config{Routes: []session.Route{route}})
	first := wstest.Dial(t, addr, "/")
	for range session.MaxRouteTables - 1 {
		setRoutes(t, s, route)
		wstest.Dial(t, addr, "/")
	}
	route.Subprotocols = []string{"new"}
	if err := s.SetRoutes([]session.Route{route}); !errors.Is(err, session.ErrRouteTables) || s.Routes()[0].Subprotocols != nil {
		t.Errorf("error %v, want ErrRouteTables and nothing changed", err)
	}
	first.Leave()
	wantTables(t, s, session.MaxRouteTables-1)
	setRoutes(t, s, route)
}

// The wildcards' values are there in every callback, and cost sessions without wildcards nothing.
func TestPathValue(t *testing.T) {
	got := make(chan string, 1)
	for _, mode := range []session.Mode{session.MayBlock, session.NeverBlocks, session.OnLoop} {
		t.Run(mode.String(), func(t *testing.T) {
			s, addr := wstest.Serve(t, session.Config{Routes: []session.Route{
				{Path: "/room/{id}/{rest...}", Mode: mode,
					HTTP: func(r *wsproto.Request) *wsproto.Response {
						return &wsproto.Response{Status: 200, Body: []byte(r.PathValue("id") + "|" + r.PathValue("rest"))}
					},
					Handler: session.HandlerFuncs{Open: func(s session.Session, r *wsproto.Request) {
						got <- r.PathValue("id") + "|" + r.PathValue("rest") + "|" + s.PathValue("id") + "|" + s.PathValue("rest") + "|" + s.PathValue("no") + "|" + s.Path()
					}}},
				{Path: "/plain/", Mode: mode, Handler: session.HandlerFuncs{}},
				{Path: "127.0.0.1/plain", Mode: mode, Handler: session.HandlerFuncs{}},
			}})
			wstest.Dial(t, addr, "/plain/")
			wstest.Dial(t, addr, "/plain")
			if n := session.DetailsInUse(s); n != 0 {
				t.Errorf("%d sessions without wildcards keep something beside their record", n)
			}
			wstest.Dial(t, addr, "/room/a%2Fb/c/d%20e?x=y")
			if p, want := waits.Receive(t, got, "OnOpen"), "a/b|c/d e|a/b|c/d e||/room/a%2Fb/c/d%20e"; p != want {
				t.Errorf("got %q, want %q", p, want)
			}
			if _, body := wstest.Get(t, "http://"+addr+"/room/7/x"); body != "7|x" {
				t.Errorf("Route.HTTP sees %q, want 7|x", body)
			}
		})
	}
}

func TestSetRoutesAfterClose(t *testing.T) {
	s, _ := wstest.Serve(t, session.Config{Routes: []session.Route{{Path: "/", Handler: session.Echo{}}}})
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	setRoutes(t, s, session.Route{Path: "/x", Handler: session.Echo{}})
}
