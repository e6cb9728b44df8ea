package client

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"wsgateway/bench/internal/handshake"
)

// sockaddr returns the address in the shape of golang.org/x/sys/unix.
func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Unmap().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().Unmap().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// sourceList lists count addresses from the first.
func sourceList(first string, count int) []unix.Sockaddr {
	if count <= 0 {
		return nil
	}
	a := netip.MustParseAddr(first) // withDefaults has parsed it
	list := make([]unix.Sockaddr, count)
	for i := range list {
		list[i] = sockaddr(netip.AddrPortFrom(a, 0))
		a = a.Next()
	}
	return list
}

// dial begins a connection. Its outcome is told to the phase.
func (l *loop) dial(c *conn) {
	c.cycle++
	c.sent, c.recv, c.skipped = 0, 0, 0
	c.active, c.stalled, c.evicted = false, false, false
	c.since = l.clk.now()
	fd, err := l.connect(c)
	if err != nil {
		l.refused(c, KindDial, err.Error())
		return
	}
	c.fd, c.state = int32(fd), stateConnecting
	ev := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     l.indexOf(c),
		Pad:    int32(c.gen),
	}
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		l.fail(c, KindDial, "epoll_ctl: %v", err)
		return
	}
	// On loopback the connection stands already: this saves a turn.
	l.request(c)
}

// connect makes the socket, binds it to the next source address that has a
// port left, and starts connecting.
func (l *loop) connect(c *conn) (int, error) {
	to := l.targets[c.target]
	family := unix.AF_INET
	if _, v6 := to.(*unix.SockaddrInet6); v6 {
		family = unix.AF_INET6
	}
	for try := 0; ; try++ {
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return -1, errors.New("socket: " + err.Error())
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		if c.role == roleSlow {
			// Over loopback's large segments the server's socket would take
			// megabytes before it fills; these are those of Ethernet.
			_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1400)
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, l.cfg.SlowBuffer)
		}
		if len(l.sources) > 0 {
			_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			from := l.sources[l.source%len(l.sources)]
			l.source++
			if err := unix.Bind(fd, from); err != nil {
				_ = unix.Close(fd)
				return -1, errors.New("bind: " + err.Error())
			}
		}
		err = unix.Connect(fd, to)
		if err == nil || err == unix.EINPROGRESS {
			return fd, nil
		}
		_ = unix.Close(fd)
		if err != unix.EADDRNOTAVAIL || try >= len(l.sources) {
			return -1, errors.New("connect: " + err.Error())
		}
	}
}

// request sends the handshake request if the socket is connected.
func (l *loop) request(c *conn) {
	if c.role == roleStalled && c.stallsAt() == StallHandshake {
		l.stallHead(c)
		return
	}
	l.wbuf = handshake.AppendRequest(l.wbuf[:0], l.cfg.Host, l.cfg.Path, l.key(c))
	n, errno := send(c.fd, l.wbuf)
	switch {
	case errno == unix.EAGAIN:
		l.wbuf = l.wbuf[:0]
		return
	case errno != 0:
		l.wbuf = l.wbuf[:0]
		l.refused(c, KindDial, "connect: "+errno.Error())
		return
	}
	c.state = stateHandshaking
	l.keep(c, n)
}

// key is the Sec-WebSocket-Key of this incarnation of the connection.
func (l *loop) key(c *conn) handshake.Key {
	var raw [16]byte
	seed := seedOf(l.cfg.Secret, c.id, c.cycle, 1<<31)
	binary.LittleEndian.PutUint64(raw[:], mix(seed))
	binary.LittleEndian.PutUint64(raw[8:], mix(seed+golden))
	return handshake.NewKey(raw)
}

// answer judges a whole response head.
func (l *loop) answer(c *conn, head []byte) {
	err := handshake.Check(head, l.key(c))
	var no *handshake.RefusedError
	switch {
	case c.stalled && errors.As(err, &no):
		l.evicted(c, string(appendInt(nil, no.Status)))
	case c.stalled && err == nil:
		l.fail(c, KindHandshake, "upgraded after half of the request")
	case err == nil:
		c.state = stateOpen
		l.prog.open.Add(1)
		l.st.Connected++
		l.st.Handshake.Record(l.now - c.since)
		l.ph.opened(c)
	case errors.As(err, &no):
		l.refused(c, "refused-"+string(appendInt(nil, no.Status)), err.Error())
	default:
		l.fail(c, KindHandshake, "%v", err)
	}
}

// refused ends an attempt to connect: an error, unless the phase tries again.
func (l *loop) refused(c *conn, kind, text string) {
	if r, ok := l.ph.(retrier); ok && r.retry(c) {
		bump(&l.st.Refused, kind, 1)
		l.st.Retries++
		l.drop(c)
		return
	}
	l.fail(c, kind, "%s", text)
}
