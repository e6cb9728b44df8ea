package session

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"wsgateway/wsproto"
)

// routesOf returns routes for handshakes with these patterns.
func routesOf(patterns ...string) (list []Route) {
	for _, p := range patterns {
		list = append(list, Route{Path: p, Handler: HandlerFuncs{}})
	}
	return list
}

func compile(t *testing.T, patterns ...string) *patterns {
	t.Helper()
	p, err := newPatterns(routesOf(patterns...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// parsedHead returns the request of a head with this method, target and Host.
func parsedHead(method, target, host string) (*wsproto.Request, error) {
	r := new(wsproto.Request)
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", method, target, host)
	return r, wsproto.ParseRequest([]byte(head), &wsproto.DefaultHeadLimits, r)
}

// answer says in one line what find has found.
func answer(p *patterns, r *wsproto.Request) string {
	i, values, err := p.find(r)
	var refusal *wsproto.RequestError
	switch {
	case err == nil:
		return fmt.Sprint(i, " ", strings.Join(values, "|"))
	case errors.As(err, &refusal):
		return fmt.Sprint(refusal.Status)
	}
	return err.Error()
}

func TestPatternsFind(t *testing.T) {
	for _, g := range []struct {
		name     string
		patterns []string
		requests [][2]string // [METHOD ][http://HOST]TARGET, and the index of the route and the values of its wildcards, or the status
	}{
		{"literals", []string{"/chat", "/", "/a/{$}"}, [][2]string{
			{"/chat", "0 "}, {"/chat?x=1", "0 "}, {"/ch%61t", "0 "}, {"/chat/", "1 "}, {"/x/y", "1 "},
			{"/a/", "2 "}, {"/a", "404"}, {"/a/b", "1 "},
		}},
		{"literals alone", []string{"/chat", "/a%2Fb", "/r%C3%A4ume", "/x/{$}"}, [][2]string{
			{"/chat", "0 "}, {"/%63hat", "0 "}, {"/Chat", "404"}, {"/chat/", "404"}, {"/", "404"}, {"/a/b", "404"},
			{"/a%2Fb", "1 "}, {"/a%2fb", "1 "}, {"/r%C3%A4ume", "2 "}, {"/r%c3%a4ume", "2 "}, {"/x/", "3 "}, {"/x", "404"},
		}},
		{"wildcards", []string{"/room/{id}", "/room/{id}/log", "/room/lobby", "/files/{rest...}", "/pair/{a}/to/{b}"}, [][2]string{
			{"/room/7", "0 7"}, {"/room/lobby", "2 "}, {"/room/lobby/log", "1 lobby"}, {"/room/", "404"}, {"/room", "404"},
			{"/room/a%2Fb", "0 a/b"}, {"/room/%F0%9F%98%80", "0 😀"}, {"/room/a+b", "0 a+b"}, {"/room/%", "400"}, {"/room/%2", "400"},
			{"/files/", "3 "}, {"/files/a/b%20c/", "3 a/b c/"}, {"/files", "404"}, {"/pair/x/to/y", "4 x|y"},
		}},
		{"unclean paths", []string{"/a/b", "/{x...}"}, [][2]string{
			{"/a//b", "404"}, {"//a/b", "404"}, {"/a/./b", "404"}, {"/x/../a/b", "404"}, {"/a/b/..", "404"},
			{"/a/%2e%2e/b", "1 a/../b"}, {"/a/b", "0 "},
		}},
		{"hosts", []string{"example.com/chat", "/chat", "[::1]/chat", "127.0.0.1/{x}", "Example.ORG/"}, [][2]string{
			{"http://example.com/chat", "0 "}, {"http://EXAMPLE.com:8080/chat", "0 "}, {"http://example.com:/chat", "0 "},
			{"http://example.net/chat", "1 "}, {"http://www.example.com/chat", "1 "}, {"http://[::1]/chat", "2 "},
			{"http://[::1]:80/chat", "2 "}, {"http://[0:0:0:0:0:0:0:1]/chat", "2 "}, {"http://[::2]/chat", "1 "},
			{"http://127.0.0.1:9/chat", "3 chat"}, {"http://example.org/x", "4 "}, {"http://example.com/x", "404"},
		}},
		{"methods", []string{"GET /a", "/b", "GET /c/{x}"}, [][2]string{
			{"/a", "0 "}, {"HEAD /a", "0 "}, {"POST /a", "405"}, {"OPTIONS /a", "405"}, {"POST /b", "1 "}, {"HEAD /b", "1 "},
			{"OPTIONS /b", "1 "}, {"DELETE /c/1", "405"}, {"/c/1", "2 1"}, {"POST /x", "404"}, {"CONNECT /b", "1 "}, {"CONNECT //b", "404"},
		}},
	} {
		t.Run(strings.ReplaceAll(g.name, " ", "_"), func(t *testing.T) {
			p := compile(t, g.patterns...)
			for _, r := range g.requests {
				method, target := "GET", r[0]
				if m, rest, ok := strings.Cut(target, " "); ok {
					method, target = m, rest
				}
				req, err := parsedHead(method, target, "default.test")
				if err != nil {
					t.Fatal(err)
				}
				if got := answer(p, req); got != r[1] {
					t.Errorf("%s with the patterns %q: got %q, want %q", r[0], g.patterns, got, r[1])
				}
			}
		})
	}
}

func TestPatternsRefused(t *testing.T) {
	for _, c := range []struct {
		patterns string // separated by commas
		want     string // in the error
	}{
		{"", "has no path"},
		{"chat", "a / is missing"},
		{"example.com", "a / is missing"},
		{"ws://example.com/chat", "begins with a scheme"},
		{"example.com:80/chat", "ports are not compared"},
		{"::1/chat", "ports are not compared"},
		{"[::1]:80/chat", "ports are not compared"},
		{"[::g]/chat", "is not an IPv6 address"},
		{"*.example.com/", "hosts have no wildcards"},
		{"{x}.example.com/", "hosts have no wildcards"},
		{"bücher.example/", "xn--"},
		{"POST /chat", `method "POST" is not possible`},
		{"get /chat", `method "get" is not possible`},
		{"/a b", "%20"},
		{"GET /a b", "%20"},
		{"/chat/*", `write "/chat/" or "/chat/{rest...}"`},
		{"/*", `write "/" or "/{rest...}"`},
		{"/*/x", "{name} for one segment"},
		{"/chat?room=1", "query"},
		{"/chat#x", "no # in its path"},
		{"/a//b", `write "/a/b"`},
		{"/a/../b/", `write "/b/"`},
		{"/{x", "must end with '}'"},
		{"/a{x}", "must start with '{'"},
		{"/{}", "empty wildcard"},
		{"/{x-y}", `bad wildcard name "x-y"`},
		{"/{x}/{x}", `duplicate wildcard name "x"`},
		{"/{x...}/a", "{...} wildcard not at end"},
		{"/{$}/a", "{$} not at end"},
		{"/chat,/chat", "given twice"},
		{"EXAMPLE.com/a,example.com/a", "given twice"},
		{"/{x},/{y}", `conflicts with pattern "/{x}": /{y} matches the same requests as /{x}`},
		{"/a/{x},/{y}/b", `But neither is more specific than the other.`},
		{"GET /{x},/a", "conflicts with"},
		{"/a,GET /a", `it can never match: every handshake goes to "GET /a"`},
		{"GET /{x},/{y}", `it can never match: every handshake goes to "GET /{x}"`},
	} {
		t.Run(c.patterns, func(t *testing.T) {
			_, err := newPatterns(routesOf(strings.Split(c.patterns, ",")...))
			if err == nil {
				t.Fatalf("patterns %q are accepted, want an error with %q", c.patterns, c.want)
			}
			if s := err.Error(); !strings.Contains(s, c.want) || !strings.HasPrefix(s, "session: route pattern ") || strings.Contains(s, ".go:") {
				t.Errorf("patterns %q: error %q, want one with %q, the pattern, and without our source", c.patterns, s, c.want)
			}
		})
	}
}

func TestPatternsAllErrors(t *testing.T) {
	_, err := newPatterns(routesOf("/x*", "/ok", "/{", "/ok"))
	if err == nil {
		t.Fatal("accepted")
	}
	if n := len(strings.Split(err.Error(), "\n")); n != 3 {
		t.Errorf("error has %d lines, want one for each of 3 faults: %v", n, err)
	}
}

// A pattern for handshakes and one with GET may stand together where the first answers other
// methods.
func TestPatternsGETBesidePlain(t *testing.T) {
	routes := routesOf("/a", "GET /a")
	routes[0].HTTP = func(*wsproto.Request) *wsproto.Response { return nil }
	if _, err := newPatterns(routes); err != nil {
		t.Error(err)
	}
}

func TestPatternsAllocateNothing(t *testing.T) {
	p := compile(t, "/chat", "/news", "/room/{id}")
	literal := compile(t, "/chat", "/news")
	chat, _ := parsedHead("GET", "/chat?token=x", "example.com")
	missing, _ := parsedHead("GET", "/missing", "example.com")
	for name, f := range map[string]func(){
		"a literal":                     func() { _, _, _ = p.find(chat) },
		"a literal among literals":      func() { _, _, _ = literal.find(chat) },
		"what is not there, among them": func() { _, _, _ = literal.find(missing) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("finding %s allocates %v times, want 0", name, n)
		}
	}
}

// What find returns must live on when the head is overwritten by the next request.
func TestPatternsValuesAreCopies(t *testing.T) {
	head := []byte("GET /room/abc HTTP/1.1\r\nHost: x\r\n\r\n")
	r := new(wsproto.Request)
	if err := wsproto.ParseRequest(head, &wsproto.DefaultHeadLimits, r); err != nil {
		t.Fatal(err)
	}
	_, values, err := compile(t, "/room/{id}").find(r)
	clear(head)
	if err != nil || !slices.Equal(values, []string{"abc"}) {
		t.Errorf("values %q, error %v, want abc", values, err)
	}
}

// patternsOf generates patterns that a ServeMux takes together, without duplicates.
func patternsOf(t *rapid.T) (list []string, mux *http.ServeMux) {
	mux = http.NewServeMux()
	segment := rapid.SampledFrom([]string{"a", "b", "{x}", "a", "%61", "a%2Fb", "ä", "..."})
	last := rapid.SampledFrom([]string{"a", "", "{$}", "{rest...}", "{y}", "b"})
	prefix := rapid.SampledFrom([]string{"", "", "", "", "h.test", "GET ", "GET h.test", "[::1]"})
	literal := rapid.Bool().Draw(t, "literal")
	for range rapid.IntRange(1, 6).Draw(t, "patterns") {
		var b strings.Builder
		if literal {
			b.WriteString(rapid.SampledFrom([]string{"/a", "/a/b", "/b/a", "/b", "/a/{$}", "/b/a/{$}"}).Draw(t, "path"))
		} else {
			b.WriteString(prefix.Draw(t, "prefix"))
			for range rapid.IntRange(0, 3).Draw(t, "segments") {
				b.WriteString("/" + segment.Draw(t, "segment"))
			}
			b.WriteString("/" + last.Draw(t, "last"))
		}
		if p := b.String(); !slices.Contains(list, p) && handled(mux, p, len(list)) {
			list = append(list, p)
		}
	}
	return list, mux
}

// handled registers a pattern and reports whether the mux takes it.
func handled(mux *http.ServeMux, pattern string, i int) (ok bool) {
	defer func() { ok = recover() == nil }()
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		var values []string
		for _, name := range []string{"x", "y", "rest"} {
			if strings.Contains(pattern, "{"+name) {
				values = append(values, r.PathValue(name))
			}
		}
		_, _ = fmt.Fprint(w, i, " ", strings.Join(values, "|"))
	})
	return true
}

// muxAnswer is what answer is for a ServeMux of net/http, of the same bytes.
func muxAnswer(mux *http.ServeMux, method, target, host string) (string, error) {
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", method, target, host)
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil {
		return "", err
	}
	r.Host = strings.ToLower(r.Host)
	if strings.HasPrefix(r.Host, "[") {
		r.Host = r.Host[:strings.Index(r.Host, "]")+1] // the mux knows [::1] as ::1 where there is a port
	}
	w := &plainRecorder{lookup: lookup{status: http.StatusOK}}
	mux.ServeHTTP(w, r)
	switch {
	case w.status == http.StatusOK:
		return w.body.String(), nil
	case w.status/100 == 3:
		return "404", nil // we do not redirect
	}
	return fmt.Sprint(w.status), nil
}

type plainRecorder struct {
	lookup
	body strings.Builder
}

func (r *plainRecorder) Write(p []byte) (int, error) { return r.body.Write(p) }

func TestPatternsAsServeMux(t *testing.T) { rapid.Check(t, likeServeMux) }

func FuzzPatterns(f *testing.F) { f.Fuzz(rapid.MakeFuzz(likeServeMux)) }

// likeServeMux checks that find and net/http agree about requests for random patterns.
func likeServeMux(t *rapid.T) {
	list, mux := patternsOf(t)
	routes := routesOf(list...)
	for i := range routes {
		routes[i].HTTP = func(*wsproto.Request) *wsproto.Response { return nil }
	}
	p, err := newPatterns(routes)
	if len(list) == 0 {
		return
	}
	if err != nil {
		t.Fatalf("net/http takes the patterns %q, but: %v", list, err)
	}
	segment := rapid.SampledFrom([]string{
		"a", "b", "%61", "%2F", "a%2Fb", "a%2fb", "..", ".", "", "%2e%2e", "%C3%A4", "c", "a:b", "a*", "%00", "%25", "a|b", "...", "%zz", "a;b=c",
	})
	for range 20 {
		target := ""
		for range rapid.IntRange(1, 4).Draw(t, "segments") {
			target += "/" + segment.Draw(t, "segment")
		}
		target += rapid.SampledFrom([]string{"", "", "/", "?q=/../", "//"}).Draw(t, "end")
		method := rapid.SampledFrom([]string{"GET", "GET", "HEAD", "POST", "OPTIONS"}).Draw(t, "method")
		host := rapid.SampledFrom([]string{"h.test", "H.Test:80", "x.test", "[::1]", "[::1]:80", "127.0.0.1:1"}).Draw(t, "host")
		want, err := muxAnswer(mux, method, target, host)
		if err != nil {
			want = "400"
		}
		r, err := parsedHead(method, target, host)
		if err != nil {
			continue // refused before it is routed
		}
		if got := answer(p, r); got != want {
			t.Fatalf("%s %s, Host %s, with the patterns %q: got %q, net/http says %q", method, target, host, list, got, want)
		}
	}
}

// A program that takes http.ServeMux back to the rules before Go 1.22 gets an error, and not routes
// that match something else.
func TestPatternsOldMux(t *testing.T) {
	if os.Getenv("GODEBUG") == "httpmuxgo121=1" {
		if _, err := NewServer(Config{Routes: routesOf("/chat")}); err == nil || !strings.Contains(err.Error(), "httpmuxgo121") {
			t.Errorf("error %v, want one that names httpmuxgo121", err)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestPatternsOldMux$")
	cmd.Env = append(os.Environ(), "GODEBUG=httpmuxgo121=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("with GODEBUG=httpmuxgo121=1: %v\n%s", err, out)
	}
}

func BenchmarkPatterns(b *testing.B) {
	routes := routesOf("/chat", "/room/{id}", "/files/{rest...}")
	p, err := newPatterns(routes)
	if err != nil {
		b.Fatal(err)
	}
	for _, target := range []string{"/chat", "/room/7", "/missing"} {
		r, _ := parsedHead("GET", target, "example.com")
		b.Run(target[1:4], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _, _ = p.find(r)
			}
		})
	}
}
