// Gateway is a WebSocket gateway for Linux.
//
// Usage:
//
//	gateway [flags]
//
// Without flags it listens on :8080. "/" sends every message back, "/broadcast" sends it to
// everybody there. On "/channels" clients publish and subscribe with the subprotocol
// json.webpubsub.azure.v1, see package webpubsub; they may where -listen has loopback addresses and
// unix sockets only, but for web pages that come from elsewhere, or -channels-open says so. Metrics
// and health are served on 127.0.0.1:8081: /metrics, /livez, /readyz.
//
// SIGTERM or SIGINT closes all clients with 1001 and ends the process when they are gone; a
// second one ends it at once, and so does one that comes before anybody is served. Exit status: 0
// after an orderly end, 1 if clients had to be cut off or the gateway failed, 2 for bad flags or an
// address that cannot be listened on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"wsgateway/webpubsub"
	"wsgateway/netpoll"
	"wsgateway/session"
	"wsgateway/wsproto"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the exit. Errors of usage and of addresses are one line on stderr.
func run(args []string, stdout, stderr io.Writer) int {
	opts, err := parseFlags(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintln(stderr, "gateway:", err)
		return exitUsage
	}
	if opts.version {
		fmt.Fprintln(stdout, "gateway", buildVersion(), runtime.Version())
		return exitOK
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: opts.logLevel}))

	// From here on, so that no signal is lost between the start and the handler.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	// Finding out the address of a name may take long. Who gives up meanwhile is not kept waiting: what has
	// been prepared ends with the process.
	var g *gateway
	prepared := make(chan error, 1)
	go func() {
		var err error
		g, err = prepare(opts, log)
		prepared <- err
	}()
	select {
	case sig := <-signals:
		log.Info("stopped before anybody was served", "signal", sig.String())
		return exitOK
	case err = <-prepared:
	}
	if err == nil {
		err = g.serve()
	}
	if err != nil {
		fmt.Fprintln(stderr, "gateway:", err)
		return exitUsage
	}
	sig := <-signals
	log.Info("stopping", "signal", sig.String(), "connections", g.server.Stats().Conns, "timeout", opts.shutdownTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), opts.shutdownTimeout)
	defer cancel()
	done := make(chan struct{})
	go func() { // ends with run
		select {
		case <-signals:
			cancel()
		case <-done:
		}
	}()
	err = g.stop(ctx)
	close(done)
	if err != nil {
		log.Warn("stopped, clients were cut off", "err", err)
		return exitFailed
	}
	log.Info("stopped")
	return exitOK
}

// gateway is a gateway that listens, or runs.
type gateway struct {
	server *session.Server
	admin  *admin
	log    *slog.Logger
	addrs  []string // listened on
	fds    uint64   // limit of open files
	open   bool     // channels are
}

// prepare raises the limit of open files and listens. Nobody is served yet.
func prepare(o *options, log *slog.Logger) (*gateway, error) {
	fds, err := raiseFDLimit()
	if err != nil {
		return nil, err
	}
	if most, _, err := netpoll.FDBudget(); err != nil {
		return nil, err
	} else if o.maxConns > most {
		return nil, fmt.Errorf("-max-conns %d: the limit of open files (RLIMIT_NOFILE) is %d and leaves room for %d", o.maxConns, fds, most)
	}
	open := o.openChannels()
	target, err := webpubsub.New(webpubsub.Config{Open: open, Hint: "the gateway permits it with -channels-open"})
	if err != nil {
		return nil, err
	}
	channelsRoute := target.Route("/channels")
	if o.channelsOpen == nil && open && len(o.origins) == 0 {
		channelsRoute.OnUpgrade = session.ChainUpgrade(localPage, channelsRoute.OnUpgrade)
	}
	cfg := session.Config{
		Routes: []session.Route{
			{Path: "/", Handler: session.Echo{}, Mode: session.OnLoop, Subprotocols: o.subprotocols, Only: o.only},
			{Path: "/broadcast", Mode: session.NeverBlocks, Handler: session.NewBroadcast(), Subprotocols: o.subprotocols, Only: o.only},
			channelsRoute,
		},
		Reactor: netpoll.Config{
			Loops:           o.loops,
			Workers:         o.workers,
			MaxConns:        o.maxConns,
			QueueBytes:      o.queueBytes,
			QueueMessages:   o.queueMessages,
			QueueTotalBytes: o.queueTotal,
		},
		InboundBytes:     o.inboundTotal,
		HandshakeTimeout: o.handshakeTimeout,
		PingInterval:     o.pingInterval,
		PingTimeout:      o.pingTimeout,
		Deflate:          session.Deflate{Sessions: o.compressConns},
		Logger:           log,
	}
	for i := range cfg.Routes {
		cfg.Routes[i].MaxMessage = o.maxMessage
		cfg.Routes[i].MaxFragments = o.maxFragments
		cfg.Routes[i].Origins = o.origins
		cfg.Routes[i].Deflate = o.compress
	}
	server, err := session.NewServer(cfg)
	if err != nil {
		return nil, err
	}
	target.Attach(server)
	var addrs []string
	for _, addr := range o.listen {
		a, err := server.Listen(addr, o.reusePort && !strings.HasPrefix(addr, "unix:"))
		if err != nil {
			server.Close()
			return nil, err
		}
		addrs = append(addrs, addrText(a))
	}
	adm, err := newAdmin(o.admin, server, target, log)
	if err != nil {
		server.Close()
		return nil, err
	}
	return &gateway{server, adm, log, addrs, fds, open}, nil
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
	if g.open {
		g.log.Info("channels are open: every client may join and publish to every group", "path", "/channels")
	} else {
		g.log.Info("channels are closed: clients may neither join nor publish, unless -channels-open is given", "path", "/channels")
	}
	return nil
}

// localPage refuses pages that a browser on this machine shows and that are not this machine's. A name that
// is not its own may have been made to resolve to it (DNS rebinding).
func localPage(u *session.Upgrade) error {
	if u.Request.Origin == nil {
		return nil // no browser
	}
	host := string(u.Request.Host)
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); !strings.EqualFold(host, "localhost") && (err != nil || !ip.IsLoopback()) {
		return wsproto.Refusal(http.StatusForbidden, "not for pages of other hosts, unless -origin or -channels-open is given")
	}
	return session.SameOrigin(u)
}

// stop drains the server, with /readyz saying so meanwhile, then the admin listener.
func (g *gateway) stop(ctx context.Context) error {
	err := g.server.Shutdown(ctx)
	g.admin.close()
	return err
}

func addrText(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
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
