package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"wsgateway/session"
	"wsgateway/wsproto"
)

// options are the settings of the command line.
type options struct {
	listen           []string
	admin            string
	logLevel         slog.Level
	version          bool
	reusePort        bool
	maxConns         int
	workers          int
	loops            int
	maxMessage       int64
	maxFragments     int
	subprotocols     []string
	origins          []string
	only             wsproto.Opcode
	channelsOpen     *bool // nil: as the addresses say, see openChannels
	compress         bool
	compressConns    int
	queueBytes       int
	queueMessages    int
	queueTotal       int64
	inboundTotal     int64
	pingInterval     time.Duration
	pingTimeout      time.Duration
	handshakeTimeout time.Duration
	shutdownTimeout  time.Duration
}

// Upper bounds of flags. More workers or loops than that would only take memory: each has buffers of its own.
const (
	maxWorkers      = 4096
	maxLoops        = 1024
	maxQueueBytes   = math.MaxInt32 // as netpoll.Config says
	maxSubprotocols = 255           // of one route, as session.Config says
)

// minInbound is what the head of one request takes at most: its buffer, and one twice as large that it is
// moved to when a byte too many comes.
var minInbound = 3 * int64(wsproto.DefaultHeadLimits.MaxBytes)

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
	if !l.set { // the first one replaces the default
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

// parseFlags reads the command line. -help prints the usage to stdout and returns
// flag.ErrHelp.
func parseFlags(args []string, stdout io.Writer) (*options, error) {
	o := &options{listen: []string{":8080"}}
	fs := flag.NewFlagSet("gateway", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Var(&list{values: &o.listen}, "listen", "`address` for clients, host:port or unix:/path; may be repeated")
	fs.StringVar(&o.admin, "admin", "127.0.0.1:8081", "`address` of metrics and health")
	fs.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	fs.BoolVar(&o.version, "version", false, "print the version and exit")
	fs.BoolVar(&o.reusePort, "reuse-port", false, "let several processes share the port (SO_REUSEPORT)")
	fs.IntVar(&o.maxConns, "max-conns", 0, "connections at once; 0: as many as the limit of open files allows")
	fs.IntVar(&o.workers, "workers", 0, fmt.Sprintf("size of the worker pool, at most %d; 0: GOMAXPROCS", maxWorkers))
	fs.IntVar(&o.loops, "loops", 0, fmt.Sprintf("event loops, at most %d; 0: GOMAXPROCS/4, at least 1", maxLoops))
	fs.Int64Var(&o.maxMessage, "max-message", 1<<20, "largest message in bytes")
	fs.IntVar(&o.maxFragments, "max-fragments", 1024, "most frames of one message")
	fs.Var(&list{values: &o.subprotocols}, "subprotocol", "`name` of a subprotocol that is spoken on / and /broadcast, in order of preference; may be repeated")
	fs.Var(&list{values: &o.origins}, "origin", "`origin` of web pages that may connect, such as https://example.com, others get 403; * for all pages, none for clients that send no origin; may be repeated; default: everybody")
	fs.Func("only", "the one `type` of message that / and /broadcast take, text or binary, the other is refused with 1003; default: both", o.setOnly)
	fs.BoolFunc("channels-open", "let every client of /channels join every group and publish to it; default: only if every -listen is a loopback address or a unix socket, and then not for web pages of other hosts, unless -origin names them; say false if a proxy on this machine lets others in", o.setChannelsOpen)
	fs.BoolVar(&o.compress, "compress", false, "compress messages (permessage-deflate) for clients that ask for it")
	fs.IntVar(&o.compressConns, "compress-conns", 10_000, "connections that may compress at once; others are served without")
	fs.IntVar(&o.queueBytes, "queue-bytes", 256<<10, "unsent bytes of one client before it is closed as too slow")
	fs.IntVar(&o.queueMessages, "queue-messages", 256, "unsent messages of one client before it is closed as too slow")
	fs.Int64Var(&o.queueTotal, "queue-total-bytes", 256<<20, "unsent bytes of all clients together")
	fs.Int64Var(&o.inboundTotal, "inbound-total-bytes", 256<<20, "memory for incomplete requests and messages of all clients together")
	fs.DurationVar(&o.pingInterval, "ping-interval", 27*time.Second, "silence after which a client is pinged, ±10 %")
	fs.DurationVar(&o.pingTimeout, "ping-timeout", 20*time.Second, "time a client has to answer a ping")
	fs.DurationVar(&o.handshakeTimeout, "handshake-timeout", 5*time.Second, "time a client has for its request")
	fs.DurationVar(&o.shutdownTimeout, "shutdown-timeout", 15*time.Second, "time clients have to close after SIGTERM")
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
	}
	return o, o.check()
}

func (o *options) setOnly(v string) error {
	switch v {
	case "text":
		o.only = wsproto.OpText
	case "binary":
		o.only = wsproto.OpBinary
	default:
		return errors.New("neither text nor binary")
	}
	return nil
}

func (o *options) setChannelsOpen(v string) error {
	open, err := strconv.ParseBool(v)
	if err != nil {
		return errors.New("neither true nor false")
	}
	o.channelsOpen = &open
	return nil
}

// openChannels reports whether everybody may use every group of /channels. Nobody but this machine
// can reach a gateway that listens on loopback and unix sockets only, if no proxy leads to it.
func (o *options) openChannels() bool {
	if o.channelsOpen != nil {
		return *o.channelsOpen
	}
	for _, addr := range o.listen {
		if strings.HasPrefix(addr, "unix:") {
			continue
		}
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil || !a.IP.IsLoopback() {
			return false
		}
	}
	return true
}

// check refuses values that mean nothing, or that the gateway could not start with; 0 stands for a default
// only where the usage says so.
func (o *options) check() error {
	if o.admin == "" {
		return errors.New("invalid value for flag -admin: empty, give host:port, such as 127.0.0.1:8081")
	}
	seen := make(map[string]bool)
	for _, name := range o.subprotocols {
		if !isToken(name) {
			return fmt.Errorf("invalid value for flag -subprotocol: %q is no token (RFC 9110 §5.6.2): give letters, digits and !#$%%&'*+-.^_`|~", name)
		}
		if seen[name] {
			return fmt.Errorf("invalid value for flag -subprotocol: %q stands twice, name it once", name)
		}
		seen[name] = true
	}
	if n := len(o.subprotocols); n > maxSubprotocols {
		return fmt.Errorf("invalid value for flag -subprotocol: %d names, must be at most %d", n, maxSubprotocols)
	}
	for i, origin := range o.origins {
		if origin == "none" {
			o.origins[i] = ""
			continue
		}
		if !session.ValidOrigin(origin) {
			return fmt.Errorf("invalid value for flag -origin: %q is not scheme://host[:port] or *", origin)
		}
	}
	for _, v := range []struct {
		name string
		n    int64
		zero bool
		most int64 // 0: no bound
	}{
		{"max-conns", int64(o.maxConns), true, 0},
		{"workers", int64(o.workers), true, maxWorkers},
		{"loops", int64(o.loops), true, maxLoops},
		{"max-message", o.maxMessage, false, 0},
		{"max-fragments", int64(o.maxFragments), false, 0},
		{"compress-conns", int64(o.compressConns), false, 0},
		{"queue-bytes", int64(o.queueBytes), false, maxQueueBytes},
		{"queue-messages", int64(o.queueMessages), false, 0},
		{"queue-total-bytes", o.queueTotal, false, maxQueueBytes},
		{"inbound-total-bytes", o.inboundTotal, false, 0},
		{"ping-interval", int64(o.pingInterval), false, 0},
		{"ping-timeout", int64(o.pingTimeout), false, 0},
		{"handshake-timeout", int64(o.handshakeTimeout), false, 0},
		{"shutdown-timeout", int64(o.shutdownTimeout), false, 0},
	} {
		if v.n < 0 || v.n == 0 && !v.zero {
			return fmt.Errorf("invalid value for flag -%s: must be greater than 0", v.name)
		}
		if v.most > 0 && v.n > v.most {
			return fmt.Errorf("invalid value for flag -%s: %d is too much, must be at most %d", v.name, v.n, v.most)
		}
	}
	if o.inboundTotal < minInbound {
		return fmt.Errorf("invalid value for flag -inbound-total-bytes: %d is too little for the head of one request, must be at least %d", o.inboundTotal, minInbound)
	}
	return nil
}

// isToken reports whether s is a token (RFC 9110 §5.6.2), as a subprotocol has to be (RFC 6455 §4.1).
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !('0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
