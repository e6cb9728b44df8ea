package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// onLookup is called before a name server is asked, and fails to be reached.
var onLookup atomic.Pointer[func()]

func TestMain(m *testing.M) {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		if f := onLookup.Load(); f != nil {
			(*f)()
		}
		return nil, errors.New("no name server")
	}}
	goleak.VerifyTestMain(m, signalGoroutines...)
}

// signalGoroutines run for ever once somebody has waited for a signal.
var signalGoroutines = []goleak.Option{
	goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop"),
}

// One clear line and exit status 2, for whatever is wrong with the command line.
func TestUsageErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"unknown flag":       {[]string{"-nope"}, "-nope"},
		"argument":           {[]string{"serve"}, `"serve"`},
		"bad duration":       {[]string{"-ping-interval", "27"}, "ping-interval"},
		"negative":           {[]string{"-max-conns", "-1"}, "-max-conns"},
		"zero":               {[]string{"-max-message", "0"}, "-max-message"},
		"bad level":          {[]string{"-log-level", "loud"}, "log-level"},
		"bad type":           {[]string{"-only", "ping"}, "-only"},
		"bad channels-open":  {[]string{"-channels-open=maybe"}, "-channels-open"},
		"bad origin":         {[]string{"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-origin", "example.com"}, "example.com"},
		"empty listen":       {[]string{"-listen", ""}, "listen"},
		"bad address":        {[]string{"-listen", "nowhere"}, "nowhere"},
		"port in use":        {[]string{"-listen", taken.Addr().String(), "-admin", "127.0.0.1:0"}, taken.Addr().String()},
		"admin port in use":  {[]string{"-listen", "127.0.0.1:0", "-admin", taken.Addr().String()}, taken.Addr().String()},
		"over the fd limit":  {[]string{"-listen", "127.0.0.1:0", "-max-conns", "2000000000"}, "RLIMIT_NOFILE"},
		"no such unix place": {[]string{"-listen", "unix:/no/such/dir/s"}, "/no/such/dir/s"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(tt.args, &out, &errs); code != exitUsage {
				t.Errorf("exit status %d, want %d", code, exitUsage)
			}
			if line := errs.String(); strings.Count(line, "\n") != 1 || !strings.Contains(line, tt.want) || !strings.HasPrefix(line, "gateway: ") {
				t.Errorf("stderr is %q, want one line with %q", line, tt.want)
			}
		})
	}
}

// Values that are refused name the flag and say what to do. Nothing is started to find that out: so many
// workers or loops would take all the memory of the machine.
func TestRefusedValues(t *testing.T) {
	for _, tt := range []struct{ flag, value, want string }{
		{"admin", "", "empty, give host:port, such as 127.0.0.1:8081"},
		{"subprotocol", "a b", `"a b" is no token (RFC 9110 §5.6.2): give letters, digits and !#$%&'*+-.^_` + "`|~"},
		{"subprotocol", "a,b/c", `"b/c" is no token (RFC 9110 §5.6.2): give letters, digits and !#$%&'*+-.^_` + "`|~"},
		{"subprotocol", "ü", `"ü" is no token (RFC 9110 §5.6.2): give letters, digits and !#$%&'*+-.^_` + "`|~"},
		{"subprotocol", "a,b,a", `"a" stands twice, name it once`},
		{"subprotocol", manyNames(maxSubprotocols + 1), "256 names, must be at most 255"},
		{"queue-bytes", "2147483648", "2147483648 is too much, must be at most 2147483647"},
		{"queue-total-bytes", "2147483648", "2147483648 is too much, must be at most 2147483647"},
		{"inbound-total-bytes", "24575", "24575 is too little for the head of one request, must be at least 24576"},
		{"inbound-total-bytes", "0", "must be greater than 0"},
		{"workers", "-1", "must be greater than 0"},
		{"workers", "4097", "4097 is too much, must be at most 4096"},
		{"workers", "1073741824", "1073741824 is too much, must be at most 4096"},
		{"loops", "-1", "must be greater than 0"},
		{"loops", "1025", "1025 is too much, must be at most 1024"},
		{"loops", "1073741824", "1073741824 is too much, must be at most 1024"},
	} {
		args := []string{"-" + tt.flag, tt.value}
		want := "invalid value for flag -" + tt.flag + ": " + tt.want
		if _, err := parseFlags(args, io.Discard); err == nil || err.Error() != want {
			t.Errorf("-%s %.50s: %v, want %s", tt.flag, tt.value, err, want)
			continue // run might start
		}
		var out, errs bytes.Buffer
		if code := run(args, &out, &errs); code != exitUsage || errs.String() != "gateway: "+want+"\n" {
			t.Errorf("-%s %.50s: exit status %d, stderr %q", tt.flag, tt.value, code, errs.String())
		}
	}
	// The bounds themselves are taken. This only parses.
	for _, args := range [][]string{
		{"-workers", "4096", "-loops", "1024", "-inbound-total-bytes", "24576"},
		{"-workers", "0", "-loops", "0", "-subprotocol", "a,A"},
	} {
		if _, err := parseFlags(args, io.Discard); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// manyNames returns n of them.
func manyNames(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprint("p", i))
	}
	return strings.Join(list, ",")
}

// The largest values that the flags take are those that the packages below take, and the gateway starts
// with them.
func TestLargestValues(t *testing.T) {
	all := "!#$%&'*+-.^_`|~" + "0189AZaz"
	g, _, _ := startGateway(t, "-queue-bytes", fmt.Sprint(maxQueueBytes), "-queue-total-bytes", fmt.Sprint(maxQueueBytes),
		"-subprotocol", all+","+manyNames(maxSubprotocols-1), "-workers", "2", "-loops", "1")
	if err := g.stop(t.Context()); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*options){
		"-queue-bytes":       func(o *options) { o.queueBytes = maxQueueBytes + 1 },
		"-queue-total-bytes": func(o *options) { o.queueTotal = maxQueueBytes + 1 },
		"-subprotocol":       func(o *options) { o.subprotocols = make([]string, maxSubprotocols+1) },
	} {
		o, err := parseFlags([]string{"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0"}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		change(o)
		if g, err := prepare(o, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: the bound could be higher", name)
			g.server.Close()
			g.admin.close()
		}
	}
}

// With the least -inbound-total-bytes every head gets the answer that is right for it; with a byte less
// there would not be room for one that is too long.
func TestLeastInboundBytes(t *testing.T) {
	for less, want := range map[int64]string{0: "HTTP/1.1 431 ", 1: "HTTP/1.1 503 "} {
		o, err := parseFlags([]string{"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-inbound-total-bytes", fmt.Sprint(minInbound)}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		o.inboundTotal -= less
		g := start(t, o, slog.New(slog.DiscardHandler))
		c, err := net.Dial("tcp", g.addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		head := channelsRequest
		for i := 0; len(head) < 8190; i++ {
			head += fmt.Sprintf("X-%d: %s\r\n", i, strings.Repeat("x", 1000))
		}
		fmt.Fprint(c, head[:8190])
		eventually(t, "the head waits for its end", func() bool { return g.server.Stats().InboundBytes == 8192 })
		fmt.Fprint(c, strings.Repeat("x", 100))
		if line, err := bufio.NewReader(c).ReadString('\n'); !strings.HasPrefix(line, want) {
			t.Errorf("%d bytes less: %q, %v, want %s", less, line, err, want)
		}
		c.Close()
		if err := g.stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A signal that comes while the address of a name is looked up, which may take long, ends the gateway then.
func TestSignalBeforeServing(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		asked, answer := make(chan struct{}, 1), make(chan struct{})
		wait := func() {
			select {
			case asked <- struct{}{}:
			default:
			}
			<-answer
		}
		onLookup.Store(&wait)
		log := &lockedBuffer{}
		status := make(chan int, 1)
		go func() {
			status <- run([]string{"-listen", "gateway.test:0", "-admin", "127.0.0.1:0"}, io.Discard, log)
		}()
		<-asked
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
		select {
		case code := <-status:
			if code != exitOK || !strings.Contains(log.String(), "stopped before anybody was served") {
				t.Errorf("%v: exit status %d\n%s", sig, code, log)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%v: the gateway does not end", sig)
		}
		close(answer)
		goleak.VerifyNone(t, signalGoroutines...) // the lookup has ended: the next one is another's
	}
}

func TestVersionAndHelp(t *testing.T) {
	for _, flag := range []string{"-version", "-help"} {
		var out, errs bytes.Buffer
		if code := run([]string{flag}, &out, &errs); code != exitOK || errs.Len() > 0 || !strings.Contains(out.String(), "gateway") {
			t.Errorf("%s: status %d, stdout %q, stderr %q", flag, code, out.String(), errs.String())
		}
	}
}

// lockedBuffer collects a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10 s until %s", what)
		}
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return resp.StatusCode, string(body)
}

// The start line says where to connect and how many may; health and metrics answer; SIGTERM
// drains: not ready at once, exit status 0 when the clients are gone.
func TestRun(t *testing.T) {
	log := &lockedBuffer{}
	status := make(chan int, 1)
	go func() {
		status <- run([]string{"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-max-conns", "50"}, io.Discard, log)
	}()
	eventually(t, "the start line is there", func() bool { return strings.Contains(log.String(), "gateway started") })
	field := func(name string) string {
		_, rest, _ := strings.Cut(log.String(), " "+name+"=")
		value, _, _ := strings.Cut(rest, " ")
		return strings.TrimSpace(value)
	}
	for _, name := range []string{"listen", "admin", "fd_limit", "max_connections", "workers"} {
		if field(name) == "" {
			t.Errorf("the start line has no %s: %s", name, log)
		}
	}
	if field("max_connections") != "50" {
		t.Errorf("max_connections=%s", field("max_connections"))
	}
	admin := "http://" + field("admin")
	for path, want := range map[string]string{"/livez": "ok\n", "/readyz": "ok\n", "/metrics": "wsgateway_connections_limit 50\n"} {
		if code, body := get(t, admin+path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d, %.200q", path, code, body)
		}
	}
	if code, _ := get(t, admin+"/"); code != http.StatusNotFound {
		t.Errorf("/: %d", code)
	}

	// A client that does not answer our Close frame keeps the gateway draining.
	c, err := net.Dial("tcp", field("listen"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	eventually(t, "the session is open", func() bool {
		_, body := get(t, admin+"/metrics")
		return strings.Contains(body, "wsgateway_sessions 1\n")
	})
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the gateway is not ready", func() bool { code, _ := get(t, admin+"/readyz"); return code == http.StatusServiceUnavailable })
	if code, _ := get(t, admin+"/livez"); code != http.StatusOK {
		t.Errorf("/livez while draining: %d", code)
	}
	answer, err := io.ReadAll(io.LimitReader(c, 4096))
	if err != nil && len(answer) == 0 {
		t.Fatal(err)
	}
	if !bytes.Contains(answer, []byte{0x88, 2, 0x03, 0xe9}) {
		t.Errorf("no Close frame with 1001 in %q", answer)
	}
	select {
	case code := <-status:
		if code != exitOK {
			t.Errorf("exit status %d\n%s", code, log)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the gateway does not end")
	}
}

func TestStartFailsCleanly(t *testing.T) {
	o, err := parseFlags([]string{"-listen", "127.0.0.1:0", "-listen", "unix:/no/such/dir/s"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := prepare(o, slog.New(slog.DiscardHandler)); err == nil {
		t.Fatal("prepared")
	}
}

// Everybody may use every group if nobody but this machine can connect, or if it is said so.
func TestOpenChannels(t *testing.T) {
	for _, tt := range []struct {
		args string
		want bool
	}{
		{"", false},
		{"-listen :8080", false},
		{"-listen 0.0.0.0:8080", false},
		{"-listen [::]:8080", false},
		{"-listen 192.0.2.1:8080", false},
		{"-listen nowhere", false},
		{"-listen 127.0.0.1:8080", true},
		{"-listen 127.9.9.9:8080", true},
		{"-listen [::1]:8080", true},
		{"-listen unix:/run/s", true},
		{"-listen unix:@s,127.0.0.1:8080", true},
		{"-listen 127.0.0.1:8080 -listen :8080", false},
		{"-listen unix:/run/s,192.0.2.1:8080", false},
		{"-channels-open", true},
		{"-listen 192.0.2.1:8080 -channels-open", true},
		{"-listen 127.0.0.1:8080 -channels-open=false", false},
	} {
		o, err := parseFlags(strings.Fields(tt.args), io.Discard)
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
		} else if got := o.openChannels(); got != tt.want {
			t.Errorf("%q: open %v, want %v", tt.args, got, tt.want)
		}
	}
}

// A client of /channels gets what the flag says; the log says so at the start, and the metrics count it.
func TestChannels(t *testing.T) {
	for arg, want := range map[string]struct{ log, answer, metric string }{
		"-channels-open=true":  {"channels are open", `"success":true}`, `wsgateway_channels_requests_total{type="publish"} 1`},
		"-channels-open=false": {"unless -channels-open is given", "-channels-open", `wsgateway_channels_refused_total{reason="forbidden"} 1`},
	} {
		g, addr, log := startGateway(t, "-only", "binary", "-subprotocol", "other", arg)
		if strings.Count(log.String(), "channels are") != 1 || !strings.Contains(log.String(), want.log) {
			t.Errorf("%s: the log does not say once %q:\n%s", arg, want.log, log)
		}
		if answer := publish(t, addr); !strings.Contains(answer, want.answer) {
			t.Errorf("%s: answered with %q, want %q", arg, answer, want.answer)
		}
		if _, body := get(t, "http://"+g.admin.addr+"/metrics"); !strings.Contains(body, want.metric+"\n") {
			t.Errorf("%s: no %s among the metrics", arg, want.metric)
		}
		if err := g.stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// Where /channels is open as nobody but this machine can reach it, the pages of others cannot use the
// browser of somebody here to reach it.
func TestChannelsOrigin(t *testing.T) {
	for _, tt := range []struct {
		args, origin, status, host string
	}{
		{"", "", "101 ", ""},
		{"", "http://localhost:8080", "101 ", ""}, // the server's own
		{"", "http://localhost:9090", "403 ", ""},
		{"", "https://evil.example", "403 ", ""},
		{"", "http://evil.example:8080", "403 ", "evil.example:8080"}, // resolved to this machine
		{"", "http://127.0.0.1:8080", "101 ", "127.0.0.1:8080"},
		{"", "http://[::1]:8080", "101 ", "[::1]:8080"},
		{"", "", "101 ", "any.name"},
		{"-channels-open", "https://evil.example", "101 ", ""},
		{"-origin https://good.example", "https://good.example", "101 ", ""},
		{"-origin https://good.example", "http://localhost:8080", "403 ", ""},
	} {
		g, addr, _ := startGateway(t, strings.Fields(tt.args)...)
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		head := strings.Replace(channelsRequest, "Host: x", "Host: "+cmp.Or(tt.host, "localhost:8080"), 1)
		if tt.origin != "" {
			head += "Origin: " + tt.origin + "\r\n"
		}
		fmt.Fprint(c, head+"\r\n")
		if line, err := bufio.NewReader(c).ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 "+tt.status) {
			t.Errorf("%q, Origin %q: %q, %v", tt.args, tt.origin, line, err)
		}
		c.Close()
		if err := g.stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// startGateway starts a gateway with flags, for ten clients. The caller stops it.
func startGateway(t *testing.T, args ...string) (g *gateway, addr string, log *lockedBuffer) {
	t.Helper()
	o, err := parseFlags(append([]string{"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-max-conns", "10"}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	log = &lockedBuffer{}
	g = start(t, o, slog.New(slog.NewTextHandler(log, nil)))
	_, addr, _ = strings.Cut(log.String(), " listen=")
	addr, _, _ = strings.Cut(addr, " ")
	return g, addr, log
}

// start starts a gateway with options. The caller stops it.
func start(t *testing.T, o *options, log *slog.Logger) *gateway {
	t.Helper()
	g, err := prepare(o, log)
	if err == nil {
		err = g.serve()
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

const channelsRequest = "GET /channels HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: other, json.webpubsub.azure.v1\r\n"

// publish sends one message to a group and returns all that comes before the answer's end.
func publish(t *testing.T, addr string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(c, channelsRequest+"\r\n")
	r := bufio.NewReader(c)
	answer := ""
	until := func(end string) {
		for !strings.Contains(answer, end) {
			b, err := r.ReadByte()
			if err != nil {
				t.Fatalf("%v behind %q", err, answer)
			}
			answer += string(b)
		}
	}
	until(`"connectionId"`)
	const message = `{"type":"sendToGroup","group":"g","data":1,"ackId":1}`
	_, _ = c.Write(append([]byte{0x81, byte(0x80 | len(message)), 0, 0, 0, 0}, message...)) // the mask is 0
	until(`"ackId":1,`)
	answer = answer[strings.Index(answer, `"ackId"`):]
	until("}")
	return answer
}
