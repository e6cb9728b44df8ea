package netpoll_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wsgateway/netpoll"
)

// 0.0.0.0 and [::] with one port are two listeners, in either order; without a host one serves
// both versions.
func TestWildcardListeners(t *testing.T) {
	probe, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here:", err)
	}
	probe.Close()
	for name, hosts := range map[string][]string{
		"IPv4 first":   {"0.0.0.0", "[::]"},
		"IPv6 first":   {"[::]", "0.0.0.0"},
		"without host": {""},
	} {
		t.Run(name, func(t *testing.T) {
			r := reactor(t, netpoll.Config{})
			port, err := listenOnAll(r, hosts)
			for tries := 0; errors.Is(err, unix.EADDRINUSE) && tries < 20; tries++ {
				port, err = listenOnAll(r, hosts) // some client's port was in the way
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Start(); err != nil {
				t.Fatal(err)
			}
			talk(t, dial(t, "127.0.0.1:"+port))
			talk(t, dial(t, "[::1]:"+port))
		})
	}
}

// listenOnAll listens on all hosts with the port that the first one gets.
func listenOnAll(r *netpoll.Reactor, hosts []string) (port string, err error) {
	port = "0"
	for _, host := range hosts {
		addr, err := r.Listen(netpoll.ListenConfig{Addr: host + ":" + port})
		if err != nil {
			return "", err
		}
		port = strconv.Itoa(addr.(*net.TCPAddr).Port)
	}
	return port, nil
}

func TestListenNetworks(t *testing.T) {
	r := reactor(t, netpoll.Config{})
	path := filepath.Join(t.TempDir(), "s")
	if addr, err := r.Listen(netpoll.ListenConfig{Network: "unix", Addr: path, Backlog: 1}); err != nil || addr.String() != path {
		t.Errorf("unix: %v, %v", addr, err)
	}
	for _, lc := range []netpoll.ListenConfig{
		{Network: "udp", Addr: "127.0.0.1:0"},
		{Addr: "127.0.0.1:0", Backlog: -1},
		{Network: "tcp6", Addr: "127.0.0.1:0"},
		{Addr: "unix:"},
	} {
		if addr, err := r.Listen(lc); err == nil {
			t.Errorf("Listen(%+v) = %v, want an error", lc, addr)
		}
	}
}

// A reactor that runs takes further listeners.
func TestListenAfterStart(t *testing.T) {
	r, addr := start(t, netpoll.Config{Loops: 2}, &echo{})
	talk(t, dial(t, addr))
	for range 5 {
		second, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		talk(t, dial(t, second.String()))
	}
	r.StopAccepting()
	if _, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"}); !errors.Is(err, netpoll.ErrStopped) {
		t.Errorf("after StopAccepting: %v, want ErrStopped", err)
	}
}

// A net.Listener is taken over: it serves on its address, with the reactor's socket options, and
// its file goes as it would have gone.
func TestListenOn(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			addr := "127.0.0.1:0"
			if network == "unix" {
				addr = filepath.Join(t.TempDir(), "s")
			}
			ln, err := net.Listen(network, addr)
			if err != nil {
				t.Fatal(err)
			}
			timeout := make(chan int, 1)
			options := netpoll.SocketOptions{UserTimeout: time.Minute}
			r, err := netpoll.New(netpoll.Config{Socket: options}, &funcs{opened: func(t *netpoll.Turn) {
				v, _ := t.Reactor().SocketOption(t.Conn(), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
				timeout <- v
			}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			if err := r.ListenOn(ln); err != nil {
				t.Fatal(err)
			}
			if err := r.Start(); err != nil {
				t.Fatal(err)
			}
			c, err := net.Dial(network, ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if v := <-timeout; network == "tcp" && v != 60_000 {
				t.Errorf("TCP_USER_TIMEOUT is %d ms on what is accepted from a net.Listener, want 60,000", v)
			}
			r.StopAccepting()
			if _, err := net.Dial(network, ln.Addr().String()); err == nil {
				t.Error("somebody still listens after StopAccepting")
			}
			if _, err := os.Lstat(addr); err == nil {
				t.Error("the socket file is left")
			}
		})
	}
}

// An inherited descriptor serves as it is; the file of a unix socket is not the reactor's to remove.
func TestListenFD(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	r := reactor(t, netpoll.Config{})
	addr, err := r.ListenFD(duplicate(t, ln))
	if err != nil || addr.String() != path {
		t.Fatalf("ListenFD = %v, %v", addr, err)
	}
	ln.Close()
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	talk(t, c)
	r.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket file: %v", err)
	}
}

func TestListenFDRefuses(t *testing.T) {
	r := reactor(t, netpoll.Config{})
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	udp, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		fd   int
		want error
	}{
		"a connection": {pair[0], unix.EINVAL}, "datagrams": {udp, unix.EPROTOTYPE}, "a file": {file, unix.ENOTSOCK}, "closed": {1 << 20, unix.EBADF},
	} {
		before := openFDs()
		if _, err := r.ListenFD(tt.fd); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if after := openFDs(); after != before {
			t.Errorf("%s: %d descriptors before, %d after", name, before, after)
		}
	}
	for _, fd := range []int{pair[0], pair[1], udp, file} {
		if err := unix.Close(fd); err != nil { // it is still the caller's
			t.Error(err)
		}
	}
}
