package peertest

import (
	"os"
	"path/filepath"
	"testing"
)

func TestNodeClient(t *testing.T) { testNode(t, "ws", "client.js") }
func TestUndici(t *testing.T)     { testNode(t, "undici", "undici.js") }

func testNode(t *testing.T, pkg, script string) {
	node := nodeWith(t, pkg)
	eachGateway(t, func(t *testing.T, g *gateway, deflate bool) {
		runPeer(t, node, append([]string{filepath.Join("node", script), "ws://" + g.addr}, deflateArg(deflate)...)...)
	})
}

// nodeWith returns Node for a script that needs a package of npm.
func nodeWith(t *testing.T, pkg string) string {
	t.Helper()
	node := tool(t, "node")
	if _, err := os.Stat(filepath.Join("node", "node_modules", pkg, "package.json")); err != nil {
		missing(t, "the package %s is not installed: run npm ci in internal/peertest/node", pkg)
	}
	return node
}
