package main

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
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
		log := new(waits.Buffer)
		status := make(chan int, 1)
		go func() {
			status <- run([]string{"-listen", "gateway.test:0", "-admin", "127.0.0.1:0"}, io.Discard, log)
		}()
		waits.Receive(t, asked, "the lookup of a name")
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
		if code := waits.Receive(t, status, "the end of the gateway after "+sig.String()); code != exitOK {
			t.Errorf("%v: exit status %d, want %d\n%s", sig, code, exitOK, log)
		}
		log.Want(t, "stopped before anybody was served")
		close(answer)
		goleak.VerifyNone(t, signalGoroutines...) // the lookup has ended: the next one is another's
	}
}

// The start line says where to connect and how many may.
func TestStartLine(t *testing.T) {
	g, _, log := startGateway(t, "-max-conns", "50")
	defer stop(t, g)
	log.Want(t, "gateway started")
	for _, name := range []string{"version", "listen", "admin", "fd_limit", "loops", "workers"} {
		if log.Field(name) == "" {
			t.Errorf("there is no %s in the start line:\n%s", name, log)
		}
	}
	if got := log.Field("max_connections"); got != "50" {
		t.Errorf("max_connections=%s, want 50", got)
	}
}

// SIGTERM drains: not ready at once, exit status 0 when the clients are gone. A client that does not
// answer our Close frame keeps the gateway draining.
func TestSignalDrains(t *testing.T) {
	log := new(waits.Buffer)
	status := make(chan int, 1)
	go func() {
		status <- run([]string{"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0"}, io.Discard, log)
	}()
	log.Await(t, "gateway started")
	admin := "http://" + log.Field("admin")
	ready := func() int { code, _ := wstest.Get(t, admin+"/readyz"); return code }
	if code := ready(); code != http.StatusOK {
		t.Errorf("/readyz: %d, want %d", code, http.StatusOK)
	}
	c := wstest.Dial(t, log.Field("listen"), "/")
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waits.Becomes(t, ready, http.StatusServiceUnavailable, "/readyz after SIGTERM")
	if code, _ := wstest.Get(t, admin+"/livez"); code != http.StatusOK {
		t.Errorf("/livez while draining: %d, want %d", code, http.StatusOK)
	}
	c.AnswerClose(1001)
	if code := waits.Receive(t, status, "the end of the gateway"); code != exitOK {
		t.Errorf("exit status %d, want %d\n%s", code, exitOK, log)
	}
}

func TestStartFailsCleanly(t *testing.T) {
	conf := configure(t, "-listen", "unix:/no/such/dir/s")
	if _, err := prepare(conf, slog.New(slog.DiscardHandler)); err == nil {
		t.Fatal("an address that does not exist was prepared")
	}
}
