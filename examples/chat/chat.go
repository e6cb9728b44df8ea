package main

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
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
type chat struct{ srv *session.Server }

// member is one session in a room: its Session.Value, from admit until OnClose has returned. Only
// calls of its handler use it, and they come one at a time, so it needs no lock.
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

// admit decides about a handshake: before a session exists, and with an HTTP status if it is not
// to.
func (c *chat) admit(u *session.Upgrade) error {
	// Without this any page on the web could talk here in the name of whoever looks at it. Where
	// the name of the service is known, Route.Origins does that, and holds against DNS rebinding
	// too.
	if err := session.SameOrigin(u); err != nil {
		return err
	}
	room, ok := roomOf(u.Request)
	if !ok {
		return session.ErrNotFound
	}
	name := u.Request.Query().Get("name")
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
	m := s.Value().(*member)
	m.name += "#" + s.ID()[:6]
	if err := s.Join(m.room); err != nil {
		return // it is over already, or the server is
	}
	_ = c.tell(m.room, "%s joins %s, where %d are now", m.name, m.room, c.srv.MemberCount(m.room))
}

// OnMessage implements session.Handler.
func (c *chat) OnMessage(s session.Session, msg session.Message) {
	m := s.Value().(*member)
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
	if m := s.Value().(*member); !c.srv.Draining() { // when all leave at once, nobody is there to be told
		_ = c.tell(m.room, "%s leaves", m.name)
	}
}

// tell sends a line to everybody in a room. It is encoded once, and nobody is waited for.
func (c *chat) tell(room, format string, args ...any) error {
	_, err := c.srv.Publish(room, session.Prepare(session.OpText, fmt.Appendf(nil, format, args...)))
	return err
}
