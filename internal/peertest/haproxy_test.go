package peertest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"wsgateway/internal/waits"
)

// tunnelTimeout replaces the shipped one, which would take minutes to test.
const tunnelTimeout = 4 * time.Second

// startHAProxy puts HAProxy with the shipped configuration in front of g and
// returns its address. Ports, the tunnel timeout and what follows from the
// descriptor limit of the machine are others; so are the check intervals.
func startHAProxy(t *testing.T, g *gateway) (addr string, p *process) {
	t.Helper()
	bin := tool(t, "haproxy")
	addr = "127.0.0.1:" + freePort(t)
	_, adminPort, _ := net.SplitHostPort(g.admin)
	privileges := []string{}
	if os.Geteuid() != 0 {
		privileges = append(privileges,
			"    chroot /var/lib/haproxy\n", "", "    user haproxy\n", "", "    group haproxy\n", "")
	}
	config := adapt(t, "haproxy/haproxy.cfg", append(privileges,
		"    maxconn 100000\n", "    maxconn 4000\n",
		"    bind :80\n", "    bind "+addr+"\n",
		"    timeout tunnel 75s\n", fmt.Sprintf("    timeout tunnel %dms\n", tunnelTimeout.Milliseconds()),
		"    bind 127.0.0.1:8405\n", "    bind 127.0.0.1:"+freePort(t)+"\n",
		"    server gw1 127.0.0.1:8080\n", "    server gw1 "+g.addr+"\n",
		" inter 2s fastinter 500ms ", " inter 300ms fastinter 100ms ",
		" check port 8081\n", " check port "+adminPort+"\n")...)
	path := writeFile(t, t.TempDir(), "haproxy.cfg", config)
	p = startProcess(t, exec.Command(bin, "-db", "-f", path))
	waits.Succeeds(t, waits.Patience, "proxy answers", func() error {
		if err := p.running(); err != nil {
			t.Fatal(err)
		}
		c, err := dial(addr, "/")
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		return c.echo(opText, []byte("through"))
	})
	return addr, p
}

func TestHAProxy(t *testing.T) {
	g := startGateway(t, setup{args: []string{"-ping-interval", "1s", "-ping-timeout", "5s"}})
	addr, _ := startHAProxy(t, g)

	const n = 1000
	clients := make([]*client, n)
	forEach(t, n, func(i int) error {
		c, err := dial(addr, "/")
		if err != nil {
			return err
		}
		clients[i] = c
		return c.echo(opText, fmt.Appendf(nil, "client %d", i))
	})
	defer func() {
		for _, c := range clients {
			_ = c.Close()
		}
	}()
	waits.Succeeds(t, waits.Patience, "all at the gateway", func() error { return g.connections(n) })

	// Say nothing for longer than the proxy allows; only the pings pass.
	end := time.Now().Add(tunnelTimeout + tunnelTimeout/2)
	forEachAtOnce(t, n, func(i int) error {
		_, _, err := clients[i].readMessage(end)
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("while silent: %w", err)
		case clients[i].pings < 3:
			return fmt.Errorf("%d pings in %v", clients[i].pings, tunnelTimeout+tunnelTimeout/2)
		}
		return nil
	})
	forEach(t, n, func(i int) error {
		return clients[i].echo(opBinary, fmt.Appendf(nil, "client %d again", i))
	})

	// Leaving is seen through the proxy in both directions.
	g.signal(t, syscall.SIGTERM)
	forEachAtOnce(t, n, func(i int) error {
		ce, err := clients[i].awaitClose(ioTimeout)
		if err != nil || ce.code != 1001 {
			return fmt.Errorf("got %v, %w, want 1001", ce, err)
		}
		return clients[i].Close()
	})
	if code := g.wait(t, waits.Patience); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	waits.Succeeds(t, waits.Patience, "proxy knows", func() error {
		c, err := dial(addr, "/")
		if err == nil {
			_ = c.Close()
			return errors.New("still served")
		}
		if status, ok := errors.AsType[statusError](err); !ok || status != 503 {
			return fmt.Errorf("got %w, want 503", err)
		}
		return nil
	})
}

// The counterpart: without pings the proxy's timeout is in force and cuts the
// client. If it were not, the test above would prove nothing.
func TestHAProxyCutsWithoutPings(t *testing.T) {
	g := startGateway(t, setup{args: []string{"-ping-interval", "1h"}})
	addr, _ := startHAProxy(t, g)
	c, err := dial(addr, "/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	start := time.Now()
	_, _, err = c.readMessage(start.Add(3 * tunnelTimeout))
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("after %v of silence: %v, want the end of the connection", time.Since(start), err)
	}
	if d := time.Since(start); d < tunnelTimeout-time.Second/2 {
		t.Errorf("cut after %v already", d)
	}
	waits.Succeeds(t, waits.Patience, "gateway noticed", func() error { return g.connections(0) })
}

// forEach calls f for 0 to n-1, a few at a time, and reports the errors.
func forEach(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	parallel(t, n, 50, f)
}

// forEachAtOnce is forEach without the bound, for calls that only wait.
func forEachAtOnce(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	parallel(t, n, n, f)
}

func parallel(t *testing.T, n, atOnce int, f func(i int) error) {
	t.Helper()
	slots := make(chan struct{}, atOnce)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = f(i)
		})
	}
	wg.Wait()
	failed := 0
	for i, err := range errs {
		if err == nil {
			continue
		}
		if failed++; failed <= 5 {
			t.Errorf("%d: %v", i, err)
		}
	}
	if failed > 0 {
		t.Fatalf("%d of %d failed", failed, n)
	}
}
