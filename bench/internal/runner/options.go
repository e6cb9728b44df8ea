// Package runner plans a run, starts the servers and the client processes,
// takes them through the scenarios and measures.
package runner

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"wsgateway/bench/internal/client"
	"wsgateway/bench/internal/server"
)

// Scenarios lists the names Options.Scenario accepts.
var Scenarios = []string{"idle", "echo", "active", "broadcast", "churn", "storm", "slow", "stall"}

// Options describes one scenario. Zero means the default of Complete.
type Options struct {
	Scenario string
	Conns    int

	URL        string      // of a foreign server; empty starts one
	Server     server.Kind // what to start
	ServerBin  string      // built already; empty builds it
	ServerArgs []string    // added to the server's flags
	Servers    int         // processes, 0 as many as needed
	Pids       []int       // of a foreign server, to measure

	Clients     int // processes, 0 as many as needed
	ClientLoops int
	ConnectRate float64
	Handshakes  int // in flight per client process

	Size     int
	InFlight int
	Active   int // 0 is all, except in the scenario active
	Rate     float64
	Bystand  float64 // messages per second over the idle connections
	Duration time.Duration
	Warmup   time.Duration
	Settle   time.Duration // before memory is read
	Cycles   int64
	Slow     float64 // fraction of readers that stop; with 1 until the server has ended all
	Stalled  int     // stall: connections at each of the three places
	Rounds   int     // stall: baselines and measurements
	MaxRatio float64 // stall: of the p99, 0 is any

	ReplyTimeout time.Duration // also of a handshake

	path, host string // of URL
	addr       string // resolved; empty without a URL
	loopback   bool
}

// UsageError is a combination of options that makes no sense.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

func usage(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// Complete checks the options and fills in the defaults of the scenario.
func (o *Options) Complete() error {
	known := false
	for _, s := range Scenarios {
		known = known || s == o.Scenario
	}
	switch {
	case !known:
		return usage("-scenario %q is none of %s", o.Scenario, strings.Join(Scenarios, ", "))
	case o.Conns < 1 || o.Conns > 5_000_000:
		return usage("-conns must be between 1 and 5,000,000")
	case o.Size < 0 || o.Size > 16<<20:
		return usage("-size must be between 0 and 16 MiB")
	case o.InFlight < 0 || o.InFlight > 1024:
		return usage("-inflight must be between 1 and 1024")
	case o.Active < 0 || o.Active > o.Conns:
		return usage("-active must be between 1 and -conns")
	case o.Rate < 0 || o.ConnectRate < 0:
		return usage("a rate must not be negative")
	case o.Duration < 0 || o.Warmup < 0 || o.Cycles < 0:
		return usage("-duration, -warmup and -cycles must not be negative")
	case o.Slow < 0 || o.Slow > 1:
		return usage("-slow must be between 0 and 1")
	case o.Stalled < 0 || o.Stalled > 1_000_000:
		return usage("-stalled must be between 1 and 1,000,000")
	case o.Rounds < 0 || o.Rounds > 1000:
		return usage("-rounds must be between 1 and 1,000")
	case o.MaxRatio < 0:
		return usage("-max-ratio must not be negative")
	case o.Clients < 0 || o.Servers < 0 || o.ClientLoops < 0 || o.Handshakes < 0:
		return usage("a number of processes, loops or handshakes must not be negative")
	case o.URL != "" && (o.ServerBin != "" || len(o.ServerArgs) > 0 || o.Servers > 0):
		return usage("-url names a running server: -server-bin, -server-args and -servers do not go with it")
	case o.URL == "" && len(o.Pids) > 0:
		return usage("-pid goes with -url: servers started here are measured anyway")
	case o.URL == "" && o.Server != server.Gateway && o.broadcasts():
		return usage("server %q only echoes: -scenario %s needs the gateway or -url", o.Server, o.Scenario)
	}
	o.defaults()
	if o.broadcasts() && o.Size < client.MinBroadcast {
		return usage("-size must be at least %d for -scenario %s: number, time and proof of a message", client.MinBroadcast, o.Scenario)
	}
	return o.parseURL()
}

func (o *Options) broadcasts() bool { return o.Scenario == "broadcast" || o.Scenario == "slow" }

func (o *Options) defaults() {
	def(&o.ClientLoops, 1)
	def(&o.Handshakes, 512)
	def(&o.InFlight, 1)
	if o.Scenario == "stall" {
		def(&o.Duration, 5*time.Second)
		def(&o.Rate, 2000)
		def(&o.Stalled, 5000)
		def(&o.Rounds, 3)
	} else {
		o.Stalled = 0
	}
	def(&o.Duration, 10*time.Second)
	def(&o.Settle, 1500*time.Millisecond)
	def(&o.ReplyTimeout, 30*time.Second)
	def(&o.Cycles, int64(max(10*o.Conns, 10_000)))
	def(&o.Slow, 0.1)
	switch o.Scenario {
	case "active":
		def(&o.Active, min(100, o.Conns))
		def(&o.Bystand, 50)
		def(&o.Size, 128)
	case "broadcast":
		def(&o.Rate, clamp(20_000/float64(o.Conns), 0.2, 10))
		def(&o.Size, 128)
	case "slow":
		def(&o.Rate, clamp(25_000/float64(o.Conns), 1, 100))
		def(&o.Size, 8<<10)
	default:
		def(&o.Size, 128)
	}
	o.path = "/"
	if o.broadcasts() {
		o.path = "/broadcast"
	}
	o.loopback = true
}

func def[T int | int64 | float64 | time.Duration](p *T, v T) {
	if *p == 0 {
		*p = v
	}
}

func clamp(v, low, high float64) float64 { return min(max(v, low), high) }

// parseURL resolves the address of a foreign server.
func (o *Options) parseURL() error {
	if o.URL == "" {
		return nil
	}
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return usage("-url: %v", err)
	case u.Scheme == "wss":
		return usage("-url: wss is not supported: this client speaks no TLS; measure the server behind the one that ends it, with ws://")
	case u.Scheme != "ws" || u.Host == "" || u.User != nil || u.Fragment != "":
		return usage("-url must look like ws://host:port/path")
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	ips, err := net.LookupIP(u.Hostname())
	if err != nil || len(ips) == 0 {
		return errors.Join(fmt.Errorf("-url: no address for %q", u.Hostname()), err)
	}
	ip := ips[0]
	for _, a := range ips { // IPv4 first: loopback has more source addresses there
		if a.To4() != nil {
			ip = a
			break
		}
	}
	o.addr = net.JoinHostPort(ip.String(), port)
	a, err := netip.ParseAddrPort(o.addr)
	if err != nil {
		return usage("-url: %v", err)
	}
	o.loopback = a.Addr().Is4() && a.Addr().IsLoopback()
	o.host, o.path = u.Host, u.RequestURI()
	return nil
}
