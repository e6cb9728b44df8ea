package peertest

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wsgateway/internal/waits"
)

// logReader is the other end of a pipe that a gateway logs to. It has read the start line, and reads
// on only if a test does.
type logReader struct {
	*os.File
	lines *bufio.Reader
}

// startLoggingTo starts a gateway that logs to a pipe as small as the kernel has them.
func startLoggingTo(t *testing.T, wrap []string, args ...string) (*gateway, logReader) {
	t.Helper()
	bin, err := gatewayBinary()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }() // the gateway has its own
	t.Cleanup(func() { _ = r.Close() })
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	argv := append(append([]string{}, wrap...), bin, "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0")
	cmd := exec.Command(argv[0], append(argv, args...)[1:]...)
	cmd.Stderr = w
	g := &gateway{process: startProcess(t, cmd)}
	g.http = g.newHTTPClient(t)
	log := logReader{r, bufio.NewReaderSize(r, 16)}
	_ = r.SetReadDeadline(time.Now().Add(waits.Patience))
	for g.readAddrs() != nil {
		line, err := log.lines.ReadString('\n')
		if err != nil {
			t.Fatalf("reading the start line: %v", err)
		}
		_, _ = g.output.Write([]byte(line))
	}
	waits.Succeeds(t, waits.Patience, "gateway ready", g.ready)
	return g, log
}

func wantEcho(t *testing.T, c *client, text string) {
	t.Helper()
	if err := c.send(opText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(ioTimeout))
	if f, err := c.readFrame(); err != nil || string(f.payload) != text {
		t.Fatalf("echo of %q: %q, %v", text, f.payload, err)
	}
}

// resetOne has a client break its connection, which the gateway logs at the level debug.
func resetOne(t *testing.T, g *gateway) {
	t.Helper()
	c, err := dial(g.addr, "/")
	if err != nil {
		t.Fatal(err)
	}
	wantEcho(t, c, "hello")
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// endInOrder sends SIGTERM. The client is told, and the exit status is 0.
func endInOrder(t *testing.T, g *gateway, c *client) {
	t.Helper()
	g.signal(t, syscall.SIGTERM)
	if ce, err := c.awaitClose(ioTimeout); err != nil || ce.code != 1001 {
		t.Errorf("after SIGTERM: %v, %v, want 1001", ce, err)
	}
	_ = c.Close()
	if code := g.wait(t, waits.Patience); code != 0 {
		t.Errorf("%v, want exit status 0", g.state)
	}
}

// As with `gateway 2> >(head -1)`: the reader of the log goes away. Serving and draining go on,
// whatever the gateway's parent says about SIGPIPE and SIGHUP.
func TestLogReaderGoesAway(t *testing.T) {
	for name, wrap := range map[string][]string{
		"signals as usual":  nil,
		"signals inherited": {"sh", "-c", `trap "" PIPE HUP; exec "$@"`, "sh"},
	} {
		t.Run(name, func(t *testing.T) {
			g, log := startLoggingTo(t, wrap, "-log-level", "debug")
			c, err := dial(g.addr, "/")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			wantEcho(t, c, "before")
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				resetOne(t, g)
				g.signal(t, syscall.SIGHUP)
			}
			waits.Succeeds(t, waits.Patience, "lost lines are counted", func() error {
				_, body, err := g.get("/metrics")
				if err == nil && strings.Contains(body, "\nwsgateway_log_lines_dropped_total 0\n") {
					err = fmt.Errorf("none is")
				}
				return err
			})
			wantEcho(t, c, "after")
			endInOrder(t, g, c)
		})
	}
}

// The reader of a log with many lines stands still. All clients are served, and the end does not wait
// for the reader.
func TestLogReaderStandsStill(t *testing.T) {
	g, _ := startLoggingTo(t, nil, "-log-level", "debug")
	for range 300 { // lines of over 100 bytes
		resetOne(t, g)
	}
	c, err := dial(g.addr, "/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	wantEcho(t, c, "still here")
	endInOrder(t, g, c)
}

// SIGHUP is logged and changes nothing. A reader that keeps up gets every line, the last one too.
func TestHangupIsLogged(t *testing.T) {
	g, log := startLoggingTo(t, nil)
	c, err := dial(g.addr, "/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	g.signal(t, syscall.SIGHUP)
	_ = log.SetReadDeadline(time.Now().Add(waits.Patience))
	for line := ""; !strings.Contains(line, "SIGHUP has no effect"); {
		if line, err = log.lines.ReadString('\n'); err != nil {
			t.Fatalf("reading the line about SIGHUP: %v", err)
		}
	}
	wantEcho(t, c, "still here")
	rest := make(chan string, 1)
	go func() { // ends with the gateway
		var b bytes.Buffer
		_, _ = b.ReadFrom(log.lines)
		rest <- b.String()
	}()
	endInOrder(t, g, c)
	if text := <-rest; !strings.HasSuffix(text, "msg=stopped\n") || strings.Contains(text, "dropped") {
		t.Errorf("the end of the log is\n%s", text)
	}
}
