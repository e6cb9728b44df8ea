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
	s, addr := mounted(t, session.Config{Routes: []session.Route{{Path: "/chat", Handler: session.Echo{}}}})
	const upgrade = "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for name, tt := range map[string]struct {
		request string
		status  int
	}{
		"no route":    {"GET /ws/none HTTP/1.1\r\n" + upgrade + "\r\n", 404},
		"plain":       {"GET /ws/chat HTTP/1.1\r\nHost: h\r\n\r\n", 426},
		"early data":  {"GET /ws/chat HTTP/1.1\r\n" + upgrade + "\r\n\x81\x80abcd", 400},
		"body":        {"POST /ws/chat HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxy", 400},
		"chunked":     {"POST /ws/chat HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"bad key":     {"GET /ws/chat HTTP/1.1\r\n" + strings.ReplaceAll(upgrade, "==", "") + "\r\n", 400},
		"old version": {"GET /ws/chat HTTP/1.0\r\n" + upgrade + "\r\n", 505},
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
		})
	}

	t.Run("no connection", func(t *testing.T) {
		w := httptest.NewRecorder() // no http.Hijacker
		s.ServeHTTP(w, httptest.NewRequest("GET", "/chat", nil))
		if w.Code != 501 {
			t.Errorf("status %d, want 501", w.Code)
		}
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
	})
}

// With as many connections as the server may hold, the next one gets 503, and a time to come back.
func TestServeHTTPFull(t *testing.T) {
	_, addr := mounted(t, session.Config{
		Reactor: session.ReactorConfig{MaxConns: 1},
		Routes:  []session.Route{{Path: "/", Handler: session.Echo{}}},
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
	r := <-got
	if r == nil || r.URL.Query().Get("token") != "abc" || r.RemoteAddr != c.LocalAddr().String() || r.Context() == context.Background() {
		t.Errorf("request %+v, want the token, the address %s and the upgrade's context", r, c.LocalAddr())
	}
}
