package session_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
)

type userKey struct{}

// mounted starts a session server inside a net/http server: "/page" is an ordinary page, "/ws/" the
// server behind middleware that strips the prefix and puts a user into the request's context. It
// returns the address.
func mounted(t *testing.T, cfg session.Config) (*session.Server, string) {
	t.Helper()
	s, err := session.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close returned %v, want nil", err)
		}
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	mux.Handle("/ws/", http.StripPrefix("/ws", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, "alice")))
	})))
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	return s, web.Listener.Addr().String()
}

// A WebSocket route and ordinary pages share one port of net/http. The route sees the request as
// middleware left it, and its sessions are like those of the server's own listeners.
func TestServeHTTP(t *testing.T) {
	closed := make(ends, 1)
	s, addr := mounted(t, session.Config{Routes: []session.Route{{
		Path: "/chat",
		OnUpgrade: func(u *session.Upgrade) error {
			r, err := u.HTTPRequest()
			if err != nil {
				return err
			}
			user, _ := r.Context().Value(userKey{}).(string)
			u.User = user
			u.Value = user + " " + r.URL.Path + " " + r.RemoteAddr
			return nil
		},
		Handler: session.HandlerFuncs{
			Message: func(s session.Session, m session.Message) {
				_ = s.SendText(fmt.Sprint(s.Value(), " ", s.RemoteAddr(), " ", string(m.Data)))
			},
			Close: func(_ session.Session, info session.CloseInfo) { closed <- info },
		},
	}}})
	page, err := http.Get("http://" + addr + "/page")
	if err != nil {
		t.Fatal(err)
	}
	defer page.Body.Close()
	if body, _ := io.ReadAll(page.Body); string(body) != "page" {
		t.Errorf("the page is %q, want %q", body, "page")
	}
	c := wstest.Dial(t, addr, "/ws/chat")
	c.SendText("hello")
	local := c.LocalAddr().String()
	c.Want(ws.OpText, "alice /chat "+local+" "+local+" hello")
	for s := range s.UserSessions("alice") {
		if err := s.Close(4000, "done"); err != nil {
			t.Fatal(err)
		}
	}
	if f := c.Read(); f.Header.OpCode != ws.OpClose {
		t.Fatalf("a frame with opcode %v, want a Close frame", f.Header.OpCode)
	}
	c.Send(ws.NewCloseFrame(ws.NewCloseFrameBody(4000, "")))
	closed.want(t, session.CloseInfo{Code: 4000, Initiator: session.ByServer, Clean: true})
}

// What cannot be taken over gets a status, and what is wrong with a request the same as behind the
// server's own listeners.
func TestServeHTTPRefuses(t *testing.T) {
	failed := make(chan session.Failure, 1)
	s, addr := mounted(t, session.Config{
		Routes: []session.Route{{Path: "/chat", Handler: session.Echo{}}},
		OnFail: func(f session.Failure) {
			if f.Request != nil {
				f.Request = new(session.Request) // it must not be kept
			}
			failed <- f
		},
	})
	wantFailure := func(t *testing.T, status int, request bool) {
		t.Helper()
		f := waits.Receive(t, failed, "the call of OnFail")
		if f.Status != status || f.Err == nil || (f.Request != nil) != request || !f.RemoteAddr.IsValid() {
			t.Errorf("OnFail got %+v, want status %d, an error, an address, and a request: %t", f, status, request)
		}
	}
	const upgrade = "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for name, tt := range map[string]struct {
		request string
		status  int
		wrong   bool // it is not a request that there can be here
	}{
		"no route":    {"GET /ws/none HTTP/1.1\r\n" + upgrade + "\r\n", 404, false},
		"plain":       {"GET /ws/chat HTTP/1.1\r\nHost: h\r\n\r\n", 426, false},
		"early data":  {"GET /ws/chat HTTP/1.1\r\n" + upgrade + "\r\n\x81\x80abcd", 400, false},
		"body":        {"POST /ws/chat HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxy", 400, true},
		"chunked":     {"POST /ws/chat HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, false},
		"bad key":     {"GET /ws/chat HTTP/1.1\r\n" + strings.ReplaceAll(upgrade, "==", "") + "\r\n", 400, false},
		"old version": {"GET /ws/chat HTTP/1.0\r\n" + upgrade + "\r\n", 505, false},
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
			if _, err := nc.Write([]byte(tt.request)); err != nil {
				t.Fatal(err)
			}
			response, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.StatusCode != tt.status {
				t.Errorf("status %d, want %d", response.StatusCode, tt.status)
			}
			wantFailure(t, tt.status, !tt.wrong)
		})
	}

	t.Run("no connection", func(t *testing.T) {
		w := httptest.NewRecorder() // no http.Hijacker
		s.ServeHTTP(w, httptest.NewRequest("GET", "/chat", nil))
		if w.Code != 501 {
			t.Errorf("status %d, want 501", w.Code)
		}
		wantFailure(t, 501, true)
	})
	t.Run("TLS", func(t *testing.T) {
		web := httptest.NewTLSServer(s)
		defer web.Close()
		response, err := web.Client().Get(web.URL + "/chat")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		if response.StatusCode != 501 || !strings.Contains(string(body), "TLS") {
			t.Errorf("status %d, %q, want 501 and a word about TLS", response.StatusCode, body)
		}
		wantFailure(t, 501, true)
	})
}

// With as many connections as the server may hold, the next one gets 503, and a time to come back.
func TestServeHTTPFull(t *testing.T) {
	failed := make(chan string, 1)
	_, addr := mounted(t, session.Config{
		Reactor: session.ReactorConfig{MaxConns: 1},
		Routes:  []session.Route{{Path: "/", Handler: session.Echo{}}},
		OnFail:  func(f session.Failure) { failed <- fmt.Sprint(f.Status, " ", string(f.Request.Path)) },
	})
	wstest.Dial(t, addr, "/ws/")
	response, err := http.Get("http://" + addr + "/ws/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if h := response.Header; response.StatusCode != 503 || h.Get("Retry-After") == "" || h.Get("Date") == "" {
		t.Errorf("status %d, header %v, want 503, Retry-After and Date", response.StatusCode, h)
	}
	if f := waits.Receive(t, failed, "the call of OnFail"); f != "503 /" {
		t.Errorf("OnFail got %q, want status and path", f)
	}
}

// Upgrade.HTTPRequest behind the server's own listener is made from the request's head.
func TestHTTPRequest(t *testing.T) {
	got := make(chan *http.Request, 1)
	_, addr := wstest.Serve(t, session.Config{Routes: []session.Route{{
		Path: "/", Handler: session.Echo{},
		OnUpgrade: func(u *session.Upgrade) error {
			r, err := u.HTTPRequest()
			got <- r
			return err
		},
	}}})
	c := wstest.Dial(t, addr, "/?token=abc")
	r := waits.Receive(t, got, "the call of OnUpgrade")
	if r == nil || r.URL.Query().Get("token") != "abc" || r.RemoteAddr != c.LocalAddr().String() || r.Context() == context.Background() {
		t.Errorf("request %+v, want the token, the address %s and the upgrade's context", r, c.LocalAddr())
	}
}

// Behind ServeHTTP it is a copy too: what OnUpgrade changes in it, middleware does not see. It has the path
// values of the route and of the mux.
func TestHTTPRequestBehindServeHTTP(t *testing.T) {
	values := make(chan string, 1)
	s, err := session.NewServer(session.Config{Routes: []session.Route{{
		Path: "/{room}/{id}", Handler: session.Echo{},
		OnUpgrade: func(u *session.Upgrade) error {
			r, err := u.HTTPRequest()
			if err != nil {
				return err
			}
			values <- r.PathValue("room") + " " + r.PathValue("id") + " " + r.PathValue("area")
			r.Header.Set("Cookie", "changed")
			r.URL.Path = "/changed"
			return nil
		},
	}}})
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	seen := make(chan *http.Request, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/{area}/1", func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r)
		seen <- r
	})
	web := httptest.NewServer(mux)
	defer web.Close()
	wstest.Dial(t, web.Listener.Addr().String(), "/hall/1").Leave()
	if got := waits.Receive(t, values, "the path values"); got != "hall 1 hall" {
		t.Errorf("path values %q, want those of the route, and the mux's own", got)
	}
	if r := waits.Receive(t, seen, "the end of ServeHTTP"); r.URL.Path != "/hall/1" || r.Header.Get("Cookie") != "" {
		t.Errorf("the middleware's request has become %s with %q", r.URL.Path, r.Header.Get("Cookie"))
	}
}
