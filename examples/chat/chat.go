package main

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"

	"wsgateway/session"
)

const (
	maxRoom = 200 // members of one room: each message is sent to all of them
	rate    = 5   // messages a second that one member may send for long
	burst   = 10  // and at once
)

// word is what a room or a person may be called.
var word = regexp.MustCompile(`^[\pL\pN_-]{1,24}$`)

// chat is the handler. Each room is a channel of the server, which holds its members.
type chat struct {
	srv *session.Server
	// members has the *member of each session.Session from OnOpen to OnClose. Session.Value
	// would do, but for OnClose: a session that has ended has no value any more.
	members sync.Map
}

// member is one session in a room. Only calls of its handler use it, and they come one at a time:
// it needs no lock.
type member struct {
	name, room string
	tokens     float64 // messages it may send now
	since      time.Time
}

// mayTalk takes one token, if there is one. They come back with time, up to burst.
func (m *member) mayTalk(now time.Time) bool {
	m.tokens = min(burst, m.tokens+rate*now.Sub(m.since).Seconds())
	m.since = now
	if m.tokens < 1 {
		return false
	}
	m.tokens--
	return true
}

// admit decides about a handshake: before a session exists, and with an HTTP status if it is not to.
func (c *chat) admit(u *session.Upgrade) error {
	if !sameOrigin(u.Request) {
		return session.ErrForbidden
	}
	room, ok := roomOf(u.Request)
	if !ok {
		return session.ErrNotFound
	}
	query, _ := url.ParseQuery(string(u.Request.RawQuery)) // what is malformed is left out
	name := query.Get("name")
	if name == "" {
		name = "guest"
	}
	if !word.MatchString(name) {
		return session.Refusal(400, "a name has up to 24 letters and digits")
	}
	if c.srv.MemberCount(room) >= maxRoom { // a few more if they come at the same moment
		return session.ErrOverloaded
	}
	u.Value = &member{name: name, room: room, tokens: burst, since: time.Now()}
	return nil
}

// sameOrigin reports whether a request comes from a page of this host, or from no page at all:
// browsers always send Origin. Without it any page on the web could talk here in the name of
// whoever looks at it, with his cookies and from within his network. Where the name of the
// service is known, Route.Origins does that, and holds against DNS rebinding too.
func sameOrigin(r *session.Request) bool {
	if r.Origin == nil {
		return true
	}
	_, host, ok := strings.Cut(string(r.Origin), "://")
	return ok && strings.EqualFold(host, string(r.Host))
}

// roomOf returns the room that a path stands for.
func roomOf(r *session.Request) (room string, ok bool) {
	if string(r.Path) == "/" {
		return "lobby", true
	}
	room, err := url.PathUnescape(string(r.Path[1:]))
	return room, err == nil && word.MatchString(room)
}

// OnOpen implements session.Handler.
func (c *chat) OnOpen(s session.Session, _ *session.Request) {
	m := s.Value().(*member) // of admit
	m.name += "#" + s.ID()[:6]
	c.members.Store(s, m)
	if err := s.Join(m.room); err != nil {
		return // it is over already, or the server is
	}
	_ = c.tell(m.room, "%s joins %s, where %d are now", m.name, m.room, c.srv.MemberCount(m.room))
}

// OnMessage implements session.Handler.
func (c *chat) OnMessage(s session.Session, msg session.Message) {
	v, _ := c.members.Load(s)
	m := v.(*member)
	if !m.mayTalk(time.Now()) {
		_ = s.Close(session.StatusPolicyViolation, "too many messages")
		return
	}
	// One line and no control characters, so that nobody can forge what another one says. What is
	// HTML in it is the business of the page, which shows text as text.
	text := strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, string(msg.Data)))
	if text == "" {
		return
	}
	if err := c.tell(m.room, "%s says: %s", m.name, text); err != nil {
		_ = s.SendText("Not delivered, the server is busy.")
	}
}

// OnClose implements session.Handler. The session has left its room already.
func (c *chat) OnClose(s session.Session, _ session.CloseInfo) {
	v, _ := c.members.LoadAndDelete(s)
	if m := v.(*member); !c.srv.Draining() { // when all leave at once, nobody is there to be told
		_ = c.tell(m.room, "%s leaves", m.name)
	}
}

// tell sends a line to everybody in a room. It is encoded once, and nobody is waited for.
func (c *chat) tell(room, format string, args ...any) error {
	_, err := c.srv.Publish(room, session.Prepare(session.OpText, fmt.Appendf(nil, format, args...)))
	return err
}
