package main

import (
	"net/http"
	"strings"
	"testing"

	"wsgateway/internal/wstest"
)

// The admin address serves metrics and health, and nothing else.
func TestAdmin(t *testing.T) {
	g, _, _ := startGateway(t)
	defer stop(t, g)
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/livez":   {http.StatusOK, "ok\n"},
		"/readyz":  {http.StatusOK, "ok\n"},
		"/metrics": {http.StatusOK, "wsgateway_connections_limit 10\n"},
		"/":        {http.StatusNotFound, ""},
	} {
		status, body := wstest.Get(t, "http://"+g.admin.addr+path)
		if status != want.status || !strings.Contains(body, want.body) {
			t.Errorf("%s: %d with %.200q, want %d with %q", path, status, body, want.status, want.body)
		}
	}
}
