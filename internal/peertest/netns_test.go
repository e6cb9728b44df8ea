package peertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// netnsPair is two network namespaces joined by a virtual cable.
type netnsPair struct {
	server, client string // names
}

// Addresses of the two ends, from a block reserved for tests of networks
// (RFC 2544) and used nowhere else.
const (
	serverIP = "198.18.0.1"
	clientIP = "198.18.0.2"
)

// newNetnsPair makes the namespaces and removes them with the test.
func newNetnsPair(t *testing.T) netnsPair {
	t.Helper()
	ip := tool(t, "ip")
	if os.Geteuid() != 0 {
		missing(t, "network namespaces need root")
	}
	p := netnsPair{fmt.Sprintf("wsgw-s-%d", os.Getpid()), fmt.Sprintf("wsgw-c-%d", os.Getpid())}
	for _, ns := range []string{p.server, p.client} {
		if b, err := exec.Command(ip, "netns", "add", ns).CombinedOutput(); err != nil {
			missing(t, "network namespaces cannot be made here: %v: %s", err, b)
		}
		t.Cleanup(func() { _ = exec.Command(ip, "netns", "del", ns).Run() })
	}
	for _, args := range []string{
		"link add veth0 netns " + p.server + " type veth peer name veth0 netns " + p.client,
		"-n " + p.server + " addr add " + serverIP + "/30 dev veth0",
		"-n " + p.client + " addr add " + clientIP + "/30 dev veth0",
		"-n " + p.server + " link set lo up",
		"-n " + p.client + " link set lo up",
		"-n " + p.server + " link set veth0 up",
		"-n " + p.client + " link set veth0 up",
	} {
		run(t, ip, strings.Fields(args)...)
	}
	return p
}

// run runs a command to its end and fails the test when it fails.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	b, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, b)
	}
	return string(b)
}

// dialIn dials out of a named network namespace; "" is the test's own.
func dialIn(ctx context.Context, netns, network, addr string) (net.Conn, error) {
	var d net.Dialer
	if netns == "" {
		return d.DialContext(ctx, network, addr)
	}
	// A socket belongs for life to the namespace of the thread that made it. The
	// address is a literal, so the dialer makes the socket on this goroutine.
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer func() { _ = home.Close() }()
	there, err := os.Open("/var/run/netns/" + netns)
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer func() { _ = there.Close() }()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	conn, err := d.DialContext(ctx, network, addr)
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		// Left locked, the thread ends with the goroutine and strays nowhere.
		return conn, back
	}
	runtime.UnlockOSThread()
	return conn, err
}
