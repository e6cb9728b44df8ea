// Gateway is a WebSocket gateway for Linux.
//
// Usage:
//
//	gateway [flags]
//
// Without flags it listens on :8080. "/" sends every message back, "/broadcast" sends it to
// everybody there. On "/channels" clients publish and subscribe with the subprotocol
// json.webpubsub.azure.v1, see package webpubsub. By default this works only if every -listen is a
// loopback address or a unix socket, and not for web pages of other hosts. -channels-open allows it
// elsewhere. Metrics and health are served on 127.0.0.1:8081: /metrics, /livez, /readyz.
//
// SIGTERM or SIGINT closes all clients with 1001 and ends the process when they are gone; a second
// one ends it at once, and so does a first one that comes before the start is done. Exit status: 0
// after an orderly end, 1 if clients had to be cut off or the gateway failed, 2 for bad flags or an
// address that cannot be listened on.
//
// The log goes to the standard error. Its reader never holds up the gateway, nor ends it by going
// away: lines that are not read in time are dropped, the log says how many, and
// wsgateway_log_lines_dropped_total counts them. SIGHUP has no effect.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	surviveSignals()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the exit. Errors of usage and of addresses are one line on stderr.
func run(args []string, stdout, stderr io.Writer) int {
	conf, err := parseFlags(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintln(stderr, "gateway:", err)
		return exitUsage
	}
	lines := newLogWriter(stderr)
	defer closeLog(lines)
	log := newLogger(lines, conf.logLevel)
	defer answerHangups(log)()

	// From here on, so that no signal is lost between the start and the handler.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	// Looking up the address of a name may take long. A signal meanwhile ends the process at once:
	// nothing that has been prepared needs an orderly end.
	var g *gateway
	prepared := make(chan error, 1)
	go func() {
		var err error
		if g, err = prepare(conf, log); err == nil {
			err = g.admin.countLost(lines.Lost)
		}
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
		fmt.Fprintln(lines, "gateway:", err)
		return exitUsage
	}
	return end(g, signals)
}

// end waits for a signal, and ends the gateway. A second signal ends it at once.
func end(g *gateway, signals <-chan os.Signal) int {
	sig, timeout := <-signals, g.config.shutdownTimeout
	g.log.Info("stopping", "signal", sig.String(), "connections", g.server.Stats().Conns, "timeout", timeout)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	done := make(chan struct{})
	go func() { // ends with end
		select {
		case <-signals:
			cancel()
		case <-done:
		}
	}()
	err := g.stop(ctx)
	close(done)
	if err != nil {
		g.log.Warn("stopped, clients were cut off", "err", err)
		return exitFailed
	}
	g.log.Info("stopped")
	return exitOK
}
