package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"wsgateway/netpoll"
	"wsgateway/session"
)

// gateway is a gateway that listens, or runs.
type gateway struct {
	config *config
	mounts []*mount
	server *session.Server
	admin  *admin
	log    *slog.Logger
	addrs  []string // listened on
	fds    uint64   // limit of open files
}

// prepare raises the limit of open files, makes targets and server, and listens. Nobody is served yet.
func prepare(c *config, log *slog.Logger) (g *gateway, err error) {
	g = &gateway{config: c, log: log}
	if g.fds, err = raiseFDLimit(); err != nil {
		return nil, err
	}
	most, _, err := netpoll.FDBudget()
	if err != nil {
		return nil, err
	}
	if n := c.server.Reactor.MaxConns; n > most {
		return nil, fmt.Errorf("-max-conns %d: the limit of open files (RLIMIT_NOFILE) is %d and leaves room for %d", n, g.fds, most)
	}
	if g.mounts, err = newMounts(c); err != nil {
		return nil, err
	}
	sc := c.server
	sc.Logger = log
	for _, m := range g.mounts {
		sc.Routes = append(sc.Routes, m.routes...)
	}
	if g.server, err = session.NewServer(sc); err != nil {
		return nil, err
	}
	if err = g.listen(); err == nil {
		g.admin, err = newAdmin(c.admin, g.server, g.mounts, log)
	}
	if err != nil {
		g.server.Close()
		return nil, err
	}
	return g, nil
}

func (g *gateway) listen() error {
	for _, addr := range g.config.listen {
		a, err := g.server.ListenWith(session.ListenConfig{Addr: addr, ReusePort: g.config.reusePort && !strings.HasPrefix(addr, "unix:")})
		if err != nil {
			return err
		}
		g.addrs = append(g.addrs, addrText(a))
	}
	return nil
}

func addrText(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// serve starts serving.
func (g *gateway) serve() error {
	if err := g.server.Start(); err != nil {
		g.admin.close()
		g.server.Close()
		return err
	}
	g.admin.serve()
	st := g.server.Stats()
	g.log.Info("gateway started", "version", buildVersion(), "listen", strings.Join(g.addrs, ","), "admin", g.admin.addr,
		"fd_limit", g.fds, "max_connections", st.MaxConns, "loops", st.Loops, "workers", st.Workers)
	for _, m := range g.mounts {
		if m.notice != "" {
			g.log.Info(m.notice, "path", m.path)
		}
	}
	return nil
}

// targetTimeout is how long all targets together have to end, once no client is served any more.
const targetTimeout = 5 * time.Second

// stop drains the server, with /readyz saying so meanwhile, then ends the targets and the admin
// listener. Its error says that something was cut off.
func (g *gateway) stop(ctx context.Context) error {
	err := g.server.Shutdown(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), targetTimeout)
	defer cancel()
	for _, m := range g.mounts {
		if e := m.Close(ctx); e != nil {
			err = errors.Join(err, fmt.Errorf("ending the target of %s: %w", m.path, e))
		}
	}
	g.admin.close()
	return err
}

// raiseFDLimit raises the soft limit of open files to the hard one, and returns it.
func raiseFDLimit() (uint64, error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, fmt.Errorf("reading the limit of open files: %w", err)
	}
	if lim.Cur < lim.Max {
		lim.Cur = lim.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
			return 0, fmt.Errorf("raising the limit of open files to %d: %w", lim.Max, err)
		}
	}
	return lim.Cur, nil
}
