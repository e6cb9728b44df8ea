package peertest

import (
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"wsgateway/internal/waits"
)

func TestSIGTERMClosesEveryClient(t *testing.T) {
	g := startGateway(t, setup{})
	const n = 100
	clients := make([]*client, n)
	for i := range clients {
		c, err := dial(g.addr, []string{"/", "/broadcast"}[i%2])
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		clients[i] = c
	}
	// One of them has something unread and one is in the middle of a frame.
	if err := clients[0].send(opBinary, make([]byte, 300_000)); err != nil {
		t.Fatal(err)
	}
	if _, err := clients[1].Write(encode(true, opText, []byte("half"))[:5]); err != nil {
		t.Fatal(err)
	}

	g.signal(t, syscall.SIGTERM)
	for i, c := range clients {
		ce, err := c.awaitClose(ioTimeout)
		if err != nil || ce.code != 1001 {
			t.Errorf("client %d: got %v, %v, want 1001", i, ce, err)
		}
		_ = c.Close()
	}
	if code := g.wait(t, waits.Patience); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if c, err := dial(g.addr, "/"); err == nil {
		_ = c.Close()
		t.Error("somebody still listens")
	}
}

// A client that does not answer the Close frame keeps the gateway waiting. Meanwhile it is not
// ready, and a second SIGTERM ends the wait. The exit status says that somebody was cut off.
func TestSecondSIGTERM(t *testing.T) {
	g := startGateway(t, setup{args: []string{"-close-timeout", "1h", "-shutdown-timeout", "1h"}})
	c, err := dial(g.addr, "/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()

	g.signal(t, syscall.SIGTERM)
	_ = c.SetReadDeadline(time.Now().Add(ioTimeout))
	f, err := c.readFrame()
	if err != nil || f.op != opClose {
		t.Fatalf("got %+v, %v, want a Close frame", f, err)
	}
	if code := parseClose(f.payload).code; code != 1001 {
		t.Errorf("close code %d, want 1001", code)
	}
	switch status, _, err := g.get("/readyz"); {
	case err != nil:
		t.Errorf("/readyz while draining: %v", err)
	case status != http.StatusServiceUnavailable:
		t.Errorf("/readyz while draining: %d, want 503", status)
	}
	if status, _, err := g.get("/livez"); err != nil || status != http.StatusOK {
		t.Errorf("/livez while draining: %d, %v, want 200", status, err)
	}
	if g.running() != nil {
		t.Fatal("the gateway did not wait for the client's Close frame")
	}
	g.signal(t, syscall.SIGTERM)
	if code := g.wait(t, waits.Patience); code != 1 {
		t.Errorf("exit code %d (%v), want 1", code, g.state)
	}
}

func TestRefusesToStart(t *testing.T) {
	bin, err := gatewayBinary()
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	const free = "127.0.0.1:0"
	for _, tc := range []struct {
		name string
		args []string
		says string // part of the line
	}{
		{"public port in use", []string{"-listen", taken.Addr().String(), "-admin", free}, taken.Addr().String()},
		{"admin port in use", []string{"-listen", free, "-admin", taken.Addr().String()}, taken.Addr().String()},
		{"unknown flag", []string{"-no-such-flag"}, "no-such-flag"},
		{"bad duration", []string{"-ping-interval", "soon"}, "ping-interval"},
		{"negative limit", []string{"-max-conns", "-1"}, "max-conns"},
		{"argument that is no flag", []string{"-listen", free, "stray"}, "stray"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := startProcess(t, exec.Command(bin, tc.args...))
			if code := p.wait(t, waits.Patience); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			out := strings.TrimRight(p.output.String(), "\n")
			if out == "" || strings.Contains(out, "\n") {
				t.Errorf("want one line, got %q", out)
			}
			if !strings.Contains(out, tc.says) {
				t.Errorf("%q does not name %q", out, tc.says)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	bin, err := gatewayBinary()
	if err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, exec.Command(bin, "-version"))
	if code := p.wait(t, waits.Patience); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if p.output.String() == "" {
		t.Error("no version")
	}
}

func TestStartLineNamesAddresses(t *testing.T) {
	g := startGateway(t, setup{})
	var line string
	for l := range strings.Lines(g.output.String()) {
		if strings.Contains(l, `msg="gateway started"`) {
			line += l
		}
	}
	if strings.Count(line, "\n") != 1 {
		t.Fatalf("want one start line, got %q", line)
	}
	for _, want := range []string{g.addr, g.admin} {
		if !strings.Contains(line, want) {
			t.Errorf("%q does not name %s", line, want)
		}
	}
}
