package peertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wsgateway/internal/waits"
)

// gateway is a running gateway process.
type gateway struct {
	*process
	addr   string   // public host:port, of the first -listen
	listen []string // addresses of all -listen, as it logs them
	admin  string   // admin host:port
	netns  string   // network namespace all are in; "" is the test's own
	http   *http.Client
}

// setup says how startGateway starts the process; the zero value will do.
type setup struct {
	wrap  []string // command that executes the gateway, such as "ip netns exec x"
	netns string   // network namespace that wrap puts it into
	host  string   // public address; "" means 127.0.0.1
	args  []string // further flags

	bin  string               // "" means gatewayBinary
	attr *syscall.SysProcAttr // nil for nothing special
}

// startGateway returns when /readyz answers 200.
func startGateway(t *testing.T, s setup) *gateway {
	t.Helper()
	if s.bin == "" {
		bin, err := gatewayBinary()
		if err != nil {
			t.Fatal(err)
		}
		s.bin = bin
	}
	if s.host == "" {
		s.host = "127.0.0.1"
	}
	g := &gateway{netns: s.netns}
	g.http = g.newHTTPClient(t)
	argv := append([]string{}, s.wrap...)
	argv = append(argv, s.bin, "-listen", net.JoinHostPort(s.host, "0"), "-admin", "127.0.0.1:0")
	argv = append(argv, s.args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = s.attr
	g.process = startProcess(t, cmd)
	waits.Succeeds(t, waits.Patience, "gateway ready", func() error {
		if err := g.running(); err != nil {
			t.Fatal(err)
		}
		if err := g.readAddrs(); err != nil {
			return err
		}
		return g.ready()
	})
	return g
}

// readAddrs takes the addresses from what the gateway logs when it has started: the
// kernel chose the ports, so that no two tests can choose the same.
func (g *gateway) readAddrs() error {
	for line := range strings.Lines(g.output.String()) {
		if !strings.Contains(line, `msg="gateway started"`) || !strings.HasSuffix(line, "\n") {
			continue
		}
		for _, field := range strings.Fields(line) {
			switch name, value, _ := strings.Cut(field, "="); name {
			case "listen":
				g.listen = strings.Split(value, ",")
				g.addr = g.listen[0]
			case "admin":
				g.admin = value
			}
		}
	}
	if g.addr == "" || g.admin == "" {
		return errors.New("it has not logged its addresses")
	}
	return nil
}

func (g *gateway) newHTTPClient(t *testing.T) *http.Client {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return dialIn(ctx, g.netns, network, addr)
		},
		// Under a descriptor limit an idle connection of ours would be one the
		// gateway cannot use.
		DisableKeepAlives: true,
	}
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

// get fetches a path of the admin port.
func (g *gateway) get(path string) (status int, body string, err error) {
	res, err := g.http.Get("http://" + g.admin + path)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// ready returns nil when /readyz answers 200.
func (g *gateway) ready() error {
	status, body, err := g.get("/readyz")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("/readyz: %d %s", status, strings.TrimSpace(body))
	}
	return nil
}

// portsGiven are the ports that freePort has returned.
var portsGiven sync.Map

// freePort picks a port nobody listens on, for programs that do not say which port the
// kernel chose for them. It is below the range the kernel gives to outgoing
// connections, where a client of another test could take it before the program binds
// it, and never the same twice.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := fmt.Sprint(20000 + rand.IntN(12000))
		if _, given := portsGiven.LoadOrStore(port, true); given {
			continue
		}
		ln, err := net.Listen("tcp", ":"+port)
		if err == nil {
			_ = ln.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return ""
}
