package peertest

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// checkResult is what node/checks.js reports of one check.
type checkResult struct {
	Name  string `json:"name"`
	Error string `json:"error"`
}

// reportChecks makes a subtest of each result.
func reportChecks(t *testing.T, results []byte) {
	t.Helper()
	var list []checkResult
	if err := json.Unmarshal(results, &list); err != nil || len(list) == 0 {
		t.Fatalf("no results (%v) in %q", err, results)
	}
	for _, r := range list {
		t.Run(r.Name, func(t *testing.T) {
			if r.Error != "" {
				t.Error(r.Error)
			}
		})
	}
}

func TestNodeClient(t *testing.T) {
	node := tool(t, "node")
	if _, err := os.Stat(filepath.Join("node", "node_modules", "ws", "package.json")); err != nil {
		missing(t, "the ws package is not installed: run npm ci in internal/peertest/node")
	}
	g := startGateway(t, setup{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, filepath.Join("node", "client.js"), "ws://"+g.addr)
	out, err := cmd.Output()
	if err != nil {
		stderr := ""
		if ee, ok := err.(*exec.ExitError); ok {
			stderr = string(ee.Stderr)
		}
		t.Fatalf("node: %v\n%s", err, stderr)
	}
	reportChecks(t, out)
}
