package session

import "iter"

// Join makes the session a member of a channel, which comes into being with its first member and is
// gone with its last. Joining twice does nothing. A name is at most MaxChannelName bytes of UTF-8
// without control characters. Membership ends with Leave, or with the session: before OnClose is
// called. A member gets what is published after Join has returned; of a large channel perhaps also what
// was published just before, and still waits to be sent.
//
// Errors: ErrClosed, ErrChannelName, ErrTooManyChannels.
func (s Session) Join(channel string) error {
	if !validChannel(channel) {
		return ErrChannelName
	}
	return s.srv.join(s.c, channel)
}

// Leave ends the session's membership of a channel. It does nothing if there is none. What has been
// published before may still arrive.
func (s Session) Leave(channel string) {
	s.srv.leave(s.c, channel)
}

// Channels returns the names of the channels the session is in, the last one joined first. In OnClose it is
// in none any more; Config.OnMembership tells which it has left.
func (s Session) Channels() (names []string) {
	_ = s.srv.owned(s.c, func(rec *record) error {
		for name := range s.srv.channels.names(rec.subs) {
			if validChannel(name) { // users and broadcasts have channels too
				names = append(names, name)
			}
		}
		return nil
	})
	return names
}

func (s *Server) join(c conn, channel string) error {
	return s.owned(c, func(rec *record) error {
		if rec.closing(c) {
			return ErrClosed
		}
		limit := s.cfg.SessionChannels
		if s.table.detailsOf(c).user != "" {
			limit++ // its channel is not counted
		}
		joined, err := s.channels.join(c, &rec.subs, channel, limit)
		if joined {
			s.presence.note(s.member(c), channel, 1)
		}
		return err
	})
}

// owned calls f with the record of an open session, under the lock of its subscriptions.
// The end of a session marks it before it takes the lock.
func (s *Server) owned(c conn, f func(rec *record) error) error {
	if s == nil {
		return ErrClosed
	}
	lock := s.channels.owner(c)
	lock.Lock()
	defer lock.Unlock()
	if _, open := s.table.meta(c); !open {
		return ErrClosed
	}
	return f(s.table.record(c))
}

func (s *Server) leave(c conn, channel string) {
	_ = s.owned(c, func(rec *record) error {
		if s.channels.leave(c, &rec.subs, channel) {
			s.presence.note(s.member(c), channel, -1)
		}
		return nil
	})
}

// leaveAll ends all memberships of a session that is over. It expects the lock of channels.owner.
func (s *Server) leaveAll(c conn, rec *record) {
	if s.presence != nil {
		member := s.member(c)
		for name := range s.channels.names(rec.subs) {
			s.presence.note(member, name, -1)
		}
	}
	s.channels.leaveAll(c, &rec.subs)
}

// member is by what a MembershipChange names a session.
func (s *Server) member(c conn) string {
	if s.presence == nil {
		return "" // nobody asks
	}
	if user := s.table.detailsOf(c).user; user != "" {
		return user
	}
	return s.ids.encode(c)
}

// Publish sends m to the members of a channel, but for those in except. It returns before they have
// all been sent to: large channels are served by goroutines of their own, a part of the members each.
// What one goroutine publishes to a channel reaches every member in that order, without a gap for as
// long as the member's session is open. Members that do not read fast enough hold nobody up: see
// Session.Send.
//
// Errors: ErrBusy, ErrChannelName, ErrPayload. A channel without members is none. After ErrBusy nobody has got the
// message: what matters, the last price of a symbol for instance, is to be published again.
//
// What the publisher sends afterwards in other ways, or to other channels, may arrive before: what has to
// follow a publication is to be published to the same channel.
func (s *Server) Publish(channel string, m *Prepared, except ...Session) error {
	if !validChannel(channel) {
		return ErrChannelName
	}
	return s.publish(channel, m, except)
}

func (s *Server) publish(channel string, m *Prepared, except []Session) error {
	if m.err != nil {
		return m.err
	}
	ch := s.channels.find(channel)
	if ch == nil {
		return nil
	}
	return s.fanout.publish(ch, m, conns(s, except))
}

// MemberCount returns how many sessions are in a channel.
func (s *Server) MemberCount(channel string) int {
	sh := s.channels.shard(channel)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if ch := sh.m[channel]; ch != nil {
		return int(ch.members)
	}
	return 0
}

// Members returns the sessions in a channel. Who joins or leaves meanwhile may be missing.
func (s *Server) Members(channel string) iter.Seq[Session] {
	if !validChannel(channel) {
		return func(func(Session) bool) {}
	}
	return s.members(channel)
}

func (s *Server) members(channel string) iter.Seq[Session] {
	return func(yield func(Session) bool) {
		ch := s.channels.find(channel)
		if ch == nil {
			return
		}
		for list := range ch.all() {
			for _, c := range list {
				if !yield(Session{s, c}) {
					return
				}
			}
		}
	}
}

// Channels returns the channels that have members, and how many. The order is arbitrary.
func (s *Server) Channels() iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		for i := range s.channels.shards {
			for _, c := range s.channels.shards[i].all() {
				if c.members > 0 && validChannel(c.name) && !yield(c.name, c.members) {
					return
				}
			}
		}
	}
}

type channelCount struct {
	name    string
	members int
}

func (sh *channelShard) all() []channelCount {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	list := make([]channelCount, 0, len(sh.m))
	for name, ch := range sh.m {
		list = append(list, channelCount{name, int(ch.members)})
	}
	return list
}
