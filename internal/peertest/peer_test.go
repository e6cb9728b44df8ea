package peertest

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// eachGateway runs f against a gateway without and against one with permessage-deflate;
// both speak the subprotocol "echo".
func eachGateway(t *testing.T, f func(t *testing.T, g *gateway, deflate bool)) {
	t.Helper()
	t.Run("plain", func(t *testing.T) {
		f(t, startGateway(t, setup{args: []string{"-subprotocol", "echo"}}), false)
	})
	t.Run("deflate", func(t *testing.T) {
		f(t, startGateway(t, setup{args: []string{"-subprotocol", "echo", "-compress"}}), true)
	})
}

// runPeer runs a client that prints a line for each of its checks, and makes a
// subtest of each.
func runPeer(t *testing.T, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if stdout.Len() > 0 {
		reportChecks(t, stdout.String())
	}
	if err != nil || stdout.Len() == 0 {
		t.Errorf("%s: %v, no more checks\n%s", cmd, err, stderr.String())
	}
}

// reportChecks makes a subtest of each line, "ok NAME" or "failed NAME: ERROR".
func reportChecks(t *testing.T, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "ok "); ok {
			t.Run(name, func(*testing.T) {})
		} else if failure, ok := strings.CutPrefix(line, "failed "); ok {
			name, _, _ := strings.Cut(failure, ": ")
			t.Run(name, func(t *testing.T) { t.Error(failure) })
		} else {
			t.Errorf("not the result of a check: %q", line)
		}
	}
}

// deflateArg is how the scripts are told what to expect.
func deflateArg(deflate bool) []string {
	if deflate {
		return []string{"deflate"}
	}
	return nil
}
