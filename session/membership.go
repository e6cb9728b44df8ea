package session

import (
	"context"
	"iter"
	"sync"
	"time"

	"wsgateway/internal/hub"
)

// memberships is which sessions are in which channels, and which are whose.
//
// Its locks come before those of the table. A change of a session's memberships, and the note of it in
// presence, happen under the session's lock.
type memberships struct {
	srv      *Server
	hub      *hub.Hub
	channels *hub.Registry // members by channel
	users    *hub.Registry // sessions by user
	presence *presence     // nil if nobody wants to know

	locks [256]sync.Mutex // of the memberships of a session, by index
}

// userSubscriptions is how many users a session may be of: its user, and for a moment its former one.
const userSubscriptions = 2

// newMemberships takes how many connections there may be.
func newMemberships(s *Server, capacity int) *memberships {
	ms := &memberships{srv: s}
	ms.hub = hub.New(hub.Config{
		Deliverer:        deliverer{s},
		Subscriptions:    int(min(int64(capacity)*int64(s.cfg.SessionChannels+userSubscriptions), 1<<30)),
		Publications:     s.cfg.Publications,
		PublicationBytes: s.cfg.PublicationBytes,
	})
	ms.channels, ms.users = ms.hub.NewRegistry(nil), ms.hub.NewRegistry(nil)
	if s.cfg.OnMembership != nil {
		ms.presence = newPresence(s, s.cfg.MembershipInterval, s.cfg.OnMembership)
	}
	return ms
}

func (ms *memberships) start() {
	ms.hub.Start()
	if ms.presence != nil {
		ms.presence.start()
	}
}

// drain refuses further publications and waits until all that were accepted have been sent or queued, so that
// no Close frame overtakes them. Half of the time that ctx has left remains for what is to be done then. The
// error is that of ctx.
func (ms *memberships) drain(ctx context.Context) error {
	if at, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, at.Add(-time.Until(at)/2))
		defer cancel()
	}
	return ms.hub.Drain(ctx)
}

func (ms *memberships) lock(c conn) *sync.Mutex { return &ms.locks[c.Index()%uint32(len(ms.locks))] }

// owned calls f with the record of an open session, under the lock of its memberships. The end of a session
// takes that lock, too.
func (ms *memberships) owned(c conn, f func(rec *record) error) error {
	lock := ms.lock(c)
	lock.Lock()
	defer lock.Unlock()
	if _, open := ms.srv.table.meta(c); !open {
		return ErrClosed
	}
	return f(ms.srv.table.record(c))
}

// leaveAll ends all memberships of a session that is over. It expects the lock.
func (ms *memberships) leaveAll(c conn, rec *record) {
	if rec.subs == 0 {
		return
	}
	if ms.presence != nil {
		name := ms.name(c)
		for channel := range ms.channels.Names(rec.subs) {
			ms.presence.note(name, channel, -1)
		}
	}
	ms.hub.LeaveAll(hub.Member(c), &rec.subs)
}

// name is by what a MembershipChange names a session.
func (ms *memberships) name(c conn) string {
	if ms.presence == nil {
		return "" // nobody asks
	}
	if user := ms.srv.table.detailsOf(c).user; user != "" {
		return user
	}
	return ms.srv.ids.encode(c)
}

// setUser makes c a session of a user's, or of none's.
func (ms *memberships) setUser(c conn, rec *record, id string) error {
	old, was := ms.srv.table.detailsOf(c).user, ms.name(c)
	if id == old {
		return nil
	}
	if id != "" {
		if _, err := ms.users.Join(hub.Member(c), &rec.subs, id, userSubscriptions); err != nil {
			return ErrTooManyChannels // there is room for it
		}
	}
	if old != "" {
		ms.users.Leave(hub.Member(c), &rec.subs, old)
	}
	_ = ms.srv.table.change(c, func(d *details) { d.user = id }) // it is open
	if is := ms.name(c); is != was {
		for channel := range ms.channels.Names(rec.subs) {
			ms.presence.note(was, channel, -1)
			ms.presence.note(is, channel, 1)
		}
	}
	return nil
}

// Join makes the session a member of a channel. A channel exists while it has members. Joining
// twice does nothing. Membership ends with Leave, or with the session, before OnClose is called.
// The member gets what is published after Join has returned, and nothing that was published before
// Join was called.
//
// Errors: ErrClosed, ErrChannelName, ErrTooManyChannels.
func (s Session) Join(channel string) error {
	if !ValidChannelName(channel) {
		return ErrChannelName
	}
	if s.srv == nil {
		return ErrClosed
	}
	ms := s.srv.memberships
	return ms.owned(s.c, func(rec *record) error {
		if rec.closing(s.c) {
			return ErrClosed
		}
		joined, err := ms.channels.Join(hub.Member(s.c), &rec.subs, channel, s.srv.cfg.SessionChannels)
		if err != nil {
			return ErrTooManyChannels
		}
		if joined {
			ms.presence.note(ms.name(s.c), channel, 1)
		}
		return nil
	})
}

// Leave ends the session's membership of a channel. It does nothing if there is none. A publication
// that is being delivered may still arrive.
func (s Session) Leave(channel string) {
	if s.srv == nil {
		return
	}
	ms := s.srv.memberships
	_ = ms.owned(s.c, func(rec *record) error {
		if ms.channels.Leave(hub.Member(s.c), &rec.subs, channel) {
			ms.presence.note(ms.name(s.c), channel, -1)
		}
		return nil
	})
}

// Channels returns the names of the channels that the session is in, the last one joined first. In
// OnClose the session is in none any more. Config.OnMembership is called with what it has left.
func (s Session) Channels() (names []string) {
	if s.srv == nil {
		return nil
	}
	ms := s.srv.memberships
	_ = ms.owned(s.c, func(rec *record) error {
		for name := range ms.channels.Names(rec.subs) {
			names = append(names, name)
		}
		return nil
	})
	return names
}

// User returns the id that SetUser has set, or "".
func (s Session) User() string {
	if s.srv == nil {
		return ""
	}
	return s.srv.table.detailsOf(s.c).user
}

// SetUser says which user the session belongs to. A user may have many sessions:
// Server.UserSessions returns them, and Server.SendUser sends to them. With an empty id the session
// belongs to no user.
//
// Errors: ErrClosed; ErrChannelName if ValidChannelName refuses the id.
func (s Session) SetUser(id string) error {
	if id != "" && !ValidChannelName(id) {
		return ErrChannelName
	}
	if s.srv == nil {
		return ErrClosed
	}
	ms := s.srv.memberships
	return ms.owned(s.c, func(rec *record) error { return ms.setUser(s.c, rec, id) })
}

// UserSessions returns the sessions of a user.
func (s *Server) UserSessions(id string) iter.Seq[Session] {
	return s.sessions(s.memberships.users.Members(id))
}

// sessions returns members of the hub as sessions.
func (s *Server) sessions(members iter.Seq[hub.Member]) iter.Seq[Session] {
	return func(yield func(Session) bool) {
		for m := range members {
			if !yield(Session{s, conn(m)}) {
				return
			}
		}
	}
}
