package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"wsgateway/bench/internal/fleet"
	"wsgateway/bench/internal/plain"
	"wsgateway/bench/internal/report"
)

const envMain = "WSBENCH_TEST_MAIN"

// TestMain lets the test binary be the command and its client processes.
func TestMain(m *testing.M) {
	fleet.RunChild()
	if os.Getenv(envMain) != "" {
		os.Exit(run(os.Args, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// command prepares a run of the command itself.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	// A process built with -race would otherwise sleep a second before it ends.
	cmd.Env = append(os.Environ(), envMain+"=1", "GORACE=atexit_sleep_ms=0")
	return cmd
}

// bench runs the command and returns its exit status and output.
func bench(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := command(t, args...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

func TestUsage(t *testing.T) {
	for _, args := range []string{
		"-conns 0", "-conns x", "-nothing", "extra", "-server c", "-scenario idle,nap", "-url wss://h/", "-pid 1,x",
		"-pid 12", "-server plain -scenario broadcast", "-scenario stall -rounds -1", "-max-ratio -1",
	} {
		code, stdout, stderr := bench(t, strings.Fields(args)...)
		if code != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: exit %d, %q, %q; want 2 and one line", args, code, stdout, stderr)
		}
	}
	if code, stdout, _ := bench(t, "-help"); code != 0 || !strings.Contains(stdout, "-conns") {
		t.Errorf("-help: exit %d, %q", code, stdout)
	}
}

// echo runs the bare server in this process.
func echo(t *testing.T) string {
	t.Helper()
	s, err := plain.Listen("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	addr := s.Addr()
	go func() { done <- s.Run() }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "ws://" + addr + "/"
}

func TestForeignServer(t *testing.T) {
	url := echo(t)
	file := filepath.Join(t.TempDir(), "report.json")
	code, stdout, stderr := bench(t, "-url", url, "-pid", strconv.Itoa(os.Getpid()), "-conns", "300", "-clients", "2", "-client-loops", "2",
		"-scenario", "idle,echo,active,churn,storm", "-cycles", "500", "-active", "7", "-duration", "100ms", "-warmup", "10ms", "-settle", "1ms", "-json", file)
	if code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, stdout, stderr)
	}
	p, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rep report.Report
	if err := json.Unmarshal(p, &rep); err != nil {
		t.Fatal(err)
	}
	if rep.Schema != report.Schema || len(rep.Results) != 5 {
		t.Fatalf("report %+v", rep)
	}
	for _, r := range rep.Results {
		if r.Held != 300 || r.Messages == 0 || r.ErrorCount() != 0 || r.RoundTrip == nil || r.Handshake == nil || r.Clients != 2 || r.RSSLoaded == 0 {
			t.Errorf("%s: %+v", r.Scenario, r)
		}
		if !strings.Contains(stdout, r.Scenario) {
			t.Errorf("no %s in the table:\n%s", r.Scenario, stdout)
		}
	}
	idle, churn, storm := rep.Results[0], rep.Results[3].Churn, rep.Results[4].Storm
	if idle.Messages != 600 || idle.Closes["1000"] != 300 || churn.Cycles != 500 || storm.Back != 300 {
		t.Errorf("idle %+v, churn %+v, storm %+v", idle, churn, storm)
	}
}

// TestBuilds builds and starts bench/plainecho, two processes on one port.
func TestBuilds(t *testing.T) {
	code, stdout, stderr := bench(t, "-server", "plain", "-servers", "2", "-conns", "400", "-duration", "1ms", "-settle", "10ms", "-json", "-")
	if code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, stdout, stderr)
	}
	var rep report.Report
	if err := json.Unmarshal([]byte(stdout), &rep); err != nil {
		t.Fatal(err)
	}
	if r := rep.Results[0]; r.Held != 400 || r.Messages != 800 || r.Servers != 2 || r.RSSEmpty == 0 || r.ServerCPU == 0 {
		t.Errorf("result %+v", r)
	}
}

func TestErrorsFail(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer refusing.Close()
	url := "ws" + strings.TrimPrefix(refusing.URL, "http")
	code, stdout, _ := bench(t, "-url", url, "-conns", "50", "-duration", "1ms", "-settle", "1ms")
	if code != exitErrors || !strings.Contains(stdout, "50 (refused-503 50)") || !strings.Contains(stdout, "50 / 0") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}

// TestServerDies starts a server that ends at once: its last words are shown.
func TestServerDies(t *testing.T) {
	script := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho the reason >&2\nexit 7\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"plain", "gateway"} {
		code, _, stderr := bench(t, "-server", kind, "-server-bin", script, "-conns", "5")
		if code != exitErrors || !strings.Contains(stderr, "the reason") || !strings.Contains(stderr, "exit status 7") {
			t.Errorf("%s: exit %d, %q", kind, code, stderr)
		}
	}
}

// TestInterrupt sends SIGINT while connections are held: the table says what
// was measured, and no process stays behind.
func TestInterrupt(t *testing.T) {
	cmd := command(t, "-url", echo(t), "-conns", "100", "-duration", "10m", "-settle", "1ms", "-verbose")
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "each echoes once") {
	}
	children := childrenOf(t, cmd.Process.Pid)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, stderr)
	_ = cmd.Wait() // its status is judged below
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit %d", code)
	}
	if text := stdout.String(); !strings.Contains(text, "100 / 100") || !strings.Contains(text, "interrupted") {
		t.Errorf("table:\n%s", text)
	}
	for _, pid := range children {
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("process %d is still there", pid)
		}
	}
}

// childrenOf lists the children of all threads of a process.
func childrenOf(t *testing.T, pid int) (list []int) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		p, _ := os.ReadFile(f) // the thread may have ended
		for field := range strings.FieldsSeq(string(p)) {
			n, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, n)
		}
	}
	if len(files) > 0 && len(list) == 0 {
		t.Error("the command has no client process")
	}
	return list
}
