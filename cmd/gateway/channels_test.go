package main

import (
	"cmp"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"wsgateway/internal/wstest"
	"wsgateway/webpubsub"
)

// Everybody may use every group if nobody but this machine can connect, or if it is said so.
func TestOpenChannels(t *testing.T) {
	for _, tt := range []struct {
		args string
		want bool
	}{
		{"", false},
		{"-listen :8080", false},
		{"-listen 0.0.0.0:8080", false},
		{"-listen [::]:8080", false},
		{"-listen 192.0.2.1:8080", false},
		{"-listen nowhere", false},
		{"-listen 127.0.0.1:8080", true},
		{"-listen 127.9.9.9:8080", true},
		{"-listen [::1]:8080", true},
		{"-listen unix:/run/s", true},
		{"-listen unix:@s,127.0.0.1:8080", true},
		{"-listen 127.0.0.1:8080 -listen :8080", false},
		{"-listen unix:/run/s,192.0.2.1:8080", false},
		{"-channels-open", true},
		{"-listen 192.0.2.1:8080 -channels-open", true},
		{"-listen 127.0.0.1:8080 -channels-open=false", false},
	} {
		c, err := parseFlags(strings.Fields(tt.args), io.Discard)
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
			continue
		}
		mounts, err := newMounts(c)
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
			continue
		}
		notice := mounts[len(mounts)-1].notice
		if got := strings.Contains(notice, "channels are open"); got != tt.want {
			t.Errorf("%q: open %v, want %v: %q", tt.args, got, tt.want, notice)
		}
	}
}

// A client of /channels gets what the flag says; the log says so at the start, and the metrics count it.
func TestChannels(t *testing.T) {
	for arg, want := range map[string]struct{ log, answer, metric string }{
		"-channels-open=true":  {"channels are open", `"success":true}`, `wsgateway_channels_requests_total{type="publish"} 1`},
		"-channels-open=false": {"unless -channels-open is given", "-channels-open", `wsgateway_channels_refused_total{reason="forbidden"} 1`},
	} {
		g, addr, log := startGateway(t, "-only", "binary", "-subprotocol", "other", arg)
		if strings.Count(log.String(), "channels are") != 1 || !strings.Contains(log.String(), want.log) {
			t.Errorf("%s: the log does not say once %q:\n%s", arg, want.log, log)
		}
		if answer := publish(t, addr); !strings.Contains(answer, want.answer) {
			t.Errorf("%s: answered with %q, want %q", arg, answer, want.answer)
		}
		if _, body := wstest.Get(t, "http://"+g.admin.addr+"/metrics"); !strings.Contains(body, want.metric+"\n") {
			t.Errorf("%s: there is no %s among the metrics", arg, want.metric)
		}
		stop(t, g)
	}
}

// Where /channels is open as nobody but this machine can reach it, the pages of others cannot use the
// browser of somebody here to reach it.
func TestChannelsOrigin(t *testing.T) {
	for _, tt := range []struct {
		args, origin, status, host string
	}{
		{"", "", "101 ", ""},
		{"", "http://localhost:8080", "101 ", ""}, // the server's own
		{"", "http://localhost:9090", "403 ", ""},
		{"", "https://evil.example", "403 ", ""},
		{"", "http://evil.example:8080", "403 ", "evil.example:8080"}, // resolved to this machine
		{"", "http://127.0.0.1:8080", "101 ", "127.0.0.1:8080"},
		{"", "http://[::1]:8080", "101 ", "[::1]:8080"},
		{"", "", "101 ", "any.name"},
		{"-channels-open", "https://evil.example", "101 ", ""},
		{"-origin https://good.example", "https://good.example", "101 ", ""},
		{"-origin https://good.example", "http://localhost:8080", "403 ", ""},
		{"-origin file://", "file://", "101 ", ""},
		{"-origin file://", "null", "403 ", ""},
	} {
		g, addr, _ := startGateway(t, strings.Fields(tt.args)...)
		lines := []string{"Sec-WebSocket-Protocol: " + webpubsub.Subprotocol, "Host: " + cmp.Or(tt.host, "localhost:8080")}
		if tt.origin != "" {
			lines = append(lines, "Origin: "+tt.origin)
		}
		got := wstest.StatusLine(t, addr, wstest.Request("/channels", lines...))
		if !strings.HasPrefix(got, "HTTP/1.1 "+tt.status) {
			t.Errorf("%q, Origin %q, Host %q: %q, want status %s", tt.args, tt.origin, tt.host, got, tt.status)
		}
		stop(t, g)
	}
}

// publish sends one message to a group of /channels and returns the answer.
func publish(t *testing.T, addr string) string {
	t.Helper()
	c := wstest.DialWith(t, addr, "/channels", ws.Dialer{Protocols: []string{"other", webpubsub.Subprotocol}})
	if first := c.ReadText(); !strings.Contains(first, `"connectionId"`) {
		t.Fatalf("read %q first, want a connectionId", first)
	}
	c.SendText(`{"type":"sendToGroup","group":"g","data":1,"ackId":1}`)
	answer := c.ReadText()
	c.Leave()
	return answer
}
