package session_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
)

// What may stand between a client and Server.ServeHTTP: middleware, other protocols, other listeners.

const upgradeRequest = "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// startMounted starts a server that has no listener of its own.
func startMounted(t *testing.T, cfg session.Config) *session.Server {
	t.Helper()
	s, err := session.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// get sends a request and returns the status and the body of the response.
func get(t *testing.T, client *http.Client, url string) (status int, body string) {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

// unwrapping is a http.ResponseWriter as middleware has it, for example to count bytes.
type unwrapping struct{ w http.ResponseWriter }

func (u unwrapping) Header() http.Header         { return u.w.Header() }
func (u unwrapping) Write(p []byte) (int, error) { return u.w.Write(p) }
func (u unwrapping) WriteHeader(status int)      { u.w.WriteHeader(status) }
func (u unwrapping) Unwrap() http.ResponseWriter { return u.w }

// Middleware may wrap the http.ResponseWriter if it has a method Unwrap.
func TestServeHTTPUnwraps(t *testing.T) {
	s := startMounted(t, oneRoute(session.Echo{}))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(unwrapping{unwrapping{w}}, r)
	}))
	defer web.Close()
	c := wstest.Dial(t, web.Listener.Addr().String(), "/")
	c.SendText("hello")
	c.Want(ws.OpText, "hello")
}

// http.TimeoutHandler buffers the response, so nothing behind it can take a connection over.
func TestServeHTTPBehindTimeoutHandler(t *testing.T) {
	s := startMounted(t, oneRoute(session.Echo{}))
	web := httptest.NewServer(http.TimeoutHandler(s, time.Minute, ""))
	defer web.Close()
	if status, body := get(t, http.DefaultClient, web.URL); status != 501 || !strings.Contains(body, "middleware") {
		t.Errorf("status %d, %q, want 501 and a word about middleware", status, body)
	}
	if n := s.Stats().Conns; n != 0 {
		t.Errorf("%d connections, want none", n)
	}
}

// HTTP/2 has many requests on one connection, so it cannot be taken over.
func TestServeHTTPOverHTTP2(t *testing.T) {
	s := startMounted(t, oneRoute(session.Echo{}))
	web := httptest.NewUnstartedServer(s)
	web.Config.Protocols = new(http.Protocols)
	web.Config.Protocols.SetUnencryptedHTTP2(true)
	web.Start()
	defer web.Close()
	transport := &http.Transport{Protocols: web.Config.Protocols}
	defer transport.CloseIdleConnections()
	if status, body := get(t, &http.Client{Transport: transport}, web.URL); status != 501 || !strings.Contains(body, "HTTP/1.1") {
		t.Errorf("status %d, %q, want 501 and a word about HTTP/1.1", status, body)
	}
}

// wrappingListener returns connections that hide their sockets.
type wrappingListener struct{ net.Listener }

func (l wrappingListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return struct{ net.Conn }{nc}, err
}

// The reactor serves sockets only. A listener whose connections are something else is told apart from
// a server that is full.
func TestServeHTTPWithoutSocket(t *testing.T) {
	s := startMounted(t, oneRoute(session.Echo{}))
	web := httptest.NewUnstartedServer(s)
	web.Listener = wrappingListener{web.Listener}
	web.Start()
	defer web.Close()
	if status, body := get(t, http.DefaultClient, web.URL); status != 501 || !strings.Contains(body, "socket") {
		t.Errorf("status %d, %q, want 501 and a word about sockets", status, body)
	}
}

// A client of a server that nobody has started gets an answer.
func TestServeHTTPBeforeStart(t *testing.T) {
	s, err := session.NewServer(oneRoute(session.Echo{}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	web := httptest.NewServer(s)
	defer web.Close()
	client := &http.Client{Timeout: 30 * time.Second}
	if status, body := get(t, client, web.URL); status != 500 || !strings.Contains(body, "started") {
		t.Errorf("status %d, %q, want 500 and a word about Start", status, body)
	}
}

// The connection on which a page has been fetched can be upgraded afterwards.
func TestServeHTTPKeepAlive(t *testing.T) {
	_, addr := mounted(t, session.Config{Routes: []session.Route{{Path: "/chat", Handler: session.Echo{}}}})
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	c := &wstest.Client{TB: t, Conn: nc, Reader: bufio.NewReader(nc)}
	for range 3 {
		if _, err := io.WriteString(c, "GET /page HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(c.Reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(response.Body); err != nil || string(body) != "page" {
			t.Fatalf("the page is %q, %v, want %q", body, err, "page")
		}
	}
	if _, err := io.WriteString(c, "GET /ws/chat HTTP/1.1\r\n"+upgradeRequest); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(c.Reader, nil)
	if err != nil || response.StatusCode != 101 {
		t.Fatalf("upgrade answered with %+v, %v, want 101", response, err)
	}
	c.SendText("hello")
	c.Want(ws.OpText, "hello")
}

// net/http ends the request's context when ServeHTTP has returned. The one of Upgrade.HTTPRequest has
// its values and lives on until the handshake has been answered.
func TestServeHTTPContext(t *testing.T) {
	original := make(chan context.Context, 1)
	deciding := make(chan *http.Request, 1)
	s := startMounted(t, session.Config{Routes: []session.Route{{
		Path: "/", Handler: session.Echo{},
		OnUpgrade: func(u *session.Upgrade) error {
			ctx := <-original
			select {
			case <-ctx.Done():
			case <-u.Context.Done(): // then ServeHTTP waits for the decision
				return errors.New("the context of net/http's request has not ended")
			}
			r, err := u.HTTPRequest()
			if err != nil {
				return err
			}
			if err := r.Context().Err(); err != nil {
				return err
			}
			deciding <- r
			return nil
		},
	}}})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), userKey{}, "alice")
		original <- ctx
		s.ServeHTTP(w, r.WithContext(ctx))
	}))
	defer web.Close()
	wstest.Dial(t, web.Listener.Addr().String(), "/") // 101
	r := waits.Receive(t, deciding, "the request")
	if user := r.Context().Value(userKey{}); user != "alice" {
		t.Errorf("user %v in the context, want alice", user)
	}
	waits.Receive(t, r.Context().Done(), "the end of the context, with that of the handshake")
}

// Requests that come during Shutdown get 503. Each of those before it gets 101 or 503, and those that
// became sessions get a Close frame. Pages are served on.
func TestServeHTTPShutdown(t *testing.T) {
	s, addr := mounted(t, session.Config{Routes: []session.Route{{Path: "/chat", Handler: session.Echo{}}}})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for openUntilClosed(t, addr, &clients) {
			}
		})
	}
	waits.Eventually(t, func() bool { return s.Stats().Sessions >= 20 }, "20 sessions are open")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown returned %v, want nil", err)
	}
	clients.Wait()
	if status, _ := get(t, http.DefaultClient, "http://"+addr+"/ws/chat"); status != 503 {
		t.Errorf("status %d after Shutdown, want 503", status)
	}
	if status, body := get(t, http.DefaultClient, "http://"+addr+"/page"); status != 200 || body != "page" {
		t.Errorf("the page has status %d, %q after Shutdown, want 200 and %q", status, body, "page")
	}
}

// openUntilClosed opens a session that lasts until the server closes it with 1001, and reports whether
// it could.
func openUntilClosed(t *testing.T, addr string, clients *sync.WaitGroup) bool {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return false
	}
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(nc)
	_, err = io.WriteString(nc, "GET /ws/chat HTTP/1.1\r\n"+upgradeRequest)
	var response *http.Response
	if err == nil {
		response, err = http.ReadResponse(r, nil)
	}
	if err != nil || response.StatusCode != 101 {
		nc.Close()
		if err != nil || response.StatusCode != 503 {
			t.Errorf("response %+v, %v, want 101 or 503", response, err)
		}
		return false
	}
	clients.Go(func() {
		defer nc.Close()
		f, err := wstest.ReadFrame(r)
		if code, _ := ws.ParseCloseFrameDataUnsafe(f.Payload); err != nil || code != ws.StatusGoingAway {
			t.Errorf("read %+v, %v, want a Close frame with 1001", f, err)
			return
		}
		_ = ws.WriteFrame(nc, ws.MaskFrame(f)) // or the connection is cut off, which fails Shutdown
	})
	return true
}
