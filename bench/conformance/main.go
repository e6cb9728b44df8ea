// Conformance judges a WebSocket server by RFC 6455, RFC 7692 and the parts of
// RFC 9110 and RFC 9112 under them:
//
//	go run ./bench/conformance -url ws://127.0.0.1:8080/
//
// The server must echo messages. The runner opens TCP connections, writes raw
// bytes and reads raw bytes; it uses no WebSocket library and no code of a server.
//
// Each case runs five times, in different splits of what is written: whole, one
// byte a write, and three times at random by -seed, which is printed, so that a
// failure can be repeated. Of an input over 8 KiB, one byte a write is the first
// 2 KiB and the last 2 KiB, with chunks between. The verdict of a case is the
// worst of its splits:
//
//	PASS        the exact answer
//	NON-STRICT  tolerated by the RFC, but not the exact answer
//	FAIL        violates a MUST, hangs, or echoes what it must not
//	SKIP        says nothing about this server, for the reason given; not passed
//
// -run F2 runs the cases of rule F2, not those of F20; more of an id, as in
// F4.len16, runs the cases that begin so. With a character that is special in
// regular expressions (one of ^$*+?()[]{}|\) it is a regular expression that must
// match the whole id.
//
// -compress offers permessage-deflate in the handshake of every case of group F
// too. -delay puts a relay in front of the server that delays every byte in both
// directions.
//
// The exit status is 0 when nothing failed, 1 when something did, 2 for a wrong
// command line or a server that cannot be reached, and 130 after an interrupt,
// which prints what was judged so far.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"wsgateway/bench/conformance/internal/engine"
	"wsgateway/bench/conformance/internal/suite"
)

const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is main with its outcome as a value.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stdout)
	if errors.Is(err, errHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "conformance: %v (-help lists the flags)\n", err)
		return exitUsage
	}
	if s.list {
		for _, c := range s.cases {
			fmt.Fprintf(stdout, "%-36s %-24s %s\n", c.ID, c.Section, c.Title)
		}
		return 0
	}
	if err := check(ctx, s); err != nil {
		fmt.Fprintln(stderr, "conformance:", err)
		return exitUsage
	}
	rep := judge(ctx, s)
	if err := rep.write(stdout, s); err != nil {
		fmt.Fprintln(stderr, "conformance:", err)
		return exitUsage
	}
	switch {
	case rep.Interrupted:
		return exitInterrupted
	case rep.Total.Fail > 0:
		return exitFailed
	}
	return 0
}

// check sees to it that the server can be judged at all.
func check(ctx context.Context, s *settings) error {
	if err := engine.Reachable(ctx, &s.config); err != nil {
		return fmt.Errorf("cannot connect: %w", err)
	}
	if !s.config.Compress {
		return nil
	}
	if r := engine.Once(ctx, &s.config, suite.Compresses()); r.Verdict != engine.Pass {
		return fmt.Errorf("-compress: the server does not accept permessage-deflate: %s", r.Observed)
	}
	return nil
}
