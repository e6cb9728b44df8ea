package peertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wsgateway/internal/waits"
)

// browser is a Chromium whose pages a test drives through its DevTools protocol.
type browser struct {
	*process
	addr string // of the protocol
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	profile := browserProfile(t)
	b := &browser{process: startProcess(t, exec.Command(tool(t, "chromium"), chromiumArgs(profile, "about:blank")...))}
	waits.Succeeds(t, time.Minute, "browser ready", func() error {
		if err := b.running(); err != nil {
			t.Fatal(err)
		}
		p, err := os.ReadFile(filepath.Join(profile, "DevToolsActivePort"))
		if err != nil {
			return err
		}
		port, _, ok := strings.Cut(string(p), "\n")
		if !ok {
			return errors.New("the file is not complete")
		}
		b.addr = "127.0.0.1:" + port
		return nil
	})
	return b
}

// tab is a page of a browser.
type tab struct {
	t    *testing.T
	conn *client
	id   int // of the last command
}

// open opens a page in a tab of its own.
func (b *browser) open(t *testing.T, page string) *tab {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+b.addr+"/json/new?about:blank", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var target struct {
		WebSocketDebuggerURL string `json:"webSocketDebuggerUrl"`
	}
	if err := json.NewDecoder(res.Body).Decode(&target); err != nil {
		t.Fatalf("%s: %v", res.Status, err)
	}
	u, err := url.Parse(target.WebSocketDebuggerURL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dial(b.addr, u.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p := &tab{t: t, conn: conn}
	// The first document is complete too, and its own loading may abort the other one's.
	waits.Succeeds(t, waits.Patience, "the page is shown", func() error {
		var at string
		p.eval("location.href + ' ' + document.readyState", &at)
		if !strings.HasPrefix(at, "about:blank ") {
			if strings.HasSuffix(at, " complete") {
				return nil
			}
			return errors.New(at)
		}
		var result struct{ ErrorText string }
		p.do("Page.navigate", map[string]any{"url": page}, &result)
		return fmt.Errorf("%s: navigating: %q", at, result.ErrorText)
	})
	return p
}

// do sends a command and decodes its result.
func (p *tab) do(method string, params map[string]any, result any) {
	p.t.Helper()
	p.id++
	b, err := json.Marshal(map[string]any{"id": p.id, "method": method, "params": params})
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.conn.send(opText, b); err != nil {
		p.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		_, b, err := p.conn.readMessage(deadline)
		if err != nil {
			p.t.Fatalf("%s: %v", method, err)
		}
		var answer struct {
			ID     int
			Error  *struct{ Message string }
			Result json.RawMessage
		}
		if err := json.Unmarshal(b, &answer); err != nil {
			p.t.Fatalf("%s: %v", method, err)
		}
		if answer.ID != p.id {
			continue // an event
		}
		if answer.Error != nil {
			p.t.Fatalf("%s: %s", method, answer.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(answer.Result, result); err != nil {
				p.t.Fatalf("%s: %v", method, err)
			}
		}
		return
	}
}

// eval evaluates a script in the page, waits for its promise if it is one, and decodes its value
// into result.
func (p *tab) eval(script string, result any) {
	p.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	p.do("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}, &answer)
	if e := answer.ExceptionDetails; e != nil {
		p.t.Fatalf("%s: %s %s", script, e.Text, e.Exception.Description)
	}
	if result != nil {
		if err := json.Unmarshal(answer.Result.Value, result); err != nil {
			p.t.Fatalf("%s: %v: %s", script, err, answer.Result.Value)
		}
	}
}

// await polls until an expression is true. seen is another one, which tells what went wrong.
func (p *tab) await(expression, seen string) {
	p.t.Helper()
	waits.Succeeds(p.t, waits.Patience, expression, func() error {
		var ok bool
		if p.eval("Boolean(("+expression+"))", &ok); ok {
			return nil
		}
		var s string
		p.eval("String("+seen+")", &s)
		return fmt.Errorf("%s is %q", seen, s)
	})
}

// write puts text into a field as a keyboard would, and presses Enter.
func (p *tab) write(field, text string) {
	p.t.Helper()
	p.do("Page.bringToFront", nil, nil)
	p.eval(fmt.Sprintf("void (document.querySelector(%q).value = '', document.querySelector(%q).focus())", field, field), nil)
	p.do("Input.insertText", map[string]any{"text": text}, nil)
	key := map[string]any{"type": "keyDown", "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
	p.do("Input.dispatchKeyEvent", key, nil)
	key["type"] = "keyUp"
	p.do("Input.dispatchKeyEvent", key, nil)
}
