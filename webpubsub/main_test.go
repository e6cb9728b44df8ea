package webpubsub_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/webpubsub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a server with one target on /channels until the test ends.
func start(t testing.TB, cfg webpubsub.Config, more session.Config) (*webpubsub.Target, *session.Server, string) {
	t.Helper()
	target, err := webpubsub.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	more.Routes = target.Routes("/channels")
	srv, addr := wstest.Serve(t, more)
	return target, srv, addr
}

// client is a client that has read the first message.
type client struct {
	*wstest.Client
	id string // connectionId
}

// dial connects as a user, "" for nobody, and reads the first message.
func dial(t testing.TB, addr, user string) *client {
	t.Helper()
	c := &client{Client: wstest.DialWith(t, addr, "/channels?"+user, ws.Dialer{Protocols: []string{"other", webpubsub.Subprotocol}})}
	if got := c.Handshake.Protocol; got != webpubsub.Subprotocol {
		t.Fatalf("subprotocol %q has been agreed on, want %q", got, webpubsub.Subprotocol)
	}
	first := c.read()
	var m struct{ Type, Event, UserID, ConnectionID string }
	if err := json.Unmarshal([]byte(first), &m); err != nil || m.Type != "system" || m.Event != "connected" || m.UserID != user || m.ConnectionID == "" {
		t.Fatalf("the first message is %s, %v, want one that %q is connected", first, err, user)
	}
	if user == "" && strings.Contains(first, "userId") {
		t.Fatalf("the first message is %s, want no userId for nobody", first)
	}
	c.id = m.ConnectionID
	return c
}

func (c *client) send(text string) { c.Helper(); c.SendText(text) }

// read returns a text message, which must be JSON.
func (c *client) read() string {
	c.Helper()
	text := c.ReadText()
	if !json.Valid([]byte(text)) {
		c.Fatalf("read %.300q, want JSON", text)
	}
	return text
}

func (c *client) want(text string) { c.Helper(); c.WantText(text) }

// ask sends a request and expects the answer.
func (c *client) ask(request, answer string) {
	c.Helper()
	c.send(request)
	c.want(answer)
}

// refused sends a request with ackId 1 and expects an error of that name.
func (c *client) refused(request, name string) {
	c.Helper()
	c.send(request)
	var m struct {
		Type    string
		AckID   uint64
		Success bool
		Error   struct{ Name, Message string }
	}
	got := c.read()
	if err := json.Unmarshal([]byte(got), &m); err != nil || m.Type != "ack" || m.AckID != 1 || m.Success || m.Error.Name != name || m.Error.Message == "" {
		c.Fatalf("%.200s: answered with %s, want %s", request, got, name)
	}
}

// quiet shows that nothing has come that was to come by now.
func (c *client) quiet() { c.Helper(); c.ask(`{"type":"ping"}`, `{"type":"pong"}`) }

// declined expects the end of the session, after a message that says so.
func (c *client) declined(code session.StatusCode) {
	c.Helper()
	if got := c.read(); !strings.HasPrefix(got, `{"type":"system","event":"disconnected","message":"`) {
		c.Fatalf("read %s, want that we are disconnected", got)
	}
	c.AnswerClose(code)
}

func ok(id string) string { return `{"type":"ack","ackId":` + id + `,"success":true}` }
