package peertest

import (
	"errors"
	"fmt"
	"os/exec"
	"testing"

	"wsgateway/internal/waits"
)

// Errors of accept4 that the kernel gives under pressure, injected by strace: the
// gateway counts them by name, does not spin, and goes on.
func TestAcceptErrors(t *testing.T) {
	strace := tool(t, "strace")
	if out, err := exec.Command(strace, "-qq", "-o", "/dev/null", "true").CombinedOutput(); err != nil {
		missing(t, "strace cannot trace here: %v: %s", err, out)
	}
	for _, errno := range []string{"EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EINTR", "EPROTO"} {
		t.Run(errno, func(t *testing.T) {
			g := startGateway(t, setup{wrap: []string{
				strace, "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf", "-e", "trace=accept4",
				// Every third call of each thread, and which thread calls is Go's affair. That
				// it hits the admin port as well is part of it.
				"-e", "inject=accept4:error=" + errno + ":when=1+3", "--",
			}})
			var m metrics
			waits.Succeeds(t, waits.Patience, "served, with an error counted", func() error {
				c, err := dial(g.addr, "/")
				if err != nil {
					return err
				}
				defer func() { _ = c.Close() }()
				if err := c.echo(opText, []byte("in spite of "+errno)); err != nil {
					return err
				}
				m = g.scrape(t)
				if m.sum("wsgateway_accept_errors_total", fmt.Sprintf("errno=%q", errno)) == 0 {
					return errors.New("no error counted")
				}
				return nil
			})
			// It pauses after an error, and goes on.
			waits.Succeeds(t, waits.Patience, "accepting", func() error {
				if m = g.scrape(t); m.sum("wsgateway_accept_paused") != 0 {
					return errors.New("still paused")
				}
				return nil
			})
		})
	}
}
