package wsproto_test

import (
	"bytes"
	"errors"
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

// requestLineOf returns a request line with a target of that many bytes.
func requestLineOf(target int) []byte {
	return []byte("GET /" + strings.Repeat("x", target-1) + " HTTP/1.1\r\n")
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
	{"RFC9112/2.2/leading_empty_line", "\r\nGET / HTTP/1.1\r\n\r\n", 0},
	{"RFC9112/2.2/leading_empty_lines_at", strings.Repeat("\r\n", 4) + "GET / HTTP/1.1\r\n\r\n", 0},
	{"RFC9112/2.2/leading_empty_lines_over", strings.Repeat("\r\n", 5) + "GET / HTTP/1.1\r\n\r\n", 400},
	{"RFC9112/2.2/leading_bare_LF", "\nGET / HTTP/1.1\r\n\r\n", 400},
	{"RFC9112/2.2/leading_bare_CR", "\rGET / HTTP/1.1\r\n\r\n", 400},
	{"RFC9112/2.2/leading_CR_CR_LF", "\r\r\nGET / HTTP/1.1\r\n\r\n", 400},
	{"RFC9112/2.2/leading_line_with_a_space", " \r\nGET / HTTP/1.1\r\n\r\n", 400},
	{"RFC9112/2.2/leading_line_then_a_space", "\r\n GET / HTTP/1.1\r\n\r\n", 400},
	{"RFC9112/2.2/leading_empty_lines_count/at", "\r\n\r\n" + string(headOf(296, 1)), 0},
	{"RFC9112/2.2/leading_empty_lines_count/over", "\r\n\r\n" + string(headOf(297, 1)), 431},
	{"RFC9112/2.2/leading_empty_line_and_target_at", "\r\n" + string(requestLineOf(100)) + "\r\n", 0},
	{"RFC9112/2.2/leading_empty_line_and_target_over", "\r\n" + string(requestLineOf(101)), 414},
	{"RFC9112/2.2/leading_empty_line_and_fields_at", "\r\n" + string(headOf(100, 8)), 0},
	{"RFC9112/2.2/leading_empty_line_and_fields_over", "\r\n" + string(headOf(100, 9)), 431},
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
	{"target_over", string(requestLineOf(101)), 414},
	{"target_over_without_end", "GET /" + strings.Repeat("x", 100), 414},
	{"target_at", string(requestLineOf(100)) + "\r\n", 0},
	{"field_line_is_not_bound_by_that", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 200) + "\r\n\r\n", 0},
	{"bytes_at", string(headOf(300, 1)), 0},
	{"bytes_over", string(headOf(301, 1)), 431},
	{"bytes_at_without_end", string(headOf(302, 1)[:300]), 431},
	{"fields_at", string(headOf(100, 8)), 0},
	{"fields_over", string(headOf(100, 9)), 431},
	{"first_fault_counts/control_then_fields", "GET / HTTP/1.1\r\na:\x00\r\n" + strings.Repeat("a:\r\n", 20), 400},
	{"first_fault_counts/fields_then_control", "GET / HTTP/1.1\r\n" + strings.Repeat("a:\r\n", 9) + "a:\x00\r\n\r\n", 431},
	{"first_fault_counts/target_then_control", "GET /" + strings.Repeat("x", 100) + "\x00", 414},
	{"first_fault_counts/control_then_target", "GET /" + strings.Repeat("x", 90) + "\x00" + strings.Repeat("x", 90), 400},
	{"first_fault_counts/control_then_bytes", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 270) + "\x00" + strings.Repeat("x", 90), 400},
	{"first_fault_counts/bytes_then_control", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 290) + "\x00" + strings.Repeat("x", 90), 431},
}

var smallHead = wsproto.HeadLimits{MaxBytes: 300, MaxTarget: 100, MaxFields: 8}

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
		{"bytes_under", headOf(16383, 3), 0},
		{"bytes_at", headOf(16384, 3), 0},
		{"bytes_over", headOf(16385, 3), 431},
		{"target_under", append(requestLineOf(8191), "\r\n"...), 0},
		{"target_at", append(requestLineOf(8192), "\r\n"...), 0},
		{"target_over", append(requestLineOf(8193), "\r\n"...), 414},
		{"fields_under", headOf(1000, 99), 0},
		{"fields_at", headOf(1000, 100), 0},
		{"fields_over", headOf(1000, 101), 431},
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
