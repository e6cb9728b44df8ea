package wsproto_test

import (
	"bytes"
	"fmt"
	"testing"

	"wsgateway/wsproto"
)

// describe is all that a request says.
func describe(r *wsproto.Request) string {
	s := fmt.Sprintf("%q %q %q %q %q %q nil=%v %v %v", r.Method, r.Target, r.Path, r.RawQuery, r.Host, r.Origin,
		r.Origin == nil, r.CheckUpgrade() == nil, r.AsksForWebSocket())
	r.EachHeader(func(name, value []byte) bool {
		s += fmt.Sprintf("\n%q: %q", name, value)
		return true
	})
	return s
}

// A copy says what the request says, also when the head that this was parsed from is another's by
// now.
func TestRequestCopyTo(t *testing.T) {
	const rest = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	var dst wsproto.Request
	for name, head := range map[string]string{
		"origin form":       "GET /chat?a=b HTTP/1.1\r\nHost: example.com\r\nOrigin: https://example.com\r\n" + rest,
		"empty query":       "GET /? HTTP/1.1\r\nHost: example.com\r\n" + rest,
		"absolute form":     "GET http://example.com:80/x?y HTTP/1.1\r\nHost: other\r\n" + rest,
		"no path":           "GET http://example.com HTTP/1.1\r\nHost: other\r\nX: \r\n" + rest,
		"no path but query": "GET http://example.com?q HTTP/1.1\r\nHost: other\r\n" + rest,
		"plain":             "HEAD / HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\nCookie: c=d\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var r wsproto.Request
			buf := []byte(head)
			if err := wsproto.ParseRequest(buf, nil, &r); err != nil {
				t.Fatal(err)
			}
			want := describe(&r)
			r.CopyTo(&dst, bytes.Clone(r.Head()))
			for i := range buf {
				buf[i] = '!'
			}
			if got := describe(&dst); got != want {
				t.Errorf("the copy says\n%s\nthe request said\n%s", got, want)
			}
		})
	}
}

// A copy of a copy, and into the same bytes, is one too; with room for its fields it costs no
// allocation.
func TestRequestCopyToAllocatesNothing(t *testing.T) {
	head := []byte("GET / HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\n\r\n")
	var r, a, b wsproto.Request
	if err := wsproto.ParseRequest(head, nil, &r); err != nil {
		t.Fatal(err)
	}
	other := bytes.Clone(head)
	if n := testing.AllocsPerRun(100, func() {
		r.CopyTo(&a, head)
		a.CopyTo(&b, other)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
	if describe(&b) != describe(&r) {
		t.Error("a copy of a copy differs")
	}
}
