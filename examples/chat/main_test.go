package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"go.uber.org/goleak"

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
		header := http.Header{}
		if tt.origin != "" {
			header.Set("Origin", tt.origin)
		}
		conn, br, _, err := ws.Dialer{Header: ws.HandshakeHeaderHTTP(header)}.Dial(t.Context(), "ws://"+addr+tt.path)
		status := 101
		if refused, ok := errors.AsType[ws.StatusError](err); ok {
			status = int(refused)
		} else if err != nil {
			t.Fatal(err)
		}
		if conn != nil {
			conn.Close()
		}
		if br != nil {
			ws.PutReader(br)
		}
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
		want ws.StatusCode
	}{
		"too many": {func(c *client) {
			for range 2 * burst { // the server may close before all are sent
				_ = wsutil.WriteClientText(c, []byte("spam"))
			}
		}, ws.StatusPolicyViolation},
		"too big": {func(c *client) { c.say(strings.Repeat("x", 2001)) }, ws.StatusMessageTooBig},
		"binary": {func(c *client) {
			if err := wsutil.WriteClientBinary(c, []byte("x")); err != nil {
				c.t.Fatal(err)
			}
		}, ws.StatusUnsupportedData},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, addr, "/")
			tt.send(c)
			c.wantClose(tt.want)
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
		t.Fatalf("%d members", n)
	}
	_, _, _, err := ws.Dial(t.Context(), "ws://"+addr+"/")
	if status, ok := errors.AsType[ws.StatusError](err); !ok || status != 503 {
		t.Errorf("one more: %v", err)
	}
	dial(t, addr, "/other").want("where 1 are now")
}

func TestShutdown(t *testing.T) {
	srv, addr := start(t)
	ann, bob := dial(t, addr, "/?name=ann"), dial(t, addr, "/?name=bob")
	ann.want("^ann#.* joins")
	ann.want("^bob#.* joins")
	bob.want("^bob#.* joins")
	done := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		done <- srv.Shutdown(ctx)
	}()
	ann.wantClose(ws.StatusGoingAway)
	bob.wantClose(ws.StatusGoingAway)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// start runs the server until the test ends, and checks that nobody is left in it.
func start(t *testing.T) (*session.Server, string) {
	t.Helper()
	srv, addr, err := newServer("127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		srv.Close()
		http.DefaultClient.CloseIdleConnections()
		if st := srv.Stats(); st.Sessions != 0 || st.HandlerPanics != 0 || st.Channels.Subscriptions != 0 {
			t.Errorf("%d sessions, %d subscriptions are left; %d panics", st.Sessions, st.Channels.Subscriptions, st.HandlerPanics)
		}
	})
	return srv, addr.String()
}

// client reads through br, which may hold what came together with the answer to the handshake.
type client struct {
	t *testing.T
	net.Conn
	br *bufio.Reader
}

func (c *client) Read(p []byte) (int, error) { return c.br.Read(p) }

func dial(t *testing.T, addr, path string) *client {
	t.Helper()
	conn, br, _, err := ws.Dial(t.Context(), "ws://"+addr+path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if br == nil {
		br = bufio.NewReader(conn)
	}
	return &client{t, conn, br}
}

func (c *client) say(text string) {
	c.t.Helper()
	if err := wsutil.WriteClientText(c, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// want reads one line.
func (c *client) want(pattern string) {
	c.t.Helper()
	line, err := wsutil.ReadServerText(c)
	if err != nil || !regexp.MustCompile(pattern).Match(line) {
		c.t.Fatalf("read %q, %v, want %s", line, err, pattern)
	}
}

// wantClose reads until the server closes. It answers.
func (c *client) wantClose(want ws.StatusCode) {
	c.t.Helper()
	var lines []string
	for {
		line, err := wsutil.ReadServerText(c)
		if closed, ok := errors.AsType[wsutil.ClosedError](err); ok && closed.Code == want {
			return
		}
		if err != nil {
			c.t.Fatalf("%v after %q, want %d", err, lines, want)
		}
		lines = append(lines, string(line))
	}
}

func (c *client) leave() {
	c.t.Helper()
	if err := ws.WriteFrame(c, ws.MaskFrame(ws.NewCloseFrame(nil))); err != nil {
		c.t.Fatal(err)
	}
}
