package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"wsgateway/bench/conformance/internal/engine"
	"wsgateway/bench/conformance/internal/suite"
)

// settings is the command line.
type settings struct {
	url     string
	config  engine.Config
	cases   []*engine.Case
	list    bool
	json    bool
	verbose bool
}

// errHelp asks for no more than the usage, which has been printed.
var errHelp = errors.New("help")

// parse reads the command line. Its errors are usage errors.
func parse(args []string, out io.Writer) (*settings, error) {
	s := &settings{}
	c := &s.config
	f := flag.NewFlagSet("conformance", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	var run, textURL string
	f.StringVar(&s.url, "url", "", "WebSocket echo server, ws://host:port/path")
	f.StringVar(&run, "run", "", "`cases` to run: the beginning of an id, such as F2 or F4.len16, or a regular expression on the whole id")
	f.BoolVar(&s.list, "list", false, "print the cases and exit")
	f.BoolVar(&s.json, "json", false, "print one JSON document in place of the table")
	f.BoolVar(&s.verbose, "v", false, "print the cases that passed or were skipped, too")
	f.Uint64Var(&c.Seed, "seed", 0, "seed of the random splits; 0 takes a new one")
	f.IntVar(&c.Parallel, "parallel", 16, "connections at once")
	f.DurationVar(&c.Timeout, "timeout", 5*time.Second, "longest wait of each step")
	f.DurationVar(&c.Delay, "delay", 0, "delay of a relay in front of the server, in each direction")
	f.BoolVar(&c.Compress, "compress", false, "offer permessage-deflate on every connection of group F")
	f.IntVar(&c.MaxMessage, "max-message", 1<<20, "the server's largest message in `bytes`; 0 if unknown or none")
	f.IntVar(&c.MaxFragments, "max-fragments", 1024, "the most fragments of a message the server takes; 0 if unknown or none")
	f.StringVar(&textURL, "text-url", "", "`URL` of a route that accepts only text")
	f.StringVar(&c.Subprotocol, "subprotocol", "", "`name` of a subprotocol the server speaks")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(out, "usage: go run ./bench/conformance -url ws://host:port/path [flags]")
			f.SetOutput(out)
			f.PrintDefaults()
			return nil, errHelp
		}
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64N(1e9) + 1
	}
	return s, s.complete(run, textURL)
}

// complete judges the flags and selects the cases.
func (s *settings) complete(run, textURL string) error {
	c := &s.config
	switch {
	case s.url == "" && !s.list:
		return errors.New("-url is required, such as -url ws://127.0.0.1:8080/")
	case c.Parallel < 1 || c.Timeout <= 0 || c.Delay < 0 || c.MaxMessage < 0 || c.MaxFragments < 0:
		return errors.New("numbers must not be negative, -parallel and -timeout greater than 0")
	}
	if s.url != "" {
		t, err := engine.ParseTarget(s.url)
		if err != nil {
			return fmt.Errorf("-url: %w", err)
		}
		c.Target = *t
	}
	if textURL != "" {
		t, err := engine.ParseTarget(textURL)
		if err != nil {
			return fmt.Errorf("-text-url: %w", err)
		}
		c.TextOnly = t
	}
	match, err := selector(run)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	for _, tc := range suite.All() {
		if match(tc.ID) {
			s.cases = append(s.cases, tc)
		}
	}
	if len(s.cases) == 0 {
		return fmt.Errorf("-run %q matches no case", run)
	}
	return nil
}

// selector returns what -run selects. A plain text selects the ids that begin with
// it, where a number in it does not go on: F2 is not the beginning of F20.
func selector(run string) (func(id string) bool, error) {
	if strings.ContainsAny(run, `^$*+?()[]{}|\`) {
		re, err := regexp.Compile("^(?:" + run + ")$")
		if err != nil {
			return nil, err
		}
		return re.MatchString, nil
	}
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	return func(id string) bool {
		rest, ok := strings.CutPrefix(id, run)
		return ok && (rest == "" || run == "" || !digit(run[len(run)-1]) || !digit(rest[0]))
	}, nil
}
