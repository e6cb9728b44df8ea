package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"wsgateway/bench/internal/server"
)

// TestReserve binds a second socket to the reserved port, as a server would.
func TestReserve(t *testing.T) {
	addr, release, err := server.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if !strings.HasPrefix(addr, "127.0.0.1:") {
		t.Errorf("address %q", addr)
	}
	other, release2, err := server.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer release2()
	if addr == other {
		t.Errorf("%s is reserved twice", addr)
	}
}

func TestModuleRoot(t *testing.T) {
	root, err := server.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Access(filepath.Join(root, "bench", "main.go"), unix.R_OK); err != nil {
		t.Errorf("root %s: %v", root, err)
	}
	t.Chdir(t.TempDir())
	if _, err := server.ModuleRoot(); err == nil || !strings.Contains(err.Error(), "-server-bin") {
		t.Errorf("err = %v", err)
	}
}

func TestMetrics(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, "# HELP a_total Some help.\n# TYPE a_total counter\na_total{reason=\"x y\"} 2\n"+
			"a_total{reason=\"} 5\"} 3\nheap 1.5e+06\n\nbad\nworse x\ngo_goroutines 11\n")
	}))
	defer s.Close()
	p := &server.Process{Admin: strings.TrimPrefix(s.URL, "http://")}
	m, err := p.Metrics(t.Context())
	if diff := cmp.Diff(map[string]float64{"a_total": 5, "heap": 1.5e6, "go_goroutines": 11}, m); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if n, err := p.Goroutines(t.Context()); err != nil || n != 11 {
		t.Errorf("%d goroutines, %v", n, err)
	}
	s.Close()
	if _, err := p.Metrics(t.Context()); err == nil {
		t.Error("metrics of a server that has ended")
	}
}

// script is a stand-in for a server.
func script(t *testing.T, text string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(bin, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return bin
}

func TestStart(t *testing.T) {
	tests := []struct {
		name, text string
		ok         bool
	}{
		{"listens", `echo "listening $2"; exec sleep 60`, true},
		{"says something else", `echo no; exit 3`, false},
		{"ends at once", `echo sorry >&2; exit 3`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := server.Start(t.Context(), server.Plain, script(t, tt.text), "127.0.0.1:1", nil)
			if (err == nil) != tt.ok || err != nil && !strings.Contains(err.Error(), "exit status 3") {
				t.Fatalf("err = %v", err)
			}
			if p == nil {
				return
			}
			p.Stop()
			if _, err := p.Goroutines(t.Context()); err == nil {
				t.Error("a server without admin address has goroutines")
			}
		})
	}
}
