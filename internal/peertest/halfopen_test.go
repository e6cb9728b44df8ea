package peertest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"wsgateway/internal/waits"
)

// holdEnv turns the test binary into a client process: its value is the
// address to connect to.
const holdEnv = "PEERTEST_HOLD"

// holdMain connects, says "connected" and answers pings until it is closed.
func holdMain(addr string) int {
	c, err := dial(addr, "/")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("connected")
	_, _, err = c.readMessage(time.Now().Add(5 * time.Minute))
	fmt.Println(err)
	return 0
}

// How fast the gateway of these tests looks for dead peers.
const (
	pingInterval = time.Second
	pingTimeout  = time.Second
)

var fastPings = []string{"-ping-interval", pingInterval.String(), "-ping-timeout", pingTimeout.String()}

// A client whose packets stop arriving, with no FIN and no RST, is the case
// keepalives exist for: a phone that left the cell, a NAT that forgot.
func TestHalfOpenClientIsEvicted(t *testing.T) {
	nft := tool(t, "nft")
	ns := newNetnsPair(t)
	ip := tool(t, "ip")
	g := startGateway(t, setup{
		wrap:  []string{ip, "netns", "exec", ns.server},
		netns: ns.server,
		host:  serverIP,
		args:  fastPings,
	})
	lost, err := dialFrom(ns.client, g.addr, "/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lost.Close() }()
	bystander, err := dialFrom(ns.client, g.addr, "/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bystander.Close() }()
	for _, c := range []*client{lost, bystander} {
		if err := c.echo(opText, []byte("before")); err != nil {
			t.Fatal(err)
		}
	}
	before := g.scrape(t)

	_, port, _ := net.SplitHostPort(lost.LocalAddr().String())
	// The filter is in the server's namespace alone; it goes with it. Both ways:
	// what the gateway sends to the lost client vanishes too. Only on the cable: a
	// scrape over loopback may happen to come from the same port.
	rules := strings.ReplaceAll(`
		add table inet cut
		add chain inet cut in { type filter hook input priority 0; }
		add chain inet cut out { type filter hook output priority 0; }
		add rule inet cut in iifname veth0 tcp sport PORT drop
		add rule inet cut out oifname veth0 tcp dport PORT drop`, "PORT", port)
	cmd := exec.Command(ip, "netns", "exec", ns.server, nft, "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if b, err := cmd.CombinedOutput(); err != nil {
		missing(t, "the packet filter does not work here: %v: %s", err, b)
	}
	// The bystander lives on its pongs.
	stop := make(chan struct{})
	alive := make(chan error, 1)
	go func() { alive <- bystander.stayConnected(stop) }()

	expectEviction(t, g, before)
	close(stop)
	if err := <-alive; err != nil {
		t.Errorf("the other client: %v", err)
	}
	if err := bystander.echo(opText, []byte("after")); err != nil {
		t.Errorf("the other client: %v", err)
	}
	waits.Succeeds(t, waits.Patience, "one connection left", func() error { return g.connections(1) })
}

// A stopped process keeps its connection: the kernel acknowledges every segment
// for it, so only the missing pong tells.
func TestStoppedClientIsEvicted(t *testing.T) {
	g := startGateway(t, setup{args: fastPings})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), holdEnv+"="+g.addr)
	holder := startProcess(t, cmd)
	waits.Succeeds(t, waits.Patience, "client connected", func() error {
		if !strings.Contains(holder.output.String(), "connected") {
			return errors.New("not yet")
		}
		return holder.running()
	})
	// It answers pings as long as it runs.
	waits.Succeeds(t, waits.Patience, "two pongs", func() error {
		m, err := g.tryScrape()
		if err == nil && m.sum("wsgateway_pongs_received_total") < 2 {
			err = errors.New("not yet")
		}
		return err
	})
	before := g.scrape(t)
	if n := before.sum("wsgateway_evictions_total"); n != 0 {
		t.Fatalf("%v evictions while the client answered", n)
	}
	holder.signal(t, syscall.SIGSTOP)
	expectEviction(t, g, before)
	waits.Succeeds(t, waits.Patience, "no connection left", func() error { return g.connections(0) })
	// Woken, it learns that it was closed.
	holder.signal(t, syscall.SIGCONT)
	if code := holder.wait(t, waits.Patience); code != 0 {
		t.Errorf("client ended with %d", code)
	}
}

// expectEviction waits for exactly one eviction more than before, in time and
// counted under evictions and closes.
func expectEviction(t *testing.T, g *gateway, before metrics) {
	t.Helper()
	start := time.Now()
	evictions, closes := before.sum("wsgateway_evictions_total")+1, before.sum("wsgateway_closes_total")+1
	waits.Succeeds(t, waits.Patience, "eviction", func() error {
		m, err := g.tryScrape()
		if err != nil {
			return err
		}
		if got := m.sum("wsgateway_evictions_total"); got != evictions {
			return fmt.Errorf("wsgateway_evictions_total = %v, want %v", got, evictions)
		}
		if got := m.sum("wsgateway_closes_total"); got != closes {
			return fmt.Errorf("wsgateway_closes_total = %v, want %v", got, closes)
		}
		return nil
	})
	t.Logf("evicted after %v; interval %v, timeout %v", time.Since(start).Round(10*time.Millisecond), pingInterval, pingTimeout)
}

// stayConnected answers pings until stop is closed.
func (c *client) stayConnected(stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		_, _, err := c.readMessage(time.Now().Add(50 * time.Millisecond))
		switch {
		case err == nil:
			return errors.New("a message nobody sent")
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		}
	}
}
