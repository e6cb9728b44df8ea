package wsproto_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"wsgateway/wsproto"
)

// status returns the HTTP status of a refusal, 0 for none.
func status(tb testing.TB, err error) int {
	tb.Helper()
	if err == nil {
		return 0
	}
	var re *wsproto.RequestError
	if !errors.As(err, &re) {
		tb.Fatalf("error %v of type %T", err, err)
	}
	return re.Status
}

// feedHead calls HeadEnd as the bytes arrive and returns its first answer, and
// behind how many bytes it came.
func feedHead(chunks [][]byte, lim *wsproto.HeadLimits) (n, at int, err error) {
	var p []byte
	for _, c := range chunks {
		from := len(p)
		p = append(p, c...)
		if n, err = wsproto.HeadEnd(p, from, lim); n > 0 || err != nil {
			return n, len(p), err
		}
	}
	return 0, len(p), nil
}

// headOf returns a head of exactly size bytes, with n fields.
func headOf(size, n int) []byte {
	p := []byte("GET / HTTP/1.1\r\n")
	for range n - 1 {
		p = append(p, "a:\r\n"...)
	}
	p = append(p, "b:"...)
	p = append(p, strings.Repeat("x", size-len(p)-4)...)
	return append(p, "\r\n\r\n"...)
}

func requestLineOf(size int) []byte {
	return []byte("GET /" + strings.Repeat("x", size-len("GET / HTTP/1.1")) + " HTTP/1.1\r\n")
}

var headVectors = []struct {
	name   string
	in     string
	status int // 0 if the head ends with the input
}{
	{"minimal", "GET / HTTP/1.1\r\n\r\n", 0},
	{"fields", "GET / HTTP/1.1\r\nHost: a\r\nX: \t y\r\n\r\n", 0},
	{"obs_text_in_value", "GET / HTTP/1.1\r\nX: \x80\xFF\r\n\r\n", 0},
	{"RFC9112/2.2/bare_LF", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
	{"RFC9112/2.2/bare_LF_in_fields", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
	{"RFC9112/2.2/bare_LF_as_blank_line", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
	{"RFC9112/2.2/bare_CR", "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400},
	{"RFC9112/2.2/two_CR", "GET / HTTP/1.1\r\r\n", 400},
	{"RFC9112/2.2/bare_CR_in_target", "GET /\r HTTP/1.1\r\n\r\n", 400},
	{"RFC9112/2.2/leading_empty_line", "\r\nGET / HTTP/1.1\r\n\r\n", 400},
	{"NUL", "GET / HTTP/1.1\r\nX: \x00", 400},
	{"ESC", "GET / HTTP/1.1\r\nX: \x1B[0m", 400},
	{"DEL", "GET / HTTP/1.1\r\nX: \x7F", 400},
	{"control_in_target", "GET /\x01", 400},
	{"garbage/TLS", "\x16\x03\x01\x02\x00", 400},
	{"garbage/SSH", "SSH-2.0-OpenSSH_9.7\r\n", 400},
	{"garbage/space", " GET / HTTP/1.1\r\n\r\n", 400},
	{"garbage/NUL", "\x00", 400},
	{"garbage/frame", "\x81\x85", 400},
	{"garbage/PROXY_v2", "\r\n\r\n\x00\r\nQUIT\n", 400},
	{"garbage/endless_method", strings.Repeat("A", 33), 400},
	{"garbage/JSON", `{"method":"GET"}`, 400},
	{"RFC9113/3.4/preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	{"request_line_over", string(requestLineOf(101)), 414},
	{"request_line_over_without_end", "GET /" + strings.Repeat("x", 96), 414},
	{"request_line_at", string(requestLineOf(100)) + "\r\n", 0},
	{"field_line_is_not_bound_by_that", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 200) + "\r\n\r\n", 0},
	{"bytes_at", string(headOf(300, 1)), 0},
	{"bytes_over", string(headOf(301, 1)), 431},
	{"bytes_at_without_end", string(headOf(302, 1)[:300]), 431},
	{"fields_at", string(headOf(100, 8)), 0},
	{"fields_over", string(headOf(100, 9)), 431},
	{"first_fault_counts/control_then_fields", "GET / HTTP/1.1\r\na:\x00\r\n" + strings.Repeat("a:\r\n", 20), 400},
	{"first_fault_counts/fields_then_control", "GET / HTTP/1.1\r\n" + strings.Repeat("a:\r\n", 9) + "a:\x00\r\n\r\n", 431},
	{"first_fault_counts/line_then_control", "GET /" + strings.Repeat("x", 100) + "\x00", 414},
	{"first_fault_counts/control_then_line", "GET /" + strings.Repeat("x", 90) + "\x00" + strings.Repeat("x", 90), 400},
	{"first_fault_counts/control_then_bytes", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 270) + "\x00" + strings.Repeat("x", 90), 400},
	{"first_fault_counts/bytes_then_control", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 290) + "\x00" + strings.Repeat("x", 90), 431},
}

var smallHead = wsproto.HeadLimits{MaxBytes: 300, MaxLine: 100, MaxFields: 8}

func TestHeadEnd(t *testing.T) {
	for _, v := range headVectors {
		t.Run(v.name, func(t *testing.T) {
			for name, chunks := range splits([]byte(v.in), 5, newRand(t)) {
				n, _, err := feedHead(chunks, &smallHead)
				if status(t, err) != v.status {
					t.Errorf("%s: %v, want %d", name, err, v.status)
				}
				if v.status == 0 && n != len(v.in) {
					t.Errorf("%s: ends at %d of %d", name, n, len(v.in))
				}
			}
		})
	}
}

// Every proper beginning of a head is incomplete; what follows it is not read.
func TestHeadEndIncomplete(t *testing.T) {
	head := []byte(browserHead)
	for i := range len(head) {
		if n, err := wsproto.HeadEnd(head[:i], 0, nil); n != 0 || err != nil {
			t.Fatalf("%d bytes: %d, %v", i, n, err)
		}
	}
	p := append(head, "\x00\x81\n\r\r\n\r\n"...)
	for from := range len(head) {
		if n, err := wsproto.HeadEnd(p, from, nil); n != len(head) || err != nil {
			t.Fatalf("from %d: %d, %v", from, n, err)
		}
	}
}

func TestHeadEndDefaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		in     []byte
		status int
	}{
		{"bytes_under", headOf(8191, 3), 0},
		{"bytes_at", headOf(8192, 3), 0},
		{"bytes_over", headOf(8193, 3), 431},
		{"line_under", append(requestLineOf(4095), "\r\n"...), 0},
		{"line_at", append(requestLineOf(4096), "\r\n"...), 0},
		{"line_over", append(requestLineOf(4097), "\r\n"...), 414},
		{"fields_under", headOf(1000, 63), 0},
		{"fields_at", headOf(1000, 64), 0},
		{"fields_over", headOf(1000, 65), 431},
		{"64_MiB_line", append([]byte("GET /"), make([]byte, 64<<20)...), 414},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "64_MiB_line" {
				for i := 5; i < len(c.in); i++ {
					c.in[i] = 'x'
				}
			}
			var err error
			if spent := allocated(func() { _, err = wsproto.HeadEnd(c.in, 0, nil) }); spent > 64<<10 {
				t.Errorf("%d bytes allocated", spent)
			}
			if status(t, err) != c.status {
				t.Errorf("%v, want %d", err, c.status)
			}
			var r wsproto.Request
			if c.status != 0 && len(c.in) < 1<<20 {
				if err := wsproto.ParseRequest(c.in, nil, &r); status(t, err) != c.status {
					t.Errorf("ParseRequest: %v", err)
				}
			}
		})
	}
}

// Byte by byte, a call looks at its new byte and the three before it: everything
// earlier may be replaced by what would be refused, and the answers stay the same.
// So the sum over a head is linear. (Line ends are counted again by the calls that
// bring one; a head has no more of those than MaxFields+2.)
func TestHeadEndLooksAtNewBytes(t *testing.T) {
	head := headOf(4000, 60)
	for i := 40; i < len(head); i++ {
		p := bytes.Repeat([]byte{0x00}, i+1)
		copy(p[i-3:], head[i-3:i+1])
		n, err := wsproto.HeadEnd(p, i, nil)
		if err != nil || (n > 0) != (i == len(head)-1) {
			t.Fatalf("byte %d: %d, %v", i, n, err)
		}
	}
}

func TestAppendRefusal(t *testing.T) {
	all := []*wsproto.RequestError{
		wsproto.ErrEarlyData, wsproto.ErrUnauthorized, wsproto.ErrForbidden, wsproto.ErrNotFound, wsproto.ErrTimeout,
		wsproto.ErrTooMany, wsproto.ErrInternal, wsproto.ErrOverloaded, wsproto.Refusal(502, "bad gateway"),
		wsproto.Refusal(599, ""), wsproto.Refusal(426, "x"), wsproto.Refusal(405, "x"),
	}
	for _, v := range upgradeVectors {
		var r wsproto.Request
		var re *wsproto.RequestError
		err := wsproto.ParseRequest([]byte(v.in), nil, &r)
		if err == nil {
			err = r.CheckUpgrade()
		}
		if errors.As(err, &re) {
			all = append(all, re)
		}
	}
	for _, e := range all {
		for _, retry := range []int{0, 7} {
			out := string(wsproto.AppendRefusal([]byte("before"), e, retry, false))
			res := parseResponse(t, strings.TrimPrefix(out, "before"))
			if res.StatusCode != e.Status || res.body != e.Reason+"\n" || res.ContentLength != int64(len(res.body)) {
				t.Errorf("%v:\n%s", e, out)
			}
			connection := "close"
			if e.Status == 426 {
				connection = "Upgrade, close"
				if res.Header.Get("Upgrade") != "websocket" || res.Header.Get("Sec-WebSocket-Version") != "13" {
					t.Errorf("%v:\n%s", e, out)
				}
			}
			if !strings.Contains(out, "\r\nConnection: "+connection+"\r\n") || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("%v:\n%s", e, out)
			}
			if (res.Header.Get("Allow") == "GET") != (e.Status == 405) || (res.Header.Get("WWW-Authenticate") != "") != (e.Status == 401) {
				t.Errorf("%v:\n%s", e, out)
			}
			if want := map[int]string{0: "", 7: "7"}[retry]; res.Header.Get("Retry-After") != want {
				t.Errorf("%v: Retry-After %q", e, res.Header.Get("Retry-After"))
			}
			if !strings.Contains(e.Error(), e.Reason) || !strings.Contains(e.Error(), fmt.Sprint(e.Status)) {
				t.Errorf("error %q", e)
			}
		}
	}
}

func TestRefusal(t *testing.T) {
	for _, status := range []int{-1, 0, 101, 200, 302, 399, 600, 1000} {
		if got := wsproto.Refusal(status, "x").Status; got != 500 {
			t.Errorf("status %d became %d", status, got)
		}
	}
	if got := wsproto.Refusal(403, "a\r\nSet-Cookie: b\x1B\xFF").Reason; got != "a  Set-Cookie: b  " {
		t.Errorf("reason %q", got)
	}
	if got := wsproto.Refusal(403, strings.Repeat("x", 1000)).Reason; len(got) != 200 {
		t.Errorf("reason of %d bytes", len(got))
	}
}
