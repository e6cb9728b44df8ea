package wsproto_test

import (
	"io"
	"testing"

	"wsgateway/wsproto"
)

func TestHTTPRequest(t *testing.T) {
	head := []byte("GET /room/%C3%A9?a=1&b=2&a=3 HTTP/1.1\r\nHost: example.com:8080\r\n" +
		"Cookie: sid=s1; theme=dark\r\nAuthorization: Basic dXNlcjpwYXNz\r\nX-A: 1\r\nX-A: 2\r\n\r\n")
	var r wsproto.Request
	if err := wsproto.ParseRequest(head, nil, &r); err != nil {
		t.Fatal(err)
	}
	req, err := r.HTTPRequest()
	if err != nil {
		t.Fatal(err)
	}
	for i := range head {
		head[i] = 'x' // what was returned is a copy
	}
	cookie, err := req.Cookie("theme")
	if err != nil || cookie.Value != "dark" {
		t.Errorf("cookie theme is %v (%v), want dark", cookie, err)
	}
	if user, password, ok := req.BasicAuth(); user != "user" || password != "pass" || !ok {
		t.Errorf("BasicAuth is %q, %q, %v, want user, pass, true", user, password, ok)
	}
	if req.Host != "example.com:8080" || req.URL.Path != "/room/é" || req.Method != "GET" {
		t.Errorf("host %q, path %q, method %q, want example.com:8080, /room/é, GET", req.Host, req.URL.Path, req.Method)
	}
	if got := req.Header.Values("X-A"); len(got) != 2 || got[0] != "1" || got[1] != "2" {
		t.Errorf("X-A is %q, want 1 and 2", got)
	}
	if got := req.URL.Query()["a"]; len(got) != 2 || got[1] != "3" {
		t.Errorf("query a is %q, want 1 and 3", got)
	}
	if body, err := io.ReadAll(req.Body); len(body) != 0 || err != nil {
		t.Errorf("body is %q (%v), want none", body, err)
	}
}

func TestQuery(t *testing.T) {
	var r wsproto.Request
	if err := wsproto.ParseRequest([]byte("GET /?token=a%20b&x=%zz&y HTTP/1.1\r\nHost: h\r\n\r\n"), nil, &r); err != nil {
		t.Fatal(err)
	}
	q := r.Query()
	if q.Get("token") != "a b" || q.Has("x") || !q.Has("y") {
		t.Errorf("query is %v, want token=%q, y, and no x, which is malformed", q, "a b")
	}
}
