package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
)

func TestMain(m *testing.M) {
	// net/http waits for half a second before it closes a connection with a body that was too
	// large.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// start runs the site until the test ends, and checks that nobody is left in it.
func start(t *testing.T) (*http.Server, *session.Server, string) {
	t.Helper()
	site, live, err := newSite(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: site}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		srv.Close()
		if err := waits.Receive(t, served, "the end of Serve"); err != http.ErrServerClosed {
			t.Errorf("Serve: %v, want %v", err, http.ErrServerClosed)
		}
		wstest.End(t, live)
		http.DefaultClient.CloseIdleConnections()
	})
	return srv, live, ln.Addr().String()
}

// next reads one event of a window.
func next(c *wstest.Client) (e event) {
	c.Helper()
	if err := json.Unmarshal([]byte(c.ReadText()), &e); err != nil {
		c.Fatal(err)
	}
	return e
}

// wantWindows reads how many windows are open.
func wantWindows(c *wstest.Client, want int) {
	c.Helper()
	if e := next(c); e.Windows != want || e.Note != nil {
		c.Fatalf("read %+v, want %d windows", e, want)
	}
}

// post posts a note. The body is sent as it is.
func post(t *testing.T, addr, origin, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequest("POST", "http://"+addr+"/api/notes", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestNotes(t *testing.T) {
	_, _, addr := start(t)
	one := wstest.Dial(t, addr, "/live")
	wantWindows(one, 1)
	two := wstest.Dial(t, addr, "/live")
	wantWindows(two, 2)
	wantWindows(one, 2)

	status, text := post(t, addr, "", `{"text": " hello, wörld\n"}`)
	var answer posted
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 201 || answer.Reached != 2 {
		t.Fatalf("status %d, %s, %v, want 201 and 2 windows reached", status, text, err)
	}
	for _, c := range []*wstest.Client{one, two} {
		if e := next(c); e.Note == nil || e.Note.ID != 1 || e.Note.Text != "hello, wörld" {
			t.Errorf("read %+v, want the note", e)
		}
	}
	two.Leave()
	wantWindows(one, 1)

	// Somebody who comes later finds the note in the list.
	var notes []note
	status, text = wstest.Get(t, "http://"+addr+"/api/notes")
	if err := json.Unmarshal([]byte(text), &notes); err != nil || status != 200 || len(notes) != 1 || notes[0].Text != "hello, wörld" {
		t.Errorf("the list is %d %s, %v", status, text, err)
	}
}

// What is no note is refused, and told to nobody.
func TestRefusedNotes(t *testing.T) {
	_, _, addr := start(t)
	c := wstest.Dial(t, addr, "/live")
	wantWindows(c, 1)
	for _, tt := range []struct {
		origin, body string
		want         int
	}{
		{"", "", 400},
		{"", "hello", 400},
		{"", `{"text": ""}`, 400},
		{"", `{"text": " \n"}`, 400},
		{"", fmt.Sprintf(`{"text": %q}`, strings.Repeat("x", maxText+1)), 400},
		{"", fmt.Sprintf(`{"text": %q}`, strings.Repeat("x", 10_000)), 400},
		{"http://evil.example", `{"text": "from elsewhere"}`, 403},
	} {
		if status, answer := post(t, addr, tt.origin, tt.body); status != tt.want {
			t.Errorf("%.50s from %q: %d %s, want %d", tt.body, tt.origin, status, answer, tt.want)
		}
	}
	post(t, addr, "http://"+addr, `{"text": "the first one"}`)
	if e := next(c); e.Note == nil || e.Note.ID != 1 {
		t.Errorf("read %+v, want the first note", e)
	}
}

// The list is bounded, and has the newest notes.
func TestKeptNotes(t *testing.T) {
	_, _, addr := start(t)
	for i := range maxNotes + 3 {
		if status, answer := post(t, addr, "", fmt.Sprintf(`{"text": "note %d"}`, i+1)); status != 201 {
			t.Fatalf("note %d: %d %s", i+1, status, answer)
		}
	}
	var notes []note
	_, text := wstest.Get(t, "http://"+addr+"/api/notes")
	if err := json.Unmarshal([]byte(text), &notes); err != nil {
		t.Fatal(err)
	}
	if len(notes) != maxNotes || notes[0].ID != 4 || notes[maxNotes-1].Text != fmt.Sprint("note ", maxNotes+3) {
		t.Errorf("%d notes from %d on, want %d from 4 on", len(notes), notes[0].ID, maxNotes)
	}
}

// One port has all of it: the page, the API and WebSocket, each at its place.
func TestOnePort(t *testing.T) {
	_, _, addr := start(t)
	for path, want := range map[string]int{"/": 200, "/api/notes": 200, "/live": 426, "/other": 404} {
		if status, body := wstest.Get(t, "http://"+addr+path); status != want {
			t.Errorf("%s: %d %.50q, want %d", path, status, body, want)
		}
	}
	if _, body := wstest.Get(t, "http://"+addr+"/"); body != string(page) {
		t.Errorf("/ is %.50q, want the page", body)
	}
	for origin, want := range map[string]int{"": 101, "http://" + addr: 101, "http://evil.example": 403} {
		if status := wstest.Status(t, addr, "/live", wstest.From(origin)); status != want {
			t.Errorf("WebSocket from %q: %d, want %d", origin, status, want)
		}
	}
	for _, path := range []string{"/", "/api/notes"} {
		if status := wstest.Status(t, addr, path, wstest.From("")); status != 200 {
			t.Errorf("an upgrade of %s: %d, want 200", path, status)
		}
	}
}

// Both servers end: windows are told, and nothing more is accepted.
func TestShutdown(t *testing.T) {
	srv, live, addr := start(t)
	c := wstest.Dial(t, addr, "/live")
	wantWindows(c, 1)
	done := make(chan error, 1)
	go func() { done <- shutdown(srv, live) }()
	c.AnswerClose(1001)
	if err := waits.Receive(t, done, "the end of shutdown"); err != nil {
		t.Errorf("shutdown: %v, want nil", err)
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("it still accepts connections")
	}
}

// A request that is under way does not use up the time that windows have for their end.
func TestShutdownWithUnfinishedRequest(t *testing.T) {
	srv, live, addr := start(t)
	window := wstest.Dial(t, addr, "/live")
	wantWindows(window, 1)
	poster := wstest.Connect(t, addr)
	const note = `{"text":"late"}`
	fmt.Fprintf(poster, "POST /api/notes HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", addr, len(note))
	in := bufio.NewReader(poster)
	if line, err := in.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 100 ") { // its handler reads
		t.Fatalf("read %q, %v, want 100 Continue", line, err)
	}
	down := make(chan error, 1)
	go func() { down <- shutdown(srv, live) }()
	window.AnswerClose(session.StatusGoingAway)
	fmt.Fprint(poster, note)
	if err := waits.Receive(t, down, "the end of shutdown"); err != nil {
		t.Errorf("shutdown: %v, want nil", err)
	}
	poster.Close()
}
