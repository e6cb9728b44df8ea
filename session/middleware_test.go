package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// A chain sees calls from its first to its last, and what it does not replace is the handler's own.
func TestChain(t *testing.T) {
	var mu sync.Mutex
	var got []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, fmt.Sprintf(format, args...))
	}
	tag := func(name string) session.Middleware {
		return func(next session.Handler) session.Handler {
			f := session.Funcs(next)
			message := f.Message
			f.Message = func(s session.Session, m session.Message) {
				note("%s", name)
				message(s, m)
			}
			return f
		}
	}
	swallow := func(next session.Handler) session.Handler {
		f := session.Funcs(next)
		message := f.Message
		f.Message = func(s session.Session, m session.Message) {
			if string(m.Data) != "secret" {
				message(s, m)
			}
		}
		return f
	}
	h := session.Chain(allHooks{note}, tag("a"), swallow, tag("b"))
	_, addr := wstest.Serve(t, oneRoute(h))
	c := wstest.Dial(t, addr, "/")
	c.SendText("hello")
	c.SendText("secret")
	c.Send(ws.NewBinaryFrame([]byte("x")))
	c.Send(ws.NewPingFrame(nil))
	c.Send(ws.NewPongFrame(nil))
	c.Close()
	want := "open a b text:hello a binary ping pong error close"
	waits.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return strings.HasSuffix(strings.Join(got, " "), "close") }, "the last call is that of OnClose")
	if s := strings.Join(got, " "); s != want {
		t.Errorf("%q, want %q", s, want)
	}
}

// allHooks is a handler that has every method one can have.
type allHooks struct{ note func(string, ...any) }

func (h allHooks) OnOpen(session.Session, *wsproto.Request)       { h.note("open") }
func (h allHooks) OnMessage(_ session.Session, m session.Message) { h.note("text:%s", m.Data) }
func (h allHooks) OnBinary(session.Session, []byte)               { h.note("binary") }
func (h allHooks) OnPing(session.Session, []byte) bool            { h.note("ping"); return true }
func (h allHooks) OnPong(session.Session, []byte)                 { h.note("pong") }
func (h allHooks) OnError(session.Session, error)                 { h.note("error") }
func (h allHooks) OnClose(session.Session, session.CloseInfo)     { h.note("close") }

func TestChainUpgrade(t *testing.T) {
	cfg := oneRoute(session.HandlerFuncs{Message: func(s session.Session, _ session.Message) { _ = s.SendText(fmt.Sprint(s.Value())) }})
	cfg.Routes[0].OnUpgrade = session.ChainUpgrade(
		session.SameOrigin,
		func(u *session.Upgrade) error { u.Value = "first"; return nil },
		func(u *session.Upgrade) error {
			if _, ok := u.Request.Header("X-No"); ok {
				return wsproto.Refusal(http.StatusForbidden, "no")
			}
			u.Value = fmt.Sprint(u.Value, " second")
			return nil
		},
	)
	_, addr := wstest.Serve(t, cfg)
	c := wstest.Dial(t, addr, "/")
	c.SendText("?")
	c.Want(ws.OpText, "first second")
	for fields, status := range map[string]int{
		"":                          101,
		"X-No: 1\r\n":               403,
		"Origin: http://x\r\n":      101, // upgradeFields has the host x
		"Origin: https://X\r\n":     101,
		"Origin: http://x:81\r\n":   403,
		"Origin: http://evil\r\n":   403,
		"Origin: null\r\n":          403,
		"Origin: http://x.evil\r\n": 403,
	} {
		if res, _ := request(t, addr, "GET /", upgradeFields+fields); res.StatusCode != status {
			t.Errorf("%q: status %d, want %d", fields, res.StatusCode, status)
		}
	}
}

// lines is a writer that is safe to look into.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }
func (l *lines) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// The access log has every handshake and every end; the other log has none of them.
func TestAccessLog(t *testing.T) {
	var access, log lines
	fails := make(chan session.Failure, 10)
	paths := make(chan string, 10)
	h, ends := recorder()
	cfg := oneRoute(h)
	cfg.AccessLog = slog.New(slog.NewTextHandler(&access, nil))
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	cfg.OnFail = func(f session.Failure) {
		if f.Request != nil {
			paths <- string(f.Request.Path)
		}
		f.Request = nil
		fails <- f
	}
	cfg.Routes[0].Path = "/{$}"
	cfg.Routes[0].Subprotocols = []string{"p"}
	_, addr := wstest.Serve(t, cfg)
	c := wstest.DialWith(t, addr, "/?token=secret", ws.Dialer{Protocols: []string{"p"}, Header: ws.HandshakeHeaderHTTP(http.Header{"User-Agent": {"me"}})})
	c.Send(ws.NewCloseFrame(ws.NewCloseFrameBody(4003, "enough")))
	ends.want(t, session.CloseInfo{Code: 4003, Reason: "enough", Initiator: session.ByClient, Clean: true})
	request(t, addr, "GET /nowhere", upgradeFields)
	if f := waits.Receive(t, fails, "the call of OnFail"); f.Status != 404 || !errors.Is(f.Err, wsproto.ErrNotFound) || !f.RemoteAddr.IsValid() {
		t.Errorf("%+v", f)
	}
	if path := waits.Receive(t, paths, "the path of the request"); path != "/nowhere" {
		t.Errorf("OnFail has a request for %q, want /nowhere", path)
	}
	request(t, addr, "GET / nonsense", upgradeFields)
	if f := waits.Receive(t, fails, "the call of OnFail"); f.Status != 400 || f.Err == nil || len(paths) > 0 {
		t.Errorf("%+v", f)
	}
	for _, want := range []string{
		"msg=handshake", "status=101", "path=/ ", "user_agent=me", "subprotocol=p", "session=",
		"msg=close", "code=4003", "reason=enough", "initiator=client", "clean=true",
		"status=404", "path=/nowhere", "status=400",
	} {
		if !strings.Contains(access.String(), want) {
			t.Errorf("the access log has no %q:\n%s", want, access.String())
		}
	}
	if strings.Contains(access.String(), "secret") || strings.Contains(log.String(), "handshake") {
		t.Errorf("%s\n%s", access.String(), log.String())
	}
}

func TestSessionLogger(t *testing.T) {
	var log lines
	ids := make(chan string, 1)
	cfg := oneRoute(session.HandlerFuncs{Open: func(s session.Session, _ *wsproto.Request) {
		s.Logger().Info("hello", "other", s)
		ids <- s.ID()
	}})
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	_, addr := wstest.Serve(t, cfg)
	wstest.Dial(t, addr, "/")
	if id := waits.Receive(t, ids, "the call of OnOpen"); !strings.Contains(log.String(), "session="+id+" other="+id) {
		t.Error(log.String())
	}
}

func TestStopListening(t *testing.T) {
	srv, addr := wstest.Serve(t, oneRoute(session.Echo{}))
	c := wstest.Dial(t, addr, "/")
	srv.StopListening()
	c.SendText("still")
	c.Want(ws.OpText, "still")
	if _, _, _, err := (ws.Dialer{}).Dial(t.Context(), "ws://"+addr+"/"); err == nil {
		t.Error("somebody could connect")
	}
}

// Shutdown does not wait for clients that have not said anything, as browsers open connections in
// advance.
func TestShutdownDropsTheSilent(t *testing.T) {
	cfg := oneRoute(session.Echo{})
	cfg.HandshakeTimeout = time.Hour
	srv, addr := wstest.Serve(t, cfg)
	for range 5 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	waits.Becomes(t, func() int { return srv.Stats().Conns }, 5, "open connections")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if n := srv.Stats().Handshakes["aborted"]; n != 5 {
		t.Errorf("%d aborted", n)
	}
}
