package peertest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"wsgateway/internal/waits"
)

// outcome is how one dial ended.
type outcome struct {
	c      *client // upgraded
	status int     // refused with an HTTP status
	err    error   // neither
}

// With too few descriptors for all who come, the gateway serves those it has
// room for, turns the rest away or lets them wait, and does not burn CPU on it.
func TestDescriptorLimit(t *testing.T) {
	g := startGateway(t, setup{
		// The hard limit too: the gateway raises the soft one itself.
		wrap: []string{"sh", "-c", `ulimit -n 100 && exec "$@"`, "sh"},
		// A dial that waits in the kernel's queue must not run into a deadline.
		// More listeners take more descriptors, which must not be those of the admin port.
		args: []string{"-ping-interval", "60s", "-listen", "127.0.0.1:0", "-listen", "127.0.0.1:0", "-listen", "127.0.0.1:0"},
	})
	m := g.scrape(t)
	limit := int(m.sum("wsgateway_connections_limit"))
	if limit < 10 || limit >= 100 {
		t.Fatalf("wsgateway_connections_limit = %d with 100 descriptors", limit)
	}
	if got := m.sum("process_max_fds"); got != 100 {
		t.Fatalf("process_max_fds = %v, want 100", got)
	}

	const dials = 300
	results, conns := dialAll(t, g, dials)
	waits.Succeeds(t, waits.Patience, "full", func() error { return g.connections(limit) })
	checkIdleWhileFull(t, g, limit)
	// Merely full, it still tells those who ask, several at a time.
	for range 6 {
		status, err := heldGet(t, g.admin, "/livez")
		if err != nil || status != 200 {
			t.Errorf("/livez while full: %d, %v, want 200", status, err)
		}
	}
	m = g.scrape(t)

	held, refused := outcomes(t, results)
	waiting := dials - len(held) - refused
	t.Logf("%d upgraded, %d refused with 503, %d wait", len(held), refused, waiting)
	if len(held) != limit {
		t.Errorf("%d upgraded, want %d", len(held), limit)
	}
	if got := int(m.sum("wsgateway_connections_refused_total")); got < refused {
		t.Errorf("wsgateway_connections_refused_total = %d, but %d saw 503", got, refused)
	}
	if waiting > 0 && m.sum("wsgateway_accept_pauses_total") == 0 {
		t.Error("dials wait, yet wsgateway_accept_pauses_total is 0")
	}
	for _, c := range held {
		if err := c.echo(opText, []byte("still served")); err != nil {
			t.Errorf("held connection: %v", err)
			break
		}
	}

	// All leave. Those who waited are found gone or let in and found gone.
	for _, conn := range conns {
		_ = conn.Close()
	}
	checkServiceBack(t, g)
}

// dialAll connects n times, and has each connection ask for its upgrade.
func dialAll(t *testing.T, g *gateway, n int) (results chan outcome, conns []net.Conn) {
	t.Helper()
	results = make(chan outcome, n)
	for i := range n {
		conn, err := net.DialTimeout("tcp", g.addr, ioTimeout)
		if err != nil {
			t.Fatalf("dial %d: %v", i, err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		conns = append(conns, conn)
		go func() { results <- upgrade(g.addr, conn) }() // ends when the test closes conn
	}
	return results, conns
}

// checkIdleWhileFull measures the CPU that a full gateway burns while most of the dials wait.
func checkIdleWhileFull(t *testing.T, g *gateway, limit int) {
	t.Helper()
	look := time.NewTicker(500 * time.Millisecond)
	defer look.Stop()
	cpu, start := g.cpuTime(t), time.Now()
	for range 6 {
		if err := g.connections(limit); err != nil {
			t.Fatal(err)
		}
		<-look.C
	}
	burn := (g.cpuTime(t) - cpu).Seconds() / time.Since(start).Seconds()
	t.Logf("limit %d, CPU %.1f %% while full", limit, 100*burn)
	if burn >= 0.05 && !raceEnabled {
		t.Errorf("CPU %.1f %% while full, want less than 5 %%", 100*burn)
	}
}

// outcomes returns the dials that have ended so far: upgraded, or refused with 503.
func outcomes(t *testing.T, results <-chan outcome) (held []*client, refused int) {
	t.Helper()
	for {
		select {
		case o := <-results:
			switch {
			case o.c != nil:
				held = append(held, o.c)
			case o.status == 503:
				refused++
			default:
				t.Errorf("a dial ended with status %d, %v; want 101, 503 or waiting", o.status, o.err)
			}
		default:
			return held, refused
		}
	}
}

// checkServiceBack waits until an emptied gateway serves again, with its descriptors back.
func checkServiceBack(t *testing.T, g *gateway) {
	t.Helper()
	waits.Succeeds(t, waits.Patience, "empty", func() error { return g.connections(0) })
	waits.Succeeds(t, waits.Patience, "service back", func() error {
		c, err := dial(g.addr, "/")
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		return c.echo(opText, []byte("again"))
	})
	waits.Succeeds(t, waits.Patience, "descriptors back", func() error {
		m, err := g.tryScrape()
		if err == nil && (m.sum("process_open_fds") > 40 || m.sum("wsgateway_accept_paused") != 0) {
			err = fmt.Errorf("%v open, accept paused %v", m.sum("process_open_fds"), m.sum("wsgateway_accept_paused"))
		}
		return err
	})
}

// upgrade does the opening handshake on a connection that may be left waiting
// until the test closes it.
func upgrade(addr string, conn net.Conn) outcome {
	c := newClient(conn)
	err := c.handshake(addr, "/", time.Minute)
	if err == nil {
		return outcome{c: c}
	}
	if status, ok := errors.AsType[statusError](err); ok {
		return outcome{status: int(status)}
	}
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return outcome{err: fmt.Errorf("waited: %w", err)}
	}
	return outcome{err: err}
}

// heldGet asks the admin port over a connection of its own, which stays open until the test ends.
func heldGet(t *testing.T, addr, path string) (status int, err error) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, ioTimeout)
	if err != nil {
		return 0, err
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(ioTimeout)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: admin\r\n\r\n", path); err != nil {
		return 0, err
	}
	_, err = fmt.Fscanf(c, "HTTP/1.1 %d", &status)
	return status, err
}
