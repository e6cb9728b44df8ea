package wsproto_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wsgateway/wsproto"
)

func TestParseRequest(t *testing.T) {
	for _, c := range []struct{ target, path, query, host string }{
		{"/", "/", "", "h"},
		{"/a/b?c=d?e", "/a/b", "c=d?e", "h"},
		{"/?", "/", "", "h"},
		{"//double", "//double", "", "h"},
		{"/%2e%2e/x", "/%2e%2e/x", "", "h"},
		{"/http://x/", "/http://x/", "", "h"},
		{"http://other", "/", "", "other"},
		{"https://other:8443/p?q", "/p", "q", "other:8443"},
		{"ws://other?q=/", "/", "q=/", "other"},
		{"WSS://[::1]:1/p", "/p", "", "[::1]:1"},
	} {
		var r wsproto.Request
		head := "GET " + c.target + " HTTP/1.1\r\nHost: h\r\n\r\n"
		if err := wsproto.ParseRequest([]byte(head), nil, &r); err != nil {
			t.Errorf("%s: %v", c.target, err)
			continue
		}
		got := []string{string(r.Method), string(r.Target), string(r.Path), string(r.RawQuery), string(r.Host)}
		if diff := cmp.Diff([]string{"GET", c.target, c.path, c.query, c.host}, got); diff != "" {
			t.Errorf("%s: %s", c.target, diff)
		}
	}
}

func TestRequestHeader(t *testing.T) {
	head := []byte("GET / HTTP/1.1\r\nHost: h\r\nX-A: \t one \t\r\nx-a: two\r\nEmpty:\r\nBlank: \t\r\nOrigin: null\r\n\r\n")
	var r wsproto.Request
	if err := wsproto.ParseRequest(head, nil, &r); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"X-A": "one", "x-A": "one", "EMPTY": "", "blank": "", "host": "h", "Origin": "null"} {
		if v, ok := r.Header(name); !ok || string(v) != want {
			t.Errorf("%s: %q, %v", name, v, ok)
		}
	}
	for _, name := range []string{"", "X", "X-AB", "X_A", ":"} {
		if v, ok := r.Header(name); ok {
			t.Errorf("%s: %q", name, v)
		}
	}
	var all []string
	r.EachHeader(func(name, value []byte) bool {
		all = append(all, fmt.Sprintf("%s=%s", name, value))
		return len(all) < 5
	})
	if diff := cmp.Diff([]string{"Host=h", "X-A=one", "x-a=two", "Empty=", "Blank="}, all); diff != "" {
		t.Error(diff)
	}
	if v, _ := r.Header("X-A"); &v[0] != &head[strings.Index(string(head), "one")] || cap(v) != 3 {
		t.Error("value is no view of its own bytes")
	}
}

// A head cut anywhere, or with something behind it, is refused.
func TestParseRequestWholeHeadOnly(t *testing.T) {
	var r wsproto.Request
	for i := range len(sampleHead) {
		if err := wsproto.ParseRequest([]byte(sampleHead[:i]), nil, &r); status(t, err) != 400 {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	for _, more := range []string{"\x81", "\r\n", "GET / HTTP/1.1\r\n\r\n"} {
		if err := wsproto.ParseRequest([]byte(sampleHead+more), nil, &r); status(t, err) != 400 {
			t.Errorf("%q behind: %v", more, err)
		}
	}
}

// No octet but the allowed ones gets through, at any place of a head, and the
// answer is the same with and without HeadEnd.
func TestEveryOctetInHead(t *testing.T) {
	const head = "GET /p HTTP/1.1\r\nHost: h\r\nX-A: v\r\n\r\n"
	const token = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var r wsproto.Request
	for c := range 256 {
		visible := 0x20 < c && c < 0x7F
		for _, place := range []struct {
			at   string
			good bool
		}{
			{"p HTTP", visible && c != '#'},
			{"A: v", strings.IndexByte(token, byte(c)) >= 0},
			{"v\r\n", c == '\t' || c >= 0x20 && c != 0x7F},
		} {
			i := strings.Index(head, place.at)
			in := []byte(head)
			in[i] = byte(c)
			if place.at == "A: v" && c == ':' {
				continue // ends the name
			}
			err := wsproto.ParseRequest(in, nil, &r)
			if place.good && err != nil || !place.good && status(t, err) != 400 {
				t.Errorf("%#02x at %q: %v", c, place.at, err)
			}
			_, herr := wsproto.HeadEnd(in, 0, nil)
			if herr != nil && err == nil {
				t.Errorf("%#02x at %q: HeadEnd %v", c, place.at, herr)
			}
		}
	}
}
