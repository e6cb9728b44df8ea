// Compare measures the gateway against two floors on the same work: a bare
// epoll echo loop in C and the same in Go. Neither has timeouts, limits or a
// pool, so the ratio to them is the price of being a server.
//
//	go run ./bench/compare
//
// It runs each case on each server in turn, repeats that, and prints medians:
// processor time of the server per message, its ratio to the first server of
// the same repeat, latencies, and in the case idle the memory per connection.
// Differences under a tenth mean little on a busy machine. Without a C compiler
// the first server is the loop in Go.
//
// -json writes one object: schema "wsgateway-compare/1", date, machine, cases,
// and rows, an array with one object for each case and server: its values of
// every repeat, their median, and the median ratio.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"wsgateway/bench/internal/fleet"
	"wsgateway/bench/internal/report"
	"wsgateway/bench/internal/runner"
	"wsgateway/bench/internal/server"
)

//go:embed echo.c
var source []byte

// settings is the command line.
type settings struct {
	cases    []study
	servers  []server.Kind
	bin      string
	args     []string
	repeats  int
	duration time.Duration
	json     string
}

func main() {
	fleet.RunChild()
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr *os.File) int {
	s, err := parse(args[1:], stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "compare: %v (-help lists the flags)\n", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop)
	out, err := measure(ctx, s, args, stderr)
	if out != nil {
		err = errors.Join(err, out.write(s.json, stdout))
	}
	switch {
	case ctx.Err() != nil:
		return 130
	case err != nil:
		fmt.Fprintln(stderr, "compare:", err)
		return 1
	}
	return 0
}

func parse(args []string, out io.Writer) (*settings, error) {
	s := &settings{}
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	cases := f.String("cases", "", "comma list of "+strings.Join(names(), ", ")+"; empty is all")
	servers := f.String("servers", "c,plain,gateway", "comma list of the servers; the first is the base of the ratios")
	f.StringVar(&s.bin, "gateway-bin", "", "built gateway to start instead of building it")
	extra := f.String("gateway-args", "", "more flags for the gateway, separated by spaces")
	f.IntVar(&s.repeats, "repeats", 3, "times each case runs on each server")
	f.DurationVar(&s.duration, "duration", 4*time.Second, "measured time of each run")
	f.StringVar(&s.json, "json", "", "file for the outcome in JSON, - for standard output instead of the table")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(out, "usage: go run ./bench/compare [flags]")
			f.SetOutput(out)
			f.PrintDefaults()
		}
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if s.repeats < 1 || s.duration <= 0 {
		return nil, errors.New("-repeats and -duration must be positive")
	}
	s.args = strings.Fields(*extra)
	for _, c := range studies {
		if *cases == "" {
			s.cases = append(s.cases, c)
		}
	}
	if *cases != "" {
		for name := range strings.SplitSeq(*cases, ",") {
			c, ok := find(name)
			if !ok {
				return nil, fmt.Errorf("-cases: %q is none of %s", name, strings.Join(names(), ", "))
			}
			s.cases = append(s.cases, c)
		}
	}
	for name := range strings.SplitSeq(*servers, ",") {
		k := server.Kind(name)
		if k != server.C && k != server.Plain && k != server.Gateway {
			return nil, fmt.Errorf("-servers: %q is none of c, plain, gateway", name)
		}
		s.servers = append(s.servers, k)
	}
	return s, nil
}

// measure runs everything. The outcome holds what was done until an error.
func measure(ctx context.Context, s *settings, args []string, stderr *os.File) (*outcome, error) {
	r, err := runner.New(nil)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	bins := map[server.Kind]string{server.Gateway: s.bin}
	servers := s.servers[:0:0]
	for _, k := range s.servers {
		bin := bins[k]
		switch {
		case k == server.C:
			if bin, err = compileC(ctx, r.Dir()); errors.Is(err, exec.ErrNotFound) {
				fmt.Fprintln(stderr, "no C compiler (cc): the loop in C is left out")
				continue
			}
		case bin == "":
			bin, err = server.Build(ctx, k, r.Dir())
		}
		if err != nil {
			return nil, err
		}
		bins[k] = bin
		servers = append(servers, k)
	}
	if len(servers) == 0 {
		return nil, errors.New("no server left to measure")
	}
	out := newOutcome(args, r.Descriptors(), s, servers)
	for i := range s.repeats {
		for _, c := range s.cases {
			for _, k := range servers {
				o := c.options
				o.Server, o.ServerBin, o.Duration, o.Warmup = k, bins[k], s.duration, s.duration/4
				if k == server.Gateway {
					o.ServerArgs = s.args
				}
				res, err := r.Run(ctx, o)
				if err != nil {
					return out, fmt.Errorf("%s on %s: %w", c.name, k, err)
				}
				fmt.Fprintf(stderr, "%d of %d: %s on %s: %.2f us per message, %s errors\n", i+1, s.repeats, c.name, k,
					res.ServerCPU, report.Count(res.ErrorCount()))
				if n := res.ErrorCount(); n > 0 {
					return out, fmt.Errorf("%s on %s: %d errors %v %v", c.name, k, n, res.Errors, res.Samples)
				}
				out.add(c.name, k, res)
			}
		}
	}
	return out, nil
}

// compileC builds the loop in C into dir.
func compileC(ctx context.Context, dir string) (string, error) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return "", err
	}
	src, bin := filepath.Join(dir, "echo.c"), filepath.Join(dir, "c")
	if err := os.WriteFile(src, source, 0o600); err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(ctx, cc, "-O2", "-o", bin, src).CombinedOutput(); err != nil {
		return "", fmt.Errorf("cc: %w\n%s", err, out)
	}
	return bin, nil
}
