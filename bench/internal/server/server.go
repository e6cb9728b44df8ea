// Package server builds, starts, watches and stops the servers under load.
package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"wsgateway/bench/internal/child"
)

// Kind is a server that this package can start.
type Kind string

const (
	Gateway Kind = "gateway" // cmd/gateway; ready when /readyz says so
	Plain   Kind = "plain"   // bench/plainecho; prints that it listens
	C       Kind = "c"       // the loop in C of bench/compare; prints that it listens
)

// Package is what to build for the kind, relative to the module; empty for C.
func (k Kind) Package() string {
	switch k {
	case Gateway:
		return "./cmd/gateway"
	case Plain:
		return "./bench/plainecho"
	}
	return ""
}

const (
	readyWithin = 20 * time.Second
	stopWithin  = 10 * time.Second
)

// ModuleRoot finds the folder of this module above the working directory.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		p, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(bytes.TrimSpace(p), []byte("module wsgateway\n")) {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("not inside the module wsgateway: run from its folder, or name a built server with -server-bin")
		}
		dir = up
	}
}

// Build compiles the server of a kind into the folder dir.
func Build(ctx context.Context, k Kind, dir string) (string, error) {
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, string(k))
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, k.Package())
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", k.Package(), err, bytes.TrimSpace(out))
	}
	return bin, nil
}

// Process is a started server.
type Process struct {
	*child.Process
	Admin string // address of the admin listener; empty without one
}

// Start starts a server on an address that Reserve holds, and returns when it
// accepts connections.
func Start(ctx context.Context, k Kind, bin, addr string, args []string) (*Process, error) {
	p := &Process{}
	all := []string{"-listen", addr, "-reuse-port"}
	if k == Gateway {
		admin, err := freeAddr()
		if err != nil {
			return nil, err
		}
		p.Admin = admin
		all = append(all, "-admin", admin, "-log-level", "warn")
	}
	cmd := exec.Command(bin, append(all, args...)...)
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = in
	p.Process, err = child.Start(string(k), cmd)
	_ = in.Close() // the server holds its own
	if err != nil {
		_ = out.Close()
		return nil, err
	}
	listening := make(chan string, 1)
	go func() { // ends with the server
		defer out.Close()
		line, _ := bufio.NewReader(out).ReadString('\n')
		listening <- line
		_, _ = io.Copy(io.Discard, out)
	}()
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	if k == Gateway {
		err = p.awaitReady(ctx)
	} else {
		err = p.awaitLine(ctx, listening)
	}
	if err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

func (p *Process) awaitLine(ctx context.Context, line <-chan string) error {
	select {
	case s := <-line:
		if strings.HasPrefix(s, "listening") {
			return nil
		}
		<-p.Exited()
		return p.Err()
	case <-ctx.Done():
		return fmt.Errorf("server not ready: %w", ctx.Err())
	}
}

func (p *Process) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.Exited():
			return p.Err()
		case <-ctx.Done():
			return fmt.Errorf("gateway not ready: no 200 from http://%s/readyz: %w; it printed: %s", p.Admin, ctx.Err(), p.Tail())
		case <-tick.C:
		}
		if _, err := p.get(ctx, "/readyz"); err == nil {
			return nil
		}
	}
}

func (p *Process) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Admin+path, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true // the server must not keep a connection of ours
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, res.Status)
	}
	return body, err
}

// Goroutines asks the admin listener for go_goroutines.
func (p *Process) Goroutines(ctx context.Context) (int, error) {
	m, err := p.Metrics(ctx)
	if err != nil {
		return 0, err
	}
	n, ok := m["go_goroutines"]
	if !ok {
		return 0, errors.New("no go_goroutines in /metrics")
	}
	return int(n), nil
}

// Metrics asks the admin listener for /metrics. Each name has the sum of its
// values over all labels.
func (p *Process) Metrics(ctx context.Context) (map[string]float64, error) {
	if p.Admin == "" {
		return nil, errors.New("server has no admin address")
	}
	body, err := p.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	return parseMetrics(body), nil
}

// parseMetrics reads the text format of Prometheus without time stamps, which
// no exporter of its own values writes. Lines that are none are left out.
func parseMetrics(body []byte) map[string]float64 {
	m := make(map[string]float64)
	for line := range bytes.Lines(body) {
		text := string(bytes.TrimSpace(line))
		end := strings.IndexAny(text, "{ ")
		at := strings.LastIndexByte(text, ' ') // a label may hold spaces, the value does not
		if end <= 0 || at < end || text[0] == '#' {
			continue
		}
		if v, err := strconv.ParseFloat(text[at+1:], 64); err == nil {
			m[text[:end]] += v
		}
	}
	return m
}

// Stop ends the server.
func (p *Process) Stop() { p.Process.Stop(stopWithin) }

// Reserve takes a port of 127.0.0.1 that servers with SO_REUSEPORT can share,
// and holds it until release without accepting on it.
func Reserve() (addr string, release func(), err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	release = func() { _ = unix.Close(fd) }
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
	)
	if err != nil {
		release()
		return "", nil, fmt.Errorf("reserve a port: %w", err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		release()
		return "", nil, err
	}
	return fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port), release, nil
}

// freeAddr finds a port that nobody listens on now. It is one of a random loopback
// address: on 127.0.0.1 a connection of the load generators, or of a test beside this
// one, could take it before the server does.
func freeAddr() (string, error) {
	host := net.IPv4(127, byte(1+rand.IntN(254)), byte(rand.IntN(256)), byte(1+rand.IntN(254)))
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: host})
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
