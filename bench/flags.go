package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"wsgateway/bench/internal/runner"
	"wsgateway/bench/internal/server"
)

// settings is the command line.
type settings struct {
	scenarios []string
	options   runner.Options // of each scenario
	json      string
	quiet     bool
	verbose   bool
	given     map[string]bool // flags
}

// errHelp asks for no more than the usage, which has been printed.
var errHelp = errors.New("help")

// parse reads the command line. Its errors are usage errors.
func parse(args []string, out io.Writer) (*settings, error) {
	s := &settings{}
	o := &s.options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	var scenario, kind, serverArgs, pids string
	f.IntVar(&o.Conns, "conns", 1000, "connections held at once; in the scenario stall, good clients, 100 unless given")
	f.StringVar(&scenario, "scenario", "idle", "comma list of "+strings.Join(runner.Scenarios, ", "))
	f.StringVar(&o.URL, "url", "", "WebSocket server to load, ws://host:port/path; empty builds and starts one")
	f.StringVar(&kind, "server", string(server.Gateway), "server to start: gateway, or plain, a bare echo loop without limits")
	f.StringVar(&o.ServerBin, "server-bin", "", "built server to start instead of building it")
	f.StringVar(&serverArgs, "server-args", "", "more flags for the server, separated by spaces")
	f.IntVar(&o.Servers, "servers", 0, "server processes on one port; 0 is as many as the descriptor limit asks for")
	f.StringVar(&pids, "pid", "", "comma list of the processes of the -url server, to read their memory and CPU")
	f.IntVar(&o.Clients, "clients", 0, "client processes; 0 is as many as the descriptor limit asks for")
	f.IntVar(&o.ClientLoops, "client-loops", 1, "epoll loops in each client process")
	f.Float64Var(&o.ConnectRate, "connect-rate", 0, "connections begun per second; 0 is as fast as possible")
	f.IntVar(&o.Handshakes, "handshakes", 512, "handshakes in flight in each client process")
	f.IntVar(&o.Size, "size", 0, "bytes of payload; 0 is 128, in the scenario slow 8192")
	f.IntVar(&o.InFlight, "inflight", 1, "echo, active: messages outstanding on each active connection")
	f.IntVar(&o.Active, "active", 0, "echo, active: connections that send; 0 is all, in the scenario active 100")
	f.Float64Var(&o.Rate, "rate", 0, "echo, active: messages per second in total, paced, 0 is a closed loop; stall: the same of the good clients, 0 is 2000; broadcast, slow: messages per second of each publisher, 0 is some 20000 deliveries per second")
	f.Float64Var(&o.Bystand, "bystanders", 0, "echo, active: messages per second over the connections that are not active; 0 is none, in the scenario active 50")
	f.DurationVar(&o.Duration, "duration", 10*time.Second, "time held or measured; in the scenario stall 5s unless given")
	f.DurationVar(&o.Warmup, "warmup", 2*time.Second, "echo, active, stall: load before the measured time")
	f.DurationVar(&o.Settle, "settle", 1500*time.Millisecond, "quiet time before memory is read")
	f.Int64Var(&o.Cycles, "cycles", 0, "churn: connections in total; 0 is ten times -conns, at least 10000")
	f.Float64Var(&o.Slow, "slow", 0.1, "slow: fraction of the readers that stop reading; with 1 the publisher sends until the server has closed them all, for 6 times -duration at most")
	f.IntVar(&o.Stalled, "stalled", 5000, "stall: connections that stall in the handshake, as many in a frame header, and as many in a payload")
	f.IntVar(&o.Rounds, "rounds", 3, "stall: times the good clients are measured without and with the stalled ones")
	f.Float64Var(&o.MaxRatio, "max-ratio", 0, "stall: fail when the p99 with stalled clients is more than this times that without; 0 never does")
	f.DurationVar(&o.ReplyTimeout, "timeout", 30*time.Second, "longest wait for a handshake or an echo")
	f.StringVar(&s.json, "json", "", "file for the report in JSON, - for standard output instead of the table")
	f.BoolVar(&s.quiet, "quiet", false, "no progress")
	f.BoolVar(&s.verbose, "verbose", false, "a line after every step, and what the servers printed")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(out, "usage: go run ./bench [flags]")
			f.SetOutput(out)
			f.PrintDefaults()
			return nil, errHelp
		}
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if kind != string(server.Gateway) && kind != string(server.Plain) {
		return nil, fmt.Errorf("-server %q is none of gateway, plain", kind)
	}
	s.given = make(map[string]bool)
	f.Visit(func(x *flag.Flag) { s.given[x.Name] = true })
	o.Server = server.Kind(kind)
	o.ServerArgs = strings.Fields(serverArgs)
	var err error
	if o.Pids, err = numbers(pids); err != nil {
		return nil, fmt.Errorf("-pid: %w", err)
	}
	s.scenarios = strings.Split(scenario, ",")
	for _, name := range s.scenarios {
		check := s.scenario(name)
		if err := check.Complete(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// scenario returns the options of one scenario.
func (s *settings) scenario(name string) runner.Options {
	o := s.options
	o.Scenario = name
	if name == "stall" {
		// Its defaults differ from those of the flags.
		if !s.given["conns"] {
			o.Conns = 100
		}
		if !s.given["duration"] {
			o.Duration = 0
		}
	}
	return o
}

func numbers(list string) (out []int, err error) {
	if list == "" {
		return nil, nil
	}
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n <= 0 {
			return nil, fmt.Errorf("%q is not a process id", s)
		}
		out = append(out, n)
	}
	return out, nil
}
