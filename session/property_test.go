package session_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"wsgateway/session"
	"wsgateway/wsproto"
)

// simClient is a client and what the model knows of it.
type simClient struct {
	*peerRecorder
	in    []string // channels, the last one joined first
	user  string
	want  []string // what it has to have received
	marks int
}

const maxIn = 3 // channels a simClient may be in

func (g *simClient) full() bool { return len(g.in) >= maxIn }

// model runs operations one after the other, on the server and on itself.
type model struct {
	*harness
	clients []*simClient // that are there
	count   int          // of messages published
}

var (
	channelNames = rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
	userNames    = rapid.SampledFrom([]string{"", "ann", "bob", "cyd"})
)

// Whatever is done, everybody receives exactly what a simple model says, in order, and the server tells
// of channels and users what the model does. Channels of more than 64 members are served differently from
// smaller ones, and are here too.
func TestPropertyModel(t *testing.T) {
	dir := propertyDir(t)
	for _, clients := range []int{3, 64, 66, 160} { // 64 is the most that are served at once
		t.Run(fmt.Sprint(clients, " clients"), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := &model{harness: newHarness(t, dir, session.Config{SessionChannels: maxIn})}
				for range clients {
					m.Open(t)
				}
				t.Repeat(rapid.StateMachineActions(m))
				m.Read(t)
			})
		})
	}
}

// Open is a new simClient.
func (m *model) Open(t *rapid.T) {
	m.clients = append(m.clients, &simClient{peerRecorder: m.harness.join(t)})
}

// some draws clients who sit together, or all.
func (m *model) some(t *rapid.T) []*simClient {
	if rapid.Bool().Draw(t, "all") {
		return m.clients
	}
	from := rapid.IntRange(0, len(m.clients)).Draw(t, "from")
	to := rapid.IntRange(from, len(m.clients)).Draw(t, "to")
	return m.clients[from:to]
}

func (m *model) one(t *rapid.T) *simClient {
	if len(m.clients) == 0 {
		t.Skip("nobody is there")
	}
	return m.clients[rapid.IntRange(0, len(m.clients)-1).Draw(t, "simClient")]
}

// Join has clients join a channel.
func (m *model) Join(t *rapid.T) {
	channel := channelNames.Draw(t, "channel")
	for _, g := range m.some(t) {
		var want error
		if !slices.Contains(g.in, channel) {
			if g.full() {
				want = session.ErrTooManyChannels
			} else {
				g.in = slices.Insert(g.in, 0, channel)
			}
		}
		if err := g.Join(channel); err != want {
			t.Fatalf("Join: %v, want %v", err, want)
		}
	}
}

// Leave has clients leave a channel.
func (m *model) Leave(t *rapid.T) {
	channel := channelNames.Draw(t, "channel")
	for _, g := range m.some(t) {
		g.in = slices.DeleteFunc(g.in, func(c string) bool { return c == channel })
		g.Leave(channel)
	}
}

// SetUser changes whose a session is.
func (m *model) SetUser(t *rapid.T) {
	g, user := m.one(t), userNames.Draw(t, "user")
	g.user = user
	if err := g.SetUser(user); err != nil {
		t.Fatalf("SetUser: %v", err)
	}
}

// Publish publishes to a channel, but for some.
func (m *model) Publish(t *rapid.T) {
	channel := channelNames.Draw(t, "channel")
	m.deliver(t, channel, func(g *simClient) bool { return slices.Contains(g.in, channel) },
		func(p *session.Prepared, except []session.Session) error {
			return second(m.srv.Publish(channel, p, except...))
		})
}

// SendUser sends to a user's sessions, but for some.
func (m *model) SendUser(t *rapid.T) {
	user := rapid.SampledFrom([]string{"ann", "bob", "cyd"}).Draw(t, "user")
	m.deliver(t, user, func(g *simClient) bool { return g.user == user },
		func(p *session.Prepared, except []session.Session) error {
			return second(m.srv.SendUser(user, p, except...))
		})
}

// SendAll sends to all sessions, but for some.
func (m *model) SendAll(t *rapid.T) {
	path := rapid.SampledFrom([]string{"", "/", "/other"}).Draw(t, "path")
	m.deliver(t, "all", func(*simClient) bool { return path != "/other" },
		func(p *session.Prepared, except []session.Session) error {
			return second(m.srv.SendAll(path, p, except...))
		})
}

// deliver publishes a message and notes who has to get it.
func (m *model) deliver(t *rapid.T, to string, member func(*simClient) bool, publish func(*session.Prepared, []session.Session) error) {
	var except []session.Session
	if rapid.Bool().Draw(t, "excluding") {
		for _, g := range m.some(t) {
			except = append(except, g.Session)
		}
		except = append(except, session.Session{})
	}
	m.count++
	text := fmt.Sprint(to, " ", m.count)
	for _, g := range m.clients {
		if member(g) && !slices.Contains(except, g.Session) {
			g.want = append(g.want, text)
		}
	}
	if err := publish(session.Prepare(wsproto.OpText, []byte(text)), except); err != nil {
		t.Fatal(err)
	}
	m.drained(t)
}

// Pause has clients read nothing for a while.
func (m *model) Pause(t *rapid.T) {
	for _, g := range m.some(t) {
		g.pause(true)
	}
}

// End ends a session in one of the ways there are.
func (m *model) End(t *rapid.T) {
	g := m.one(t)
	how := rapid.SampledFrom(slices.Sorted(maps.Keys(endings))).Draw(t, "how")
	if err := g.end(how); err != nil {
		t.Fatal(err)
	}
	m.clients = slices.DeleteFunc(m.clients, func(o *simClient) bool { return o == g })
	got := g.rest()
	if lossy[how] {
		g.want = g.want[:min(len(got), len(g.want))]
	}
	if !slices.Equal(got, g.want) {
		t.Fatalf("after %s: received %q, want %q", how, got, g.want)
	}
}

// Read has all clients read, and compares.
func (m *model) Read(t *rapid.T) {
	for _, g := range m.clients {
		g.marks++
		if err := g.mark(); err != nil {
			t.Fatal(err)
		}
	}
	for i, g := range m.clients {
		if got, ok := g.meets(g.marks); !ok || !slices.Equal(got, g.want) {
			t.Fatalf("simClient %d received %q, want %q", i, got, g.want)
		}
	}
}

// Check compares what the server tells with the model, after every operation.
func (m *model) Check(t *rapid.T) {
	want := make(map[string]int)
	users := map[string]int{"ann": 0, "bob": 0, "cyd": 0}
	for i, g := range m.clients {
		for _, c := range g.in {
			want[c]++
		}
		users[g.user]++
		if got := g.Channels(); !slices.Equal(got, g.in) || g.User() != g.user {
			t.Fatalf("simClient %d is in %q, a session of %q; want %q, %q", i, got, g.User(), g.in, g.user)
		}
	}
	got := maps.Collect(m.srv.Channels())
	if !maps.Equal(got, want) {
		t.Fatalf("channels %v, want %v", got, want)
	}
	for _, channel := range []string{"a", "b", "c", "d", "e"} {
		if n := m.srv.MemberCount(channel); n != want[channel] {
			t.Fatalf("%d members of %s, want %d", n, channel, want[channel])
		}
		m.same(t, channel, slices.Collect(m.srv.Members(channel)), func(g *simClient) bool { return slices.Contains(g.in, channel) })
	}
	delete(users, "")
	for user := range users {
		m.same(t, user, slices.Collect(m.srv.UserSessions(user)), func(g *simClient) bool { return g.user == user })
	}
	m.same(t, "the server", slices.Collect(m.srv.Sessions()), func(*simClient) bool { return true })
}

// same compares sessions, in any order, with the clients that are meant.
func (m *model) same(t *rapid.T, what string, got []session.Session, member func(*simClient) bool) {
	var want []session.Session
	for _, g := range m.clients {
		if member(g) {
			want = append(want, g.Session)
		}
	}
	if !sameSessions(got, want) {
		t.Fatalf("%s has %d sessions, want %d, or others", what, len(got), len(want))
	}
}
