package peertest

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// TestWebPubSubClient runs the client library of Azure Web PubSub against /channels: of a gateway that
// listens on loopback, which lets everybody use every group, and of one that listens on all
// addresses, which lets nobody.
func TestWebPubSubClient(t *testing.T) {
	node := tool(t, "node")
	if _, err := os.Stat(filepath.Join("node", "node_modules", "@azure", "web-pubsub-client", "package.json")); err != nil {
		missing(t, "the package @azure/web-pubsub-client is not installed: run npm ci in internal/peertest/node")
	}
	for name, args := range map[string][]string{"plain": nil, "deflate": {"-compress"}} {
		t.Run(name, func(t *testing.T) {
			open := startGateway(t, setup{args: args})
			closed := startGateway(t, setup{args: append([]string{"-listen", "0.0.0.0:0"}, args...)})
			runPeer(t, node, filepath.Join("node", "webpubsub.js"), "ws://"+open.addr, "ws://"+closed.addr, strconv.Itoa(closed.cmd.Process.Pid))
		})
	}
}
