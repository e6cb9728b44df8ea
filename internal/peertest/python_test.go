package peertest

import (
	"os/exec"
	"path/filepath"
	"testing"
)

func TestPythonClient(t *testing.T) {
	python := pythonWithWebsockets(t)
	eachGateway(t, func(t *testing.T, g *gateway, deflate bool) {
		runPeer(t, python, append([]string{filepath.Join("python", "client.py"), "ws://" + g.addr}, deflateArg(deflate)...)...)
	})
}

// pythonWithWebsockets prefers the first Python of the PATH, but takes Debian's when
// only that has the package.
func pythonWithWebsockets(t *testing.T) string {
	t.Helper()
	for _, python := range []string{tool(t, "python3"), "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import websockets.legacy.client").Run() == nil {
			return python
		}
	}
	missing(t, "the Python package websockets is not installed (Debian's python3-websockets)")
	return ""
}
