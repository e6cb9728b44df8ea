package peertest

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"wsgateway/internal/waits"
)

// The programs of examples/ are run as processes and looked at in a browser.

// example is one that is running.
type example struct {
	*process
	url string // that it prints
}

func startExample(t *testing.T, name string, args ...string) *example {
	t.Helper()
	// The go command has to know that this test depends on them, see touchSources.
	err := filepath.WalkDir(filepath.Join(moduleRoot, "examples"), func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			_, err = os.Stat(path)
		}
		return err
	})
	if err == nil {
		err = touchSources()
	}
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(scratchDir, "example-"+name)
	build := []string{"build", "-o", bin}
	if raceEnabled {
		build = append(build, "-race")
	}
	cmd := exec.Command("go", append(build, "./examples/"+name)...)
	cmd.Dir = moduleRoot
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(cmd.Args[1:], " "), err, b)
	}
	e := &example{process: startProcess(t, exec.Command(bin, append([]string{"-listen", "127.0.0.1:0"}, args...)...))}
	waits.Succeeds(t, waits.Patience, "the example prints its URL", func() error {
		if err := e.running(); err != nil {
			t.Fatal(err)
		}
		line, _, ok := strings.Cut(e.output.String(), "\n")
		for _, word := range strings.Fields(line) {
			if u, err := url.Parse(word); ok && err == nil && u.Host != "" {
				e.url = word
				return nil
			}
		}
		return fmt.Errorf("it printed %q", line)
	})
	return e
}

// terminate ends the example, which is to take its leave of every client.
func (e *example) terminate(t *testing.T) {
	t.Helper()
	e.signal(t, syscall.SIGTERM)
	if code := e.wait(t, waits.Patience); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestExampleEcho(t *testing.T) {
	b, e := startBrowser(t), startExample(t, "echo")
	// A page from this machine: Chromium does not let others connect to it without asking.
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!DOCTYPE html><title>echo</title>")
	}))
	defer site.Close()
	page := b.open(t, site.URL)
	var echoes []string
	page.eval(fmt.Sprintf(`new Promise((resolve, reject) => {
		const socket = new WebSocket(%q), echoes = [];
		window.ended = new Promise((done) => { socket.onclose = (event) => done(event.code); });
		window.ended.then((code) => reject(new Error('closed with ' + code)));
		socket.binaryType = 'arraybuffer';
		socket.onopen = () => {
			socket.send('hello, wörld');
			socket.send(new Uint8Array([0, 1, 255]));
		};
		socket.onmessage = (event) => {
			echoes.push(typeof event.data === 'string' ? event.data : new Uint8Array(event.data).join());
			if (echoes.length === 2) resolve(echoes);
		};
	})`, e.url), &echoes)
	if !slices.Equal(echoes, []string{"hello, wörld", "0,1,255"}) {
		t.Errorf("the echoes are %q", echoes)
	}
	e.terminate(t)
	var code int
	if page.eval("window.ended", &code); code != 1001 {
		t.Errorf("the page saw close code %d, want 1001", code)
	}
	for _, want := range []string{"msg=opened session=", "msg=closed session=", "code=1001 by=server clean=true"} {
		if !strings.Contains(e.output.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, e.output.String())
		}
	}
}

func TestExampleChat(t *testing.T) {
	b, e := startBrowser(t), startExample(t, "chat")
	const log = "document.querySelector('#log').innerText"
	has := func(page *tab, pattern string) {
		t.Helper()
		page.await("/"+pattern+"/m.test("+log+")", log)
	}
	ann := b.open(t, e.url+"gophers")
	has(ann, `^guest#\S{6} joins gophers, where 1 are now$`)
	ann.write("#name", "ann")
	has(ann, `^ann#\S{6} joins gophers`)
	bob := b.open(t, e.url+"gophers")
	has(bob, `^guest#\S{6} joins gophers, where 2 are now$`)
	has(ann, `^guest#\S{6} joins gophers, where 2 are now$`)

	ann.write("#text", "hello")
	has(bob, `^ann#\S{6} says: hello$`)
	has(ann, `^ann#\S{6} says: hello$`)
	const html = `<b>HTML</b> <img src=x onerror="document.title='run'">`
	bob.write("#text", html)
	for _, page := range []*tab{ann, bob} {
		has(page, `^guest#\S{6} says: <b>HTML<\/b> <img src=x onerror="document.title='run'">$`)
		var tags int
		if page.eval("document.querySelectorAll('#log b, #log img').length", &tags); tags != 0 {
			t.Errorf("the page has made %d elements of it", tags)
		}
		page.await("document.title === 'Chat'", "document.title")
	}
	bob.write("#room", "elsewhere")
	has(bob, `^guest#\S{6} joins elsewhere, where 1 are now$`)
	has(ann, `^guest#\S{6} leaves$`)
	bob.await("location.pathname === '/elsewhere'", "location.pathname")

	// One that writes too much is closed, is told why, and comes back when it wants to.
	const state = "document.querySelector('#state').innerText"
	ann.await(state+" === 'Connected'", state)
	bob.eval("for (let i = 0; i < 20; i++) socket.send('spam'); 0", nil)
	bob.await("/^Connection closed \\(1008\\): too many messages\\.\\s*Join again$/.test("+state+")", state)
	const disabled = "document.querySelector('#send').disabled"
	bob.await(disabled, disabled)
	bob.eval("document.querySelector('#state button').click()", nil)
	bob.await(state+" === 'Connected' && !"+disabled, state)

	e.terminate(t)
	for _, page := range []*tab{ann, bob} {
		has(page, `^Connection closed \(1001\): the server is restarting$`)
		page.await("/Trying again in \\d+ s/.test("+state+")", state)
	}
	ann.await("/^Connection closed \\(1006\\): no connection\\. Trying again in \\d+ s/.test("+state+")", state)
}

func TestExampleEmbedHTTP(t *testing.T) {
	b, e := startBrowser(t), startExample(t, "embed-http")
	const state, result = "document.querySelector('#state').textContent", "document.querySelector('#result').textContent"
	const notes = "[...document.querySelectorAll('#notes li')].map((li) => li.lastChild.textContent)"
	one := b.open(t, e.url)
	one.await(state+" === 'Connected, 1 window open'", state)
	two := b.open(t, e.url)
	for _, page := range []*tab{one, two} {
		page.await(state+" === 'Connected, 2 windows open'", state)
	}
	one.write("#text", "<b>hello</b>")
	one.await(result+" === 'Posted, and sent to 2 open windows.'", result)
	for _, page := range []*tab{one, two} {
		page.await("("+notes+").join() === '<b>hello</b>'", notes)
	}
	// A note from elsewhere appears too, and somebody who comes later sees all, the newest first.
	res, err := http.Post(e.url+"api/notes", "application/json", strings.NewReader(`{"text": "by curl"}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	two.await("("+notes+").join() === 'by curl,<b>hello</b>'", notes)
	late := b.open(t, e.url)
	late.await("("+notes+").join() === 'by curl,<b>hello</b>'", notes)

	e.terminate(t)
	one.await(`/^Connection lost \(\d+\)\. Trying again in \d+ s$/.test(`+state+")", state)
	one.write("#text", "too late")
	one.await(result+".startsWith('Not posted: ')", result)
}

func TestExampleTicker(t *testing.T) {
	b, e := startBrowser(t), startExample(t, "ticker")
	page := b.open(t, e.url)
	const prices = "[...document.querySelectorAll('#rows .price')].map((cell) => cell.textContent)"
	page.await(prices+`.filter((text) => /^\d+\.\d\d$/.test(text)).length === 8`, prices)
	// Each of them changes, and is drawn.
	page.eval("window.seen = {before: "+prices+", changed: new Set()}, 0", nil)
	page.await(prices+".forEach((text, i) => { if (text !== seen.before[i]) seen.changed.add(i); }), seen.changed.size === 8", "[...seen.changed]")
	page.await(`[...document.querySelectorAll('#rows canvas')].every((c) =>
		c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((x) => x > 0))`, prices)
	page.await("document.querySelector('#rate').textContent > 0", "document.querySelector('#rate').textContent")

	const watched = "document.querySelector('#watched').textContent"
	page.write("#search", "aba")
	page.await(watched+" === '9'", watched)
	const last = "document.querySelector('#rows tr:last-child').innerText"
	page.await(`/^ABA\s+\d+\.\d\d/.test(`+last+")", last)
	const problem = "document.querySelector('#error').textContent"
	page.write("#search", "nosuch")
	const found = "document.querySelector('#found').textContent"
	page.await(found+" === 'no symbol begins with NOSUCH'", found)
	page.await(problem+` === 'unknown symbol "NOSUCH"'`, problem)
	page.eval("document.querySelector('#count').value = 1000, document.querySelector('#first').click()", nil)
	page.await(prices+`.filter((text) => /^\d+\.\d\d$/.test(text)).length === 1000`, prices+".length")
	page.await(problem+" === ''", problem)

	// It connects again later: what it said before that is in seen.states.
	page.eval(`seen.states = [], void new MutationObserver(() =>
		seen.states.push(document.querySelector('#state').textContent)).observe(document.querySelector('#state'), {childList: true})`, nil)
	e.terminate(t)
	page.await(`/^closed \(1001\), trying again in \d+ s$/.test(seen.states[0])`, "seen.states")
	page.await("seen.states.includes('connecting')", "seen.states")
}
