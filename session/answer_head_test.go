package session_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// Every answer says when it was given (RFC 9110 §6.6.1).
func TestDateInAnswers(t *testing.T) {
	refuse := func(*session.Upgrade) error { return wsproto.ErrUnauthorized }
	page := func(*wsproto.Request) *wsproto.Response { return &wsproto.Response{Status: 200} }
	for name, mode := range map[string]session.Mode{
		"loop": session.OnLoop, "worker": session.NeverBlocks, "blocking": session.MayBlock,
	} {
		_, addr := wstest.Serve(t, session.Config{Routes: []session.Route{
			{Path: "/page", Handler: session.Echo{}, Mode: mode, HTTP: page},
			{Path: "/refused", Handler: session.Echo{}, Mode: mode, OnUpgrade: refuse},
		}})
		for _, c := range []struct {
			line, fields string
			status       int
		}{
			{"GET /page", upgradeFields, 101},
			{"GET /page", "Host: x\r\n", 200},
			{"HEAD /page", "Host: x\r\n", 200},
			{"GET /refused", upgradeFields, 401},
			{"GET /missing", upgradeFields, 404},
			{"GET /", "", 400},
		} {
			before := time.Now().Truncate(time.Second)
			res, _ := request(t, addr, c.line, c.fields)
			date := res.Header.Get("Date")
			at, err := http.ParseTime(date)
			if res.StatusCode != c.status || err != nil || at.Before(before) || at.After(time.Now()) {
				t.Errorf("%s: %s: status %d, want %d; Date %q, %v", name, c.line, res.StatusCode, c.status, date, err)
			}
		}
	}
}

// Config.Head bounds what a request may have, and a field of it that is zero has its default.
func TestHeadLimits(t *testing.T) {
	for _, c := range []struct {
		name                   string
		limits                 wsproto.HeadLimits
		target, cookie, fields int
		status                 int
	}{
		{"default/target_at", wsproto.HeadLimits{}, 8192, 10, 0, 101},
		{"default/target_over", wsproto.HeadLimits{}, 8193, 10, 0, 414},
		{"default/cookie_of_15_KiB", wsproto.HeadLimits{}, 10, 15 << 10, 0, 101},
		{"default/cookie_of_16_KiB", wsproto.HeadLimits{}, 10, 16 << 10, 0, 431},
		{"default/fields_over", wsproto.HeadLimits{}, 10, 10, 100, 431},
		{"head_of_1_KiB", wsproto.HeadLimits{MaxBytes: 1024}, 10, 900, 0, 431},
		{"head_of_64_KiB", wsproto.HeadLimits{MaxBytes: 64 << 10}, 10, 63 << 10, 0, 101},
		{"target_of_100", wsproto.HeadLimits{MaxTarget: 100}, 101, 10, 0, 414},
		{"target_of_12_KiB", wsproto.HeadLimits{MaxTarget: 12 << 10}, 12 << 10, 10, 0, 101},
		{"fields", wsproto.HeadLimits{MaxFields: 10}, 10, 10, 10, 431},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, addr := wstest.Serve(t, session.Config{Head: c.limits, Routes: []session.Route{{Path: "/", Handler: session.Echo{}}}})
			fields := upgradeFields + "Cookie: " + strings.Repeat("c", c.cookie) + "\r\n" + strings.Repeat("X: y\r\n", c.fields)
			res, _ := request(t, addr, "GET /"+strings.Repeat("x", c.target-1), fields)
			if res.StatusCode != c.status {
				t.Errorf("status %d, want %d", res.StatusCode, c.status)
			}
		})
	}
	_, err := session.NewServer(session.Config{
		Head:   wsproto.HeadLimits{MaxTarget: -1},
		Routes: []session.Route{{Path: "/", Handler: session.Echo{}}},
	})
	if err == nil || !strings.Contains(err.Error(), "Head.MaxTarget") {
		t.Errorf("a negative limit: %v", err)
	}
}
