package peertest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"wsgateway/internal/waits"
)

// muxServerBinary builds the server of internal/muxserver once for all tests.
var muxServerBinary = sync.OnceValues(func() (string, error) { return buildProgram("./internal/muxserver") })

// Every peer talks to a session.Server that is mounted in a mux of net/http, fetches an ordinary page
// of the same port, and closes with codes that both sides see.
func TestMux(t *testing.T) {
	for _, lib := range []string{"gorilla", "coder", "gws"} {
		t.Run(lib, func(t *testing.T) {
			client := goLibraries(t)
			eachMux(t, func(t *testing.T, url, page string, deflate bool) {
				args := []string{"-lib", lib, "-url", url + "/", "-page", page}
				if deflate {
					args = append(args, "-compress")
				}
				runPeer(t, client, args...)
			})
		})
	}
	for pkg, script := range map[string]string{"ws": "client.js", "undici": "undici.js"} {
		t.Run(pkg, func(t *testing.T) {
			node := nodeWith(t, pkg)
			eachMux(t, func(t *testing.T, url, page string, deflate bool) {
				runPeer(t, node, append([]string{filepath.Join("node", script), url, page}, deflateArg(deflate)...)...)
			})
		})
	}
	t.Run("websockets", func(t *testing.T) {
		python := pythonWithWebsockets(t)
		eachMux(t, func(t *testing.T, url, page string, deflate bool) {
			runPeer(t, python, append([]string{filepath.Join("python", "client.py"), url, page}, deflateArg(deflate)...)...)
		})
	})
	t.Run("chromium", func(t *testing.T) {
		chromium := tool(t, "chromium")
		eachMux(t, func(t *testing.T, url, page string, deflate bool) {
			testChromium(t, chromium, url, page, deflate)
		})
	})
}

// eachMux runs f against a mux without and one with permessage-deflate. It passes the URL that
// WebSocket paths are appended to, and that of an ordinary page. Then it compares what the server has
// seen of the closing handshakes.
func eachMux(t *testing.T, f func(t *testing.T, url, page string, deflate bool)) {
	t.Helper()
	bin, err := muxServerBinary()
	if err != nil {
		t.Fatal(err)
	}
	for name, deflate := range map[string]bool{"plain": false, "deflate": true} {
		t.Run(name, func(t *testing.T) {
			p := startProcess(t, exec.Command(bin, fmt.Sprintf("-compress=%t", deflate)))
			var addr string
			waits.Succeeds(t, waits.Patience, "the server logs its address", func() error {
				if err := p.running(); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(p.output.String(), "\n") {
					return errors.New("no line yet")
				}
				_, addr, _ = strings.Cut(strings.TrimSpace(p.output.String()), "listen=")
				return nil
			})
			f(t, "ws://"+addr+"/ws", "http://"+addr+"/page", deflate)
			for _, code := range []int{1000, 3000, 4999} {
				seesClose(t, "http://"+addr+"/closes", code)
			}
			p.signal(t, syscall.SIGTERM)
			if code := p.wait(t, waits.Patience); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
		})
	}
}

// seesClose waits until the server has seen a session end with a code and the reason of the checks.
func seesClose(t *testing.T, url string, code int) {
	t.Helper()
	want := fmt.Sprintf("%d \"enough – genug\" by client, clean true\n", code)
	client := &http.Client{Timeout: ioTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	waits.Succeeds(t, waits.Patience, "a clean close with "+fmt.Sprint(code), func() error {
		res, err := client.Get(url)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(b), want) {
			return fmt.Errorf("no %q in %v:\n%s", want, err, b)
		}
		return nil
	})
}
