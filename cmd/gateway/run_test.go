package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// A signal that comes while the address of a name is looked up, which may take long, ends the gateway then.
func TestSignalBeforeServing(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		asked, answer := make(chan struct{}, 1), make(chan struct{})
		wait := func() {
			select {
			case asked <- struct{}{}:
			default:
			}
			<-answer
		}
		onLookup.Store(&wait)
		log := &lockedBuffer{}
		status := make(chan int, 1)
		go func() {
			status <- run([]string{"-listen", "gateway.test:0", "-admin", "127.0.0.1:0"}, io.Discard, log)
		}()
		<-asked
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
		select {
		case code := <-status:
			if code != exitOK || !strings.Contains(log.String(), "stopped before anybody was served") {
				t.Errorf("%v: exit status %d\n%s", sig, code, log)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%v: the gateway does not end", sig)
		}
		close(answer)
		goleak.VerifyNone(t, signalGoroutines...) // the lookup has ended: the next one is another's
	}
}

// The start line says where to connect and how many may; health and metrics answer; SIGTERM
// drains: not ready at once, exit status 0 when the clients are gone.
func TestRun(t *testing.T) {
	log := &lockedBuffer{}
	status := make(chan int, 1)
	go func() {
		status <- run([]string{"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-max-conns", "50"}, io.Discard, log)
	}()
	eventually(t, "the start line is there", func() bool { return strings.Contains(log.String(), "gateway started") })
	field := func(name string) string {
		_, rest, _ := strings.Cut(log.String(), " "+name+"=")
		value, _, _ := strings.Cut(rest, " ")
		return strings.TrimSpace(value)
	}
	for _, name := range []string{"listen", "admin", "fd_limit", "max_connections", "workers"} {
		if field(name) == "" {
			t.Errorf("the start line has no %s: %s", name, log)
		}
	}
	if field("max_connections") != "50" {
		t.Errorf("max_connections=%s", field("max_connections"))
	}
	admin := "http://" + field("admin")
	for path, want := range map[string]string{"/livez": "ok\n", "/readyz": "ok\n", "/metrics": "wsgateway_connections_limit 50\n"} {
		if code, body := get(t, admin+path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d, %.200q", path, code, body)
		}
	}
	if code, _ := get(t, admin+"/"); code != http.StatusNotFound {
		t.Errorf("/: %d", code)
	}

	// A client that does not answer our Close frame keeps the gateway draining.
	c, err := net.Dial("tcp", field("listen"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	eventually(t, "the session is open", func() bool {
		_, body := get(t, admin+"/metrics")
		return strings.Contains(body, "wsgateway_sessions 1\n")
	})
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the gateway is not ready", func() bool { code, _ := get(t, admin+"/readyz"); return code == http.StatusServiceUnavailable })
	if code, _ := get(t, admin+"/livez"); code != http.StatusOK {
		t.Errorf("/livez while draining: %d", code)
	}
	answer, err := io.ReadAll(io.LimitReader(c, 4096))
	if err != nil && len(answer) == 0 {
		t.Fatal(err)
	}
	if !bytes.Contains(answer, []byte{0x88, 2, 0x03, 0xe9}) {
		t.Errorf("no Close frame with 1001 in %q", answer)
	}
	select {
	case code := <-status:
		if code != exitOK {
			t.Errorf("exit status %d\n%s", code, log)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the gateway does not end")
	}
}

func TestStartFailsCleanly(t *testing.T) {
	conf := configure(t, "-listen", "unix:/no/such/dir/s")
	if _, err := prepare(conf, slog.New(slog.DiscardHandler)); err == nil {
		t.Fatal("prepared")
	}
}
