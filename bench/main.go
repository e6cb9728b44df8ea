// Bench loads a WebSocket server with many connections and reports what it
// carries: connect rate, latencies, memory per connection, CPU per message.
// It compares every payload and counts every error.
//
//	go run ./bench -conns 100000
//
// builds the gateway, starts as many processes of it as the limit of
// descriptors asks for on one shared port, connects from as many client
// processes, has every connection echo, holds them, and ends with a table. The
// scenarios are
//
//	idle       hold all connections; each echoes at the beginning and at the end
//	echo       -active connections echo in a closed loop, -inflight at a time, or
//	           -rate messages a second, whose latency counts from the time they
//	           were due
//	active     a few connections echo among many idle ones, a few of which are
//	           bystanders that show what the load does to others
//	broadcast  a publisher sends -rate messages a second to all, each of whom
//	           must get each message once and in order
//	churn      connect, echo a secret, end: by closing handshake, FIN or RST;
//	           an answer that is not this connection's secret is a cross-delivery,
//	           and a server that holds more descriptors or goroutines at rest than
//	           before has a leak
//	storm      cut all connections at once and have all come back at once
//	slow       a broadcast during which a fraction of the readers stop reading, or
//	           with -slow 1 all, until the server has closed every one of them
//	stall      good clients echo, by turns alone and beside -stalled clients in
//	           each of three places that have stopped in the middle: of the
//	           opening handshake, of a frame header, of a payload; what the server
//	           ends in the handshake comes again, which is part of what is measured
//	           unless -server-args "-handshake-timeout=1m" puts it off
//
// With -url it loads any WebSocket server that echoes (ws only).
//
// Client sockets are bound to addresses in 127.0.0.0/8 in rotation, because
// one source address has only some 28,000 ports.
//
// -json writes the report as one JSON object: schema "wsgateway-bench/1", date,
// machine (cores, cpu, memory_bytes, kernel, go, descriptors_per_process,
// command, commit), seconds, and results, an array with one object for each
// scenario. Latencies are objects of count, mean_us, p50_us, p90_us, p99_us,
// p999_us, max_us; other numbers carry their unit in their name. Fields that
// were not measured are left out. The Go types are in bench/internal/report.
//
// The exit status is 0 when all was right, 1 after any error, 2 for a wrong
// command line and 130 after an interrupt, which prints what was measured so
// far.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"wsgateway/bench/internal/fleet"
	"wsgateway/bench/internal/report"
	"wsgateway/bench/internal/runner"
)

const (
	exitErrors      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	fleet.RunChild()
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// run is main with its outcome as a value, so that deferred calls happen.
func run(args []string, stdout, stderr *os.File) int {
	s, err := parse(args[1:], stdout)
	if errors.Is(err, errHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v (-help lists the flags)\n", err)
		return exitUsage
	}
	if s.json != "" && s.json != "-" { // better to fail now than after minutes of load
		f, err := os.OpenFile(s.json, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			fmt.Fprintln(stderr, "bench: -json:", err)
			return exitUsage
		}
		_ = f.Close()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	rep, err := measure(ctx, s, args, stderr)
	interrupted := ctx.Err() != nil
	if rep != nil {
		rep.Interrupted = interrupted
		if werr := write(rep, s.json, stdout); werr != nil {
			err = errors.Join(err, werr)
		}
	}
	switch {
	case interrupted:
		return exitInterrupted
	case err != nil:
		fmt.Fprintln(stderr, "bench:", err)
		return exitErrors
	case rep.ErrorCount() > 0:
		return exitErrors
	}
	return 0
}

// measure runs the scenarios one after the other, each with fresh processes.
func measure(ctx context.Context, s *settings, args []string, stderr *os.File) (*report.Report, error) {
	var progress *runner.Progress
	if !s.quiet {
		progress = runner.NewProgress(stderr, s.verbose)
	}
	r, err := runner.New(progress)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	begin := time.Now()
	rep := &report.Report{
		Schema: report.Schema, Date: begin.UTC().Truncate(time.Second),
		Machine: report.ThisMachine(args, r.Descriptors()),
	}
	for _, name := range s.scenarios {
		res, err := r.Run(ctx, s.scenario(name))
		if res != nil {
			rep.Results = append(rep.Results, res)
		}
		rep.Seconds = time.Since(begin).Seconds()
		if err != nil {
			return rep, fmt.Errorf("%s: %w", name, err)
		}
	}
	return rep, nil
}

// write prints the table, and the JSON form where it was asked for.
func write(rep *report.Report, path string, stdout io.Writer) error {
	if path == "-" {
		return rep.WriteJSON(stdout)
	}
	if err := rep.WriteTable(stdout); err != nil {
		return err
	}
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(rep.WriteJSON(f), f.Close())
}
