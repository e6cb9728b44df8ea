package netpoll

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

type option struct{ level, name, value int }

// tcp returns the options of a TCP connection. A listener's are handed down to what it accepts.
func (o SocketOptions) tcp() []option {
	seconds := func(d time.Duration) int { return max(1, int(d/time.Second)) }
	var opts []option
	if o.UserTimeout > 0 {
		ms := max(1, int(o.UserTimeout/time.Millisecond))
		opts = append(opts, option{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms})
	}
	return append(opts, []option{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(o.KeepIdle)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(o.KeepIntvl)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, o.KeepCount},
		{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, o.NotSentLowat},
	}...)
}

func (o option) set(fd int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, o.level, o.name, o.value))
}

// setOptions sets options, and returns those that the socket does not know.
func setOptions(fd int, opts []option) (unknown []option, err error) {
	for _, o := range opts {
		switch err := o.set(fd); {
		case unsupported(err):
			unknown = append(unknown, o)
		case err != nil:
			return nil, err
		}
	}
	return unknown, nil
}

// streamSocket returns the address family of a stream socket, and whether it listens.
//
// Errors: ENOTSOCK and others of the system; EPROTOTYPE for a socket of another type.
func streamSocket(fd int) (domain int, listening bool, err error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err == nil && kind != unix.SOCK_STREAM {
		err = unix.EPROTOTYPE
	}
	if err == nil {
		domain, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	}
	if err == nil && domain != unix.AF_UNIX && domain != unix.AF_INET && domain != unix.AF_INET6 {
		err = unix.EAFNOSUPPORT
	}
	var accepts int
	if err == nil {
		accepts, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	}
	return domain, accepts != 0, err
}

// FDBudget says how many connections RLIMIT_NOFILE allows, and how many more may be open only to be
// refused. A reserve is kept back for refusals and for everything else that the process opens: a
// fifth of the limit, at least 48 and at most 256 descriptors. 40 of the reserve are never used for
// refusals, so that a full process still answers on its admin address.
func FDBudget() (conns, spare int, err error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, 0, os.NewSyscallError("getrlimit", err)
	}
	const (
		most  = 1 << 26 // slots are allocated as needed, their directory is not
		least = 64
	)
	n := int(min(lim.Cur, most))
	if n < least {
		return 0, 0, fmt.Errorf("netpoll: the limit of open files (RLIMIT_NOFILE) is %d: at least %d are needed", n, least)
	}
	reserve := min(max(n/5, 48), 256)
	return n - reserve, min(reserve-40, 128), nil
}

// unsupported reports whether a socket does not know an option, as multipath TCP's does not know
// some. Go's net.Listen makes such sockets.
func unsupported(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOPROTOOPT)
}
