package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"time"

	"wsgateway/netpoll"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// flags are the values of the command line: those that a configuration has too, and those that are
// for all routes of the default.
type flags struct {
	config       config
	version      bool
	subprotocols []string
	origins      []string
	only         wsproto.Opcode
	compress     bool
	maxMessage   int64
	maxFragments int
	channels     access
}

// parseFlags reads the command line. -help and -version print to stdout and return flag.ErrHelp.
func parseFlags(args []string, stdout io.Writer) (*config, error) {
	f := &flags{config: config{listen: []string{":8080"}}}
	fs := flag.NewFlagSet("gateway", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f.defineAddresses(fs)
	f.defineRoutes(fs)
	f.defineLimits(fs)
	f.defineTimeouts(fs)
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stdout, "usage: gateway [flags]")
		fs.SetOutput(stdout)
		fs.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, err
	case fs.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case f.version:
		fmt.Fprintln(stdout, "gateway", buildVersion(), runtime.Version())
		return nil, flag.ErrHelp
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	f.config.routes = f.routes()
	return &f.config, nil
}

func (f *flags) defineAddresses(fs *flag.FlagSet) {
	c := &f.config
	fs.Var(&list{values: &c.listen}, "listen", "`address` for clients, host:port or unix:/path; may be repeated")
	fs.StringVar(&c.admin, "admin", "127.0.0.1:8081", "`address` of metrics and health")
	fs.TextVar(&c.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	fs.BoolVar(&f.version, "version", false, "print the version and exit")
	fs.BoolVar(&c.reusePort, "reuse-port", false, "let several processes share the port (SO_REUSEPORT)")
}

func (f *flags) defineRoutes(fs *flag.FlagSet) {
	fs.Int64Var(&f.maxMessage, "max-message", 1<<20, "largest message in bytes")
	fs.IntVar(&f.maxFragments, "max-fragments", 1024, "most frames of one message")
	fs.Var(&list{values: &f.subprotocols}, "subprotocol", "`name` of a subprotocol that is spoken on / and /broadcast, in order of preference; may be repeated")
	fs.Var(&list{values: &f.origins}, "origin", "`origin` of web pages that may connect, such as https://example.com; other pages get 403; * admits all pages, file:// pages read from files (apps built with Cordova), null opaque origins, none clients that send no origin; may be repeated; default: everybody")
	fs.Func("only", "the only `type` of message that / and /broadcast accept, text or binary; the other one is refused with 1003; default: both", f.setOnly)
	fs.BoolFunc("channels-open", "let every client of /channels join every group and publish to it; default: true if every -listen is a loopback address or a unix socket, but not for web pages of other hosts unless -origin names them; set it to false if a proxy on this machine lets others in", f.setChannelsOpen)
	fs.BoolVar(&f.compress, "compress", false, "compress messages (permessage-deflate) for clients that ask for it")
}

func (f *flags) defineLimits(fs *flag.FlagSet) {
	s, r := &f.config.server, &f.config.server.Reactor
	fs.IntVar(&r.MaxConns, "max-conns", 0, "connections at once; 0: as many as the limit of open files allows")
	fs.IntVar(&r.Workers, "workers", 0, fmt.Sprintf("size of the worker pool, at most %d; 0: GOMAXPROCS", netpoll.MaxWorkers))
	fs.IntVar(&r.Loops, "loops", 0, fmt.Sprintf("event loops, at most %d; 0: GOMAXPROCS/4, at least 1", netpoll.MaxLoops))
	fs.IntVar(&s.Head.MaxBytes, "max-head", wsproto.DefaultHeadLimits.MaxBytes, "largest head of a request in bytes, cookies included; a larger one gets 431")
	fs.IntVar(&s.Head.MaxTarget, "max-target", wsproto.DefaultHeadLimits.MaxTarget, "largest target of a request in bytes, its path and query; a larger one gets 414")
	fs.IntVar(&s.Deflate.Sessions, "compress-conns", 10_000, "connections that may use compression at once; others are served without it")
	fs.IntVar(&r.QueueBytes, "queue-bytes", 1<<20, "unsent bytes of one client; while fewer wait, one more message of any size is accepted; beyond that the client is closed as too slow")
	fs.IntVar(&r.QueueMessages, "queue-messages", 8192, "unsent messages of one client; beyond that the client is closed as too slow")
	fs.Int64Var(&r.QueueTotalBytes, "queue-total-bytes", 256<<20, "unsent bytes of all clients together")
	fs.Int64Var(&s.InboundBytes, "inbound-total-bytes", 256<<20, "memory for incomplete requests and messages of all clients together")
}

func (f *flags) defineTimeouts(fs *flag.FlagSet) {
	s, r := &f.config.server, &f.config.server.Reactor
	fs.DurationVar(&s.PingInterval, "ping-interval", session.DefaultPingInterval, "silence after which a client is pinged, ±10 %")
	fs.DurationVar(&s.PingTimeout, "ping-timeout", session.DefaultPingTimeout, "time a client has to answer a ping")
	fs.DurationVar(&r.CloseTimeout, "close-timeout", netpoll.DefaultCloseTimeout, "a client that is being closed is cut off if it takes nothing and does not answer for this long")
	fs.DurationVar(&r.Socket.UserTimeout, "tcp-user-timeout", 0, "the kernel cuts off a client that acknowledges nothing of what it was sent, or keeps its window shut, for this long (TCP_USER_TIMEOUT); it may also hit clients that read steadily into a small buffer; 0: never, -ping-timeout finds dead clients")
	fs.DurationVar(&s.HandshakeTimeout, "handshake-timeout", 5*time.Second, "time a client has for its request")
	fs.DurationVar(&f.config.shutdownTimeout, "shutdown-timeout", 15*time.Second, "time for publications, calls and clients to come to an end after SIGTERM")
}

func (f *flags) setOnly(v string) error {
	switch v {
	case "text":
		f.only = wsproto.OpText
	case "binary":
		f.only = wsproto.OpBinary
	default:
		return errors.New("neither text nor binary")
	}
	return nil
}

func (f *flags) setChannelsOpen(v string) error {
	open, err := strconv.ParseBool(v)
	if err != nil {
		return errors.New("neither true nor false")
	}
	f.channels = accessNone
	if open {
		f.channels = accessAll
	}
	return nil
}

// list is a flag that may be repeated, and holds several values with commas between.
type list struct {
	values *[]string
	set    bool
}

func (l *list) String() string {
	if l.values == nil {
		return ""
	}
	return strings.Join(*l.values, ",")
}

func (l *list) Set(v string) error {
	if !l.set { // the first value replaces the default
		*l.values, l.set = nil, true
	}
	for _, s := range strings.Split(v, ",") {
		if s = strings.TrimSpace(s); s == "" {
			return errors.New("empty element")
		}
		*l.values = append(*l.values, s)
	}
	return nil
}
