package main

import (
	"log/slog"
	"strings"
	"testing"

	"wsgateway/internal/wstest"
)

// Without a configuration file three targets are served.
func TestDefaultRoutes(t *testing.T) {
	mounts, err := newMounts(configure(t, "-max-message", "7", "-subprotocol", "p", "-only", "text", "-compress", "-origin", "https://a.example"))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, m := range mounts {
		paths = append(paths, m.path)
		for _, r := range m.routes {
			if r.Path != m.path || r.MaxMessage != 7 || !r.Deflate || len(r.Origins) != 1 {
				t.Errorf("%s: route %+v, want its path and the settings of all routes", m.path, r)
			}
			if own := m.path == "/channels"; own == (r.Only != 0) || own == (r.Subprotocols[0] == "p") {
				t.Errorf("%s: only %v, subprotocols %q: those of flags are for the other targets", m.path, r.Only, r.Subprotocols)
			}
		}
	}
	if got := strings.Join(paths, " "); got != "/{$} /broadcast /channels" {
		t.Errorf("served are %q, want /{$} /broadcast /channels", got)
	}
}

// A configuration that no gateway can be made from is refused with the path of its route.
func TestRefusedRoutes(t *testing.T) {
	for name, tt := range map[string]struct {
		route routeConfig
		want  string
	}{
		"unknown target": {routeConfig{path: "/x", target: "nope"}, `route /x: there is no target "nope"`},
		"long path":      {routeConfig{path: "/" + strings.Repeat("x", 300), target: "broadcast"}, "not the name of a channel"},
	} {
		c := configure(t)
		c.routes = append(c.routes, tt.route)
		if _, err := newMounts(c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}

// Each path with a broadcast has listeners of its own.
func TestTwoBroadcasts(t *testing.T) {
	c := configure(t)
	other := c.routes[1]
	other.path = "/other"
	c.routes = append(c.routes, other)
	g := start(t, c, slog.New(slog.DiscardHandler))
	defer stop(t, g)
	here, there := wstest.Dial(t, g.addrs[0], "/broadcast"), wstest.Dial(t, g.addrs[0], "/other")
	here.SendText("here")
	here.WantText("here")
	there.SendText("there") // had the first message come here too, it would come before this one
	there.WantText("there")
	here.Leave()
	there.Leave()
}
