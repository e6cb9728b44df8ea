package peertest

import (
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"
)

//go:embed node/checks.js
var checksScript string

// page runs the checks in the browser and posts the results to where it came
// from.
const page = `<!doctype html>
<meta charset="utf-8">
<title>checks</title>
<link rel="icon" href="data:,">
<script>%s</script>
<script>
const lines = [];
runChecks(WebSocket, %q, %t, %q, {}, (line) => lines.push(line))
  .catch((err) => lines.push('failed to run: ' + err))
  .then(() => fetch('/results', {method: 'POST', body: lines.join('\n')}));
</script>
`

func TestChromium(t *testing.T) {
	chromium := tool(t, "chromium")
	eachGateway(t, func(t *testing.T, g *gateway, deflate bool) {
		testChromium(t, chromium, "ws://"+g.addr, "", deflate)
	})
}

// testChromium runs the checks in a page. ordinary is the URL of an ordinary page of the server, "" for none.
func testChromium(t *testing.T, chromium, url, ordinary string, deflate bool) {
	results := make(chan []byte, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, page, checksScript, url, deflate, ordinary)
	})
	mux.HandleFunc("POST /results", func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		results <- b
	})
	site := httptest.NewServer(mux)
	defer site.Close()

	browser := startProcess(t, exec.Command(chromium, chromiumArgs(browserProfile(t), site.URL+"/")...))
	select {
	case b := <-results:
		reportChecks(t, string(b))
	case <-browser.exited:
		t.Fatal(browser.running())
	case <-time.After(2 * time.Minute):
		t.Fatal("no results from the page")
	}
}

// chromiumArgs are those of a browser that shows a page until it is killed, and talks to loopback only.
func chromiumArgs(profile, page string) []string {
	return []string{
		"--headless",
		"--no-sandbox", // it refuses to run as root otherwise; the pages are ours
		"--disable-gpu",
		"--disable-quic",
		"--disable-dev-shm-usage", // containers give /dev/shm 64 MB
		"--no-first-run",
		"--disable-background-networking",
		"--disable-component-update",
		"--disable-default-apps",
		"--disable-sync",
		"--no-proxy-server",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
		"--user-data-dir=" + profile,
		// It says which one in a file of its profile. Without it a headless browser prints nothing and
		// leaves once the page has loaded.
		"--remote-debugging-port=0",
		page,
	}
}

// browserProfile returns an empty directory. The browser may still write to it
// while it is killed, so its removal is not an error of the test.
func browserProfile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratchDir, "chromium-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
