package session_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
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

const upgradeFields = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

// request sends a request head and reads the answer; that of a refusal to the end of the
// connection.
func request(t *testing.T, addr, line, fields string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, line+" HTTP/1.1\r\n"+fields+"\r\n"); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(line, " ")
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode == 101 {
		return res, ""
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
		t.Errorf("%q behind the answer, %v", rest, err)
	}
	if !res.Close {
		t.Error("the answer does not announce the end of the connection")
	}
	return res, string(body)
}

// decide does what the path of a request names.
func decide(u *session.Upgrade) error {
	switch string(u.Request.Path) {
	case "/refused":
		return wsproto.Refusal(418, "short and stout")
	case "/moved":
		return u.Respond(&wsproto.Response{Status: 302, Header: []wsproto.Field{{Name: "Location", Value: "/elsewhere"}}, Body: []byte("over there")})
	case "/invalid":
		return u.Respond(&wsproto.Response{Status: 101})
	case "/split":
		return u.Respond(&wsproto.Response{Status: 400, Header: []wsproto.Field{{Name: "X", Value: "a\r\nb: c"}}})
	case "/switch":
		return &wsproto.RequestError{Status: 101, Reason: "x"}
	case "/zero":
		return &wsproto.RequestError{}
	case "/nil":
		var e *wsproto.RequestError
		return e
	case "/nilresponse":
		var e *wsproto.Response
		return u.Respond(e)
	case "/error":
		return errors.New("database is down")
	case "/panic":
		panic("as asked")
	case "/second":
		u.Subprotocol = "b"
	case "/own":
		u.Subprotocol = "own"
	case "/none":
		u.Subprotocol = ""
	case "/unoffered":
		u.Subprotocol = "z"
	case "/header":
		u.Header = append(u.Header, wsproto.Field{Name: "X-Extra", Value: string(u.Request.RawQuery)})
	case "/version":
		u.Header = append(u.Header, wsproto.Field{Name: "sec-websocket-version", Value: "8"})
	case "/badheader":
		u.Header = append(u.Header, wsproto.Field{Name: "Upgrade", Value: "h2c"})
	}
	if !u.RemoteAddr.IsValid() {
		return errors.New("no remote address")
	}
	return nil
}

func TestOnUpgrade(t *testing.T) {
	opened := make(chan session.Session, 1)
	route := session.Route{
		Path: "/", Mode: session.NeverBlocks,
		Handler:      session.HandlerFuncs{Open: func(s session.Session, _ *wsproto.Request) { opened <- s }},
		Subprotocols: []string{"a", "b"},
		Header:       []wsproto.Field{{Name: "X-Route", Value: "1"}},
		OnUpgrade:    decide,
	}
	for _, inline := range []bool{true, false} {
		route.Mode = loopIf(inline)
		s, addr := wstest.Serve(t, session.Config{Routes: []session.Route{route}})
		for _, c := range []struct {
			target string
			status int
			name   string // of a response field
			value  string
			body   string
			chosen string // subprotocol
		}{
			{"/refused", 418, "Content-Type", "text/plain; charset=utf-8", "short and stout\n", ""},
			{"/moved", 302, "Location", "/elsewhere", "over there", ""},
			{"/invalid", 500, "", "", "internal error\n", ""},
			{"/split", 500, "X", "", "internal error\n", ""},
			{"/switch", 500, "", "", "internal error\n", ""},
			{"/zero", 500, "", "", "internal error\n", ""},
			{"/nil", 500, "", "", "internal error\n", ""},
			{"/nilresponse", 500, "", "", "internal error\n", ""},
			{"/error", 500, "", "", "internal error\n", ""},
			{"/panic", 500, "", "", "internal error\n", ""},
			{"/unoffered", 500, "", "", "internal error\n", ""},
			{"/version", 500, "", "", "internal error\n", ""},
			{"/badheader", 500, "", "", "internal error\n", ""},
			{"/", 101, "X-Route", "1", "", "a"},
			{"/second", 101, "", "", "", "b"},
			{"/own", 101, "", "", "", "own"},
			{"/none", 101, "", "", "", ""},
			{"/header?x=y", 101, "X-Extra", "x=y", "", "a"},
		} {
			res, body := request(t, addr, "GET "+c.target, upgradeFields+"Sec-WebSocket-Protocol: own, b, a\r\n")
			if res.StatusCode != c.status || body != c.body || res.Header.Get(c.name) != c.value {
				t.Errorf("%s: %d %q %v", c.target, res.StatusCode, body, res.Header)
			}
			if got := strings.Join(res.Header.Values("Sec-WebSocket-Protocol"), "|"); got != c.chosen {
				t.Errorf("%s: subprotocol %q, want %q", c.target, got, c.chosen)
			}
			if res.StatusCode == 101 {
				ses := waits.Receive(t, opened, "the call of OnOpen")
				path, _, _ := strings.Cut(c.target, "?")
				// The client has gone already; what is known of it is right, or it has ended.
				if got := ses.Subprotocol(); got != c.chosen && got != "" {
					t.Errorf("%s: Subprotocol() %q", c.target, got)
				}
				if got := ses.Path(); got != path && got != "" {
					t.Errorf("%s: Path() %q", c.target, got)
				}
			}
		}
		if n := s.Stats().HandlerPanics; n != 1 {
			t.Errorf("%d panics counted", n)
		}
	}
}

// What a callback has chosen is known for as long as the session lives.
func TestSubprotocolOfCallback(t *testing.T) {
	_, addr := wstest.Serve(t, session.Config{Routes: []session.Route{{
		Path: "/", Mode: session.NeverBlocks,
		Handler: session.HandlerFuncs{Message: func(s session.Session, _ session.Message) { _ = s.SendText(s.Subprotocol()) }},
		OnUpgrade: func(u *session.Upgrade) error {
			for p := range u.Request.Subprotocols() {
				u.Subprotocol = string(p) // the last one
			}
			return nil
		},
	}}})
	c := wstest.DialWith(t, addr, "/", ws.Dialer{Protocols: []string{"x", "y", "z"}})
	c.SendText("which?")
	c.Want(ws.OpText, "z")
}

func TestPlainHTTP(t *testing.T) {
	hello := &wsproto.Response{Status: 200, Header: []wsproto.Field{{Name: "Content-Type", Value: "text/plain"}}, Body: []byte("hello")}
	route := session.Route{Path: "/", Mode: session.NeverBlocks, Handler: session.Echo{}, HTTP: func(r *wsproto.Request) *wsproto.Response {
		switch string(r.Path) {
		case "/hello":
			return hello
		case "/reset":
			return &wsproto.Response{Status: 205, Body: []byte("not allowed")}
		case "/empty":
			return &wsproto.Response{Status: 204}
		case "/panic":
			panic("as asked")
		}
		return nil
	}}
	for _, inline := range []bool{true, false} {
		route.Mode = loopIf(inline)
		s, addr := wstest.Serve(t, session.Config{Routes: []session.Route{route, {Path: "/bare", Handler: session.Echo{}, Mode: loopIf(inline)}}})
		for _, c := range []struct {
			line   string
			status int
			length int64
			body   string
		}{
			{"GET /hello", 200, 5, "hello"},
			{"HEAD /hello", 200, 5, ""},
			{"DELETE /hello", 200, 5, "hello"},
			{"GET /empty", 204, 0, ""},
			{"GET /reset", 205, 0, ""},
			{"HEAD /other", 404, 10, ""},
			{"HEAD /bare", 405, 29, ""},
			{"HEAD /", 404, 10, ""},
			{"GET /other", 404, 10, "not found\n"},
			{"GET /panic", 500, 15, "internal error\n"},
			{"GET /bare", 426, 29, "this is a WebSocket endpoint\n"},
		} {
			res, body := request(t, addr, c.line, "Host: x\r\n")
			if res.StatusCode != c.status || body != c.body || res.ContentLength != c.length {
				t.Errorf("%s: %d %q, length %d", c.line, res.StatusCode, body, res.ContentLength)
			}
			if c.status == 426 && (res.Header.Get("Upgrade") != "websocket" || res.Header.Get("Sec-WebSocket-Version") != "13") {
				t.Errorf("%s: %v", c.line, res.Header)
			}
		}
		if res, body := request(t, addr, "POST /hello", "Host: x\r\nContent-Length: 2\r\n\r\nab"); res.StatusCode != 400 || body != "request with a body\n" {
			t.Errorf("with a body: %d %q", res.StatusCode, body)
		}
		c := wstest.Dial(t, addr, "/hello") // the same path still speaks WebSocket
		c.SendText("a")
		c.Want(ws.OpText, "a")
		if n := s.Stats().Handshakes["200"]; n != 3 {
			t.Errorf("%d answers with 200 counted", n)
		}
	}
}

func TestOrigins(t *testing.T) {
	routes := map[string][]string{
		"/any":    nil,
		"/some":   {"https://good.com", "https://other.com:8443"},
		"/native": {"https://good.com", ""},
		"/star":   {"*"},
		"/files":  {"file://", "null"},
	}
	var cfg session.Config
	for path, origins := range routes {
		cfg.Routes = append(cfg.Routes, session.Route{Path: path, Handler: session.Echo{}, Mode: session.OnLoop, Origins: origins})
	}
	_, addr := wstest.Serve(t, cfg)
	const none = "none"
	for _, c := range []struct {
		path, origin string
		ok           bool
	}{
		{"/any", none, true}, {"/any", "https://evil.com", true}, {"/any", "null", true},
		{"/some", "https://good.com", true}, {"/some", "HTTPS://Good.com", true}, {"/some", "https://other.com:8443", true},
		{"/some", none, false}, {"/some", "null", false}, {"/some", "", false},
		{"/some", "http://good.com", false}, {"/some", "https://good.com:8443", false}, {"/some", "https://other.com", false},
		{"/some", "https://good.com.evil.com", false}, {"/some", "https://evilgood.com", false}, {"/some", "https://good.com.", false},
		{"/some", "https://good.com/", false}, {"/some", "https://good.com https://good.com", false}, {"/some", "*", false},
		{"/native", none, true}, {"/native", "https://good.com", true}, {"/native", "https://evil.com", false}, {"/native", "", false},
		{"/star", "https://evil.com", true}, {"/star", none, false},
		{"/files", "file://", true}, {"/files", "null", true}, {"/files", "file:///x", false}, {"/files", "file:", false},
		{"/files", none, false}, {"/files", "https://evil.com", false}, {"/some", "file://", false},
	} {
		fields := upgradeFields
		if c.origin != none {
			fields += "Origin: " + c.origin + "\r\n"
		}
		want := 403
		if c.ok {
			want = 101
		}
		if res, _ := request(t, addr, "GET "+c.path, fields); res.StatusCode != want {
			t.Errorf("%s from %q: %d, want %d", c.path, c.origin, res.StatusCode, want)
		}
	}
	if res, _ := request(t, addr, "GET /some", upgradeFields+"Origin: https://good.com\r\nOrigin: https://good.com\r\n"); res.StatusCode != 400 {
		t.Errorf("two origins: %d", res.StatusCode)
	}
	for _, o := range []string{"nil", "file:///x", "file:", "good.com", "https://good.com/", "https://", "https://*.good.com/x", "//good.com"} {
		_, err := session.NewServer(session.Config{Routes: []session.Route{{Path: "/", Mode: session.NeverBlocks, Handler: session.Echo{}, Origins: []string{o}}}})
		if err == nil || !strings.Contains(err.Error(), o) {
			t.Errorf("origin %q: %v", o, err)
		}
	}
}

// A type of message that a route does not take is refused by the header of its first frame.
func TestOnlyOneType(t *testing.T) {
	_, addr := wstest.Serve(t, session.Config{Routes: []session.Route{
		{Path: "/text", Mode: session.NeverBlocks, Handler: session.Echo{}, Only: wsproto.OpText},
		{Path: "/binary", Mode: session.NeverBlocks, Handler: session.Echo{}, Only: wsproto.OpBinary},
	}})
	for path, op := range map[string]ws.OpCode{"/text": ws.OpText, "/binary": ws.OpBinary} {
		c := wstest.Dial(t, addr, path)
		c.Send(ws.NewFrame(op, true, []byte("yes")))
		c.Want(op, "yes")
		c.Send(ws.NewFrame(op, false, []byte("y")))
		c.Send(ws.NewPingFrame(nil))
		c.Want(ws.OpPong, "")
		c.Send(ws.NewFrame(ws.OpContinuation, true, []byte("es")))
		c.Want(op, "yes")
		other := ws.OpText + ws.OpBinary - op
		if _, err := c.Write([]byte{0x80 | byte(other), 0xFF}); err != nil { // its length is still to come
			t.Fatal(err)
		}
		c.WantClose(1003)
	}
}

// A large answer of a route is not kept, and arrives whole.
func TestLargeHTTPAnswer(t *testing.T) {
	page := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	_, addr := wstest.Serve(t, session.Config{Routes: []session.Route{{Path: "/", Mode: session.NeverBlocks, Handler: session.Echo{}, HTTP: func(*wsproto.Request) *wsproto.Response {
		return &wsproto.Response{Status: 200, Body: page}
	}}}})
	if res, body := request(t, addr, "GET /", "Host: x\r\n"); res.StatusCode != 200 || body != string(page) {
		t.Errorf("%d with %d bytes", res.StatusCode, len(body))
	}
}

// A client that has sent its request and the end of its input still gets the answer.
func TestAnswerAfterHalfClose(t *testing.T) {
	for _, inline := range []bool{true, false} {
		s, addr := wstest.Serve(t, session.Config{Routes: []session.Route{{Path: "/", Handler: session.Echo{}, Mode: loopIf(inline)}}})
		for range 50 {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			_ = c.(*net.TCPConn).CloseWrite()
			answer, err := io.ReadAll(c)
			if !bytes.HasPrefix(answer, []byte("HTTP/1.1 426 ")) || err != nil {
				t.Fatalf("inline %v: %q, %v", inline, answer, err)
			}
			c.Close()
		}
		if n := s.Stats().Handshakes["aborted"]; n != 0 {
			t.Errorf("%d counted as aborted", n)
		}
	}
}

// A route may serve plain HTTP alone.
func TestRouteOfPlainHTTP(t *testing.T) {
	_, addr := wstest.Serve(t, session.Config{Routes: []session.Route{{Path: "/version", Mode: session.NeverBlocks, HTTP: func(*wsproto.Request) *wsproto.Response {
		return &wsproto.Response{Status: 200, Body: []byte("1")}
	}}}})
	resp, err := http.Get("http://" + addr + "/version")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if _ = resp.Body.Close(); err != nil || resp.StatusCode != 200 || string(body) != "1" {
		t.Errorf("%s %q, %v", resp.Status, body, err)
	}
	_, _, _, err = ws.Dial(t.Context(), "ws://"+addr+"/version")
	if status := ws.StatusError(0); !errors.As(err, &status) || status != 404 {
		t.Errorf("a handshake: %v", err)
	}
}
