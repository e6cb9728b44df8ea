package netpoll_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// multipathPair returns both ends of a connection of which our end is a multipath TCP socket, as
// Go's net.Listen makes them for clients that speak it. It skips the test where the kernel does
// not.
func multipathPair(t *testing.T) (ours, peer *net.TCPConn) {
	t.Helper()
	ln, err := listenMultipath(true)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var d net.Dialer
	d.SetMultipathTCP(true)
	c, err := d.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	ours = s.(*net.TCPConn)
	if ok, err := ours.MultipathTCP(); !ok || err != nil || !isMultipath(t, ours) {
		t.Skip("NOT TESTED: this kernel has no multipath TCP, net.mptcp.enabled is not 1")
	}
	return ours, c.(*net.TCPConn)
}

func listenMultipath(yes bool) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(yes)
	return lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
}

func isMultipath(t *testing.T, c *net.TCPConn) bool {
	t.Helper()
	fd := duplicate(t, c)
	defer unix.Close(fd)
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		t.Fatal(err)
	}
	return protocol == unix.IPPROTO_MPTCP
}

// A connection of multipath TCP is served, although its socket does not know all options.
func TestAdoptMultipath(t *testing.T) {
	for name, options := range map[string]netpoll.SocketOptions{"defaults": {}, "user timeout": {UserTimeout: time.Minute}} {
		t.Run(name, func(t *testing.T) {
			opened := make(chan netpoll.Conn, 1)
			h := &funcs{
				opened: func(t *netpoll.Turn) { opened <- t.Conn() },
				data:   func(t *netpoll.Turn, p []byte) { _ = t.Reactor().Send(t.Conn(), netpoll.Message{Body: p}) },
			}
			r, _ := start(t, netpoll.Config{Socket: options}, h)
			ours, c := multipathPair(t)
			if _, err := r.AdoptConn(ours, nil, nil); err != nil {
				t.Fatal(err)
			}
			talk(t, c)
			id := waits.Receive(t, opened, "the connection")
			if v, err := r.SocketOption(id, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT); v != 64<<10 || err != nil {
				t.Errorf("TCP_NOTSENT_LOWAT is %d, %v, want 65,536", v, err)
			}
		})
	}
}

// Only those options are set on each connection that its listener does not know, and one that it
// does not know does not keep it from the others.
func TestOptionsAreHandedDown(t *testing.T) {
	options := netpoll.SocketOptions{UserTimeout: time.Minute}
	for name, multipath := range map[string]bool{"tcp": false, "multipath": true} {
		t.Run(name, func(t *testing.T) {
			probe, err := listenMultipath(multipath)
			if err != nil {
				t.Fatal(err)
			}
			fd := duplicate(t, probe.(*net.TCPListener))
			probe.Close()
			defer unix.Close(fd)
			var unknown []netpoll.Option
			for _, o := range netpoll.Options(options) {
				_, err := unix.GetsockoptInt(fd, o.Level, o.Name)
				if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOPROTOOPT) {
					unknown = append(unknown, o)
				}
			}
			r, err := netpoll.New(netpoll.Config{Socket: options}, &funcs{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			ln, err := listenMultipath(multipath)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.ListenOn(ln); err != nil {
				t.Fatal(err)
			}
			if got := r.OptionsOfEach(); !slices.Equal(got, unknown) {
				t.Errorf("options %v are set on every connection, want %v", got, unknown)
			}
			if v, err := r.ListenerOption(unix.IPPROTO_TCP, unix.TCP_NODELAY); v == 0 || err != nil {
				t.Errorf("TCP_NODELAY of the listener is %d, %v, want 1", v, err)
			}
		})
	}
}

// A zero UserTimeout leaves the socket's as it is.
func TestUserTimeoutIsLeftAlone(t *testing.T) {
	opened := make(chan netpoll.Conn, 1)
	r, _ := start(t, netpoll.Config{}, &funcs{opened: func(t *netpoll.Turn) { opened <- t.Conn() }})
	ours, _ := tcpPair(t)
	fd := duplicate(t, ours)
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 1234); err != nil {
		t.Fatal(err)
	}
	if _, err := r.AdoptConn(ours, nil, nil); err != nil {
		t.Fatal(err)
	}
	v, err := r.SocketOption(waits.Receive(t, opened, "the connection"), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	if v != 1234 || err != nil {
		t.Errorf("TCP_USER_TIMEOUT is %d, %v, want 1234", v, err)
	}
}
