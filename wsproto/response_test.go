package wsproto_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"wsgateway/wsproto"
)

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
			out := string(wsproto.AppendRefusal([]byte("before"), e, wsproto.ResponseOptions{RetryAfter: retry, Date: []byte(sampleDate)}))
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
			if got := res.Header.Get("Date"); got != sampleDate {
				t.Errorf("%v: Date %q, want %q", e, got, sampleDate)
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

func TestAppendResponse(t *testing.T) {
	for _, c := range []struct {
		name     string
		response wsproto.Response
		options  wsproto.ResponseOptions
		want     string
	}{
		{"page", wsproto.Response{Status: 200, Header: []wsproto.Field{{"Content-Type", "text/plain"}}, Body: []byte("hi")}, wsproto.ResponseOptions{},
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\nhi"},
		{"RFC9110/6.6.1/date", wsproto.Response{Status: 404}, wsproto.ResponseOptions{Date: []byte(sampleDate)},
			"HTTP/1.1 404 Not Found\r\nDate: " + sampleDate + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"RFC9110/6.6.1/date_of_the_caller", wsproto.Response{Status: 302, Header: []wsproto.Field{{"date", "x"}}}, wsproto.ResponseOptions{Date: []byte(sampleDate)},
			"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\ndate: x\r\n\r\n"},
		{"RFC9110/9.3.2/HEAD", wsproto.Response{Status: 200, Body: []byte("hi")}, wsproto.ResponseOptions{OmitBody: true},
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"},
		{"RFC9110/15.3.5/no_content", wsproto.Response{Status: 204, Body: []byte("hi")}, wsproto.ResponseOptions{},
			"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"},
		{"RFC9110/15.3.6/reset_content", wsproto.Response{Status: 205, Body: []byte("hi")}, wsproto.ResponseOptions{},
			"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"RFC9110/15.5.22/upgrade_required", wsproto.Response{Status: 426}, wsproto.ResponseOptions{},
			"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := wsproto.AppendResponse([]byte("before"), &c.response, c.options)
			if err != nil || string(out) != "before"+c.want {
				t.Errorf("got %q, %v; want %q", out, err, c.want)
			}
		})
	}
	for _, r := range []wsproto.Response{
		{Status: 0}, {Status: 101}, {Status: 199}, {Status: 600},
		{Status: 200, Header: []wsproto.Field{{"X", "a\r\nb"}}}, {Status: 200, Header: []wsproto.Field{{"Content-Length", "1"}}},
	} {
		if out, err := wsproto.AppendResponse([]byte("before"), &r, wsproto.ResponseOptions{}); err != wsproto.ErrInternal || string(out) != "before" {
			t.Errorf("%+v: got %q, %v; want nothing and %v", r, out, err, wsproto.ErrInternal)
		}
	}
}

// A server with a clock sends Date in every response; what the caller sets comes first.
func TestUpgradeDate(t *testing.T) {
	for _, c := range []struct {
		date   string
		header []wsproto.Field
		want   []string
	}{
		{"", nil, nil},
		{sampleDate, nil, []string{sampleDate}},
		{sampleDate, []wsproto.Field{{"X-A", "b"}}, []string{sampleDate}},
		{sampleDate, []wsproto.Field{{"dAtE", "x"}}, []string{"x"}},
	} {
		out, _, _, err := shake(t, []byte(sampleHead), &wsproto.Accept{Date: []byte(c.date), Header: c.header, Deflate: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := parseResponse(t, string(out)).Header.Values("Date"); strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("date %q, header %v: got Date %q, want %q", c.date, c.header, got, c.want)
		}
	}
}

func TestDateFormatter(t *testing.T) {
	var f wsproto.DateFormatter
	for _, c := range []struct {
		t    time.Time
		want string
	}{
		{time.Unix(0, 0), "Thu, 01 Jan 1970 00:00:00 GMT"},
		{time.Unix(784111777, 0), sampleDate},
		{time.Unix(784111777, 999_999_999), sampleDate},
		{time.Unix(784111777, 0).In(time.FixedZone("", 3600)), sampleDate},
		{time.Unix(784111778, 0), "Sun, 06 Nov 1994 08:49:38 GMT"},
		{time.Unix(784111777, 0), sampleDate}, // the clock was set back
		{time.Unix(-1, 0), "Wed, 31 Dec 1969 23:59:59 GMT"},
	} {
		if got := string(f.Format(c.t)); got != c.want {
			t.Errorf("%v: got %q, want %q", c.t, got, c.want)
		}
		if _, err := http.ParseTime(string(f.Format(c.t))); err != nil {
			t.Error(err)
		}
	}
	at := time.Unix(784111777, 0)
	if n := testing.AllocsPerRun(100, func() { at = at.Add(400 * time.Millisecond); f.Format(at) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
