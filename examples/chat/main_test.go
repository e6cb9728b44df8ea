package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRooms(t *testing.T) {
	_, addr := start(t)
	ann := dial(t, addr, "/gophers?name=ann")
	ann.want(`^ann#[\w-]{6} joins gophers, where 1 are now$`)
	guest := dial(t, addr, "/gophers")
	guest.want(`^guest#[\w-]{6} joins gophers, where 2 are now$`)
	ann.want(`^guest#.* joins`)
	elsewhere := dial(t, addr, "/")
	elsewhere.want(`^guest#.* joins lobby, where 1 are now$`)

	ann.say("hello")
	ann.want(`^ann#[\w-]{6} says: hello$`)
	guest.want(`^ann#[\w-]{6} says: hello$`)
	guest.say("<b>bold</b>\r\nann says: forged\x1b[31m")
	ann.want(`^guest#[\w-]{6} says: <b>bold</b>  ann says: forged \[31m$`)
	guest.want(`^guest#`)
	guest.say(" \n") // says nothing
	guest.leave()
	ann.want(`^guest#[\w-]{6} leaves$`)

	elsewhere.say("nobody here?") // what it reads next would be what it had heard before
	elsewhere.want(`^guest#[\w-]{6} says: nobody here\?$`)
}

func TestNames(t *testing.T) {
	_, addr := start(t)
	c := dial(t, addr, "/caf%C3%A9?name=J%C3%BCrgen_2")
	c.want(`^Jürgen_2#[\w-]{6} joins café, where 1 are now$`)
}

// Who may come in, and who not: pages of other sites may not.
func TestAdmission(t *testing.T) {
	_, addr := start(t)
	for _, tt := range []struct {
		path, origin string
		status       int
	}{
		{"/", "", 101},
		{"/", "http://" + addr, 101},
		{"/", "https://" + addr, 101}, // TLS ends at a load balancer
		{"/", "http://evil.example", 403},
		{"/", "http://evil.example/" + addr, 403},
		{"/", "http://127.0.0.1", 403},
		{"/", "null", 403},
		{"/a.b", "", 404},
		{"/a/b", "", 404},
		{"/%ff", "", 404},
		{"/" + strings.Repeat("x", 25), "", 404},
		{"/?name=a%20b", "", 400},
		{"/?name=%ff", "", 400},
		{"/?name=" + strings.Repeat("x", 25), "", 400},
	} {
		status := wstest.Status(t, addr, tt.path, wstest.From(tt.origin))
		if status != tt.status {
			t.Errorf("%s from %q: %d, want %d", tt.path, tt.origin, status, tt.status)
		}
	}
}

func TestPage(t *testing.T) {
	_, addr := start(t)
	for path, want := range map[string]int{"/": 200, "/gophers": 200, "/caf%C3%A9": 200, "/favicon.ico": 404, "/a/b": 404} {
		res, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != want {
			t.Errorf("%s: %s, %v, want %d", path, res.Status, err, want)
		}
		if want == 200 && (string(body) != string(page) || res.Header.Get("Content-Type") != "text/html; charset=utf-8") {
			t.Errorf("%s is not the page: %v", path, res.Header)
		}
	}
}

func TestFlood(t *testing.T) {
	_, addr := start(t)
	for name, tt := range map[string]struct {
		send func(c *client)
		want session.StatusCode
	}{
		"too many": {func(c *client) {
			for range 2 * burst { // the server may close before all are sent
				_ = c.TrySend(ws.NewTextFrame([]byte("spam")))
			}
		}, 1008},
		"too big": {func(c *client) { c.say(strings.Repeat("x", 2001)) }, 1009},
		"binary":  {func(c *client) { c.SendBinary([]byte("x")) }, 1003},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, addr, "/")
			tt.send(c)
			c.AnswerClose(tt.want)
		})
	}
	// The rate itself, without waiting for it.
	now := time.Now()
	m := member{tokens: burst, since: now}
	count := func(d time.Duration) (n int) {
		now = now.Add(d)
		for m.mayTalk(now) {
			n++
		}
		return n
	}
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{0, burst}, {0, 0}, {time.Second, rate}, {time.Hour, burst}} {
		if n := count(tt.after); n != tt.want {
			t.Errorf("%d messages after %v, want %d", n, tt.after, tt.want)
		}
	}
}

func TestFullRoom(t *testing.T) {
	srv, addr := start(t)
	for range maxRoom {
		dial(t, addr, "/").want("^guest#.* joins") // which it is told when it is in
	}
	if n := srv.MemberCount("lobby"); n != maxRoom {
		t.Fatalf("%d members, want %d", n, maxRoom)
	}
	if status := wstest.Status(t, addr, "/", ws.Dialer{}); status != http.StatusServiceUnavailable {
		t.Errorf("one more: status %d, want %d", status, http.StatusServiceUnavailable)
	}
	dial(t, addr, "/other").want("where 1 are now")
}

func TestShutdown(t *testing.T) {
	srv, addr := start(t)
	ann, bob := dial(t, addr, "/?name=ann"), dial(t, addr, "/?name=bob")
	ann.want("^ann#.* joins")
	ann.want("^bob#.* joins")
	bob.want("^bob#.* joins")
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), waits.Patience)
		defer cancel()
		done <- srv.Shutdown(ctx)
	}()
	ann.AnswerClose(1001)
	bob.AnswerClose(1001)
	if err := waits.Receive(t, done, "the end of Shutdown"); err != nil {
		t.Errorf("Shutdown: %v, want nil", err)
	}
}

// start runs the server until the test ends, and checks that nobody is left in it.
func start(t *testing.T) (*session.Server, string) {
	t.Helper()
	srv, addr, err := newServer("127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { wstest.End(t, srv) })
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return srv, addr.String()
}

// client is somebody in a room.
type client struct{ *wstest.Client }

func dial(t *testing.T, addr, path string) *client {
	t.Helper()
	return &client{wstest.Dial(t, addr, path)}
}

func (c *client) say(text string) { c.Helper(); c.SendText(text) }

// want reads one line.
func (c *client) want(pattern string) {
	c.Helper()
	if line := c.ReadText(); !regexp.MustCompile(pattern).MatchString(line) {
		c.Fatalf("read %q, want %s", line, pattern)
	}
}

// leave ends the session, and does not wait for the answer.
func (c *client) leave() { c.Helper(); c.Send(ws.NewCloseFrame(nil)) }
