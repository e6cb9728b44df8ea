package session_test

import (
	"flag"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
)

// TestMain checks that no goroutine is left. What servers without a logger log is shown with -v only.
func TestMain(m *testing.M) {
	flag.Parse()
	if !testing.Verbose() {
		slog.SetDefault(slog.New(slog.DiscardHandler))
	}
	goleak.VerifyTestMain(m)
}

// loopIf returns the mode of a route whose handler never blocks.
func loopIf(inline bool) session.Mode {
	if inline {
		return session.OnLoop
	}
	return session.NeverBlocks
}

func blockIf(blocking bool) session.Mode {
	if blocking {
		return session.MayBlock
	}
	return session.NeverBlocks
}

// ends records OnClose calls.
type ends chan session.CloseInfo

func (e ends) want(t *testing.T, want session.CloseInfo) {
	t.Helper()
	if got := waits.Receive(t, e, "the call of OnClose"); got != want {
		t.Fatalf("OnClose(%+v), want %+v", got, want)
	}
}

// second returns the error of a call that returns something else, too.
func second[T any](_ T, err error) error { return err }

// connect is wstest.Dial for many clients: each ends when its caller closes it, not with the test.
func connect(t testing.TB, addr, path string) *wstest.Client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, waits.Patience)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(waits.Patience)); err != nil {
		t.Fatal(err)
	}
	c, err := wstest.Handshake(t, conn, path, ws.Dialer{})
	if err != nil {
		t.Fatalf("opening handshake with %s%s: %v", addr, path, err)
	}
	return c
}

// dialUnix runs a server on a unix socket until the test ends, and returns a client of it.
func dialUnix(t testing.TB, cfg session.Config) *wstest.Client {
	t.Helper()
	_, addr := wstest.ServeOn(t, cfg, "unix:"+filepath.Join(t.TempDir(), "s"))
	return wstest.Dial(t, addr, "/")
}

// raw sends a request as it is, and returns the first line of the answer, once the server has closed.
func raw(t *testing.T, addr, request string) string {
	t.Helper()
	line, _, _ := strings.Cut(wstest.Answer(t, addr, request), "\r\n")
	return line
}
