package session

import (
	"errors"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	// ErrChannelName is returned for a name that ValidChannelName refuses.
	ErrChannelName = errors.New("session: not the name of a channel")
	// ErrTooManyChannels is returned when a session is in as many channels as it may be.
	ErrTooManyChannels = errors.New("session: in too many channels")
)

// MaxChannelName is the longest name of a channel in bytes: room for a name of 200 and a prefix.
const MaxChannelName = 256

// ValidChannelName reports whether name may be that of a channel, or the id of a user: 1 to
// MaxChannelName bytes of UTF-8 without control characters.
func ValidChannelName(name string) bool {
	return name != "" && len(name) <= MaxChannelName && utf8.ValidString(name) && strings.IndexFunc(name, unicode.IsControl) < 0
}

// MemberCount returns how many sessions are in a channel.
func (s *Server) MemberCount(channel string) int { return s.memberships.channels.Count(channel) }

// Members returns the sessions in a channel. A session that joins or leaves meanwhile may be missing.
func (s *Server) Members(channel string) iter.Seq[Session] {
	return s.sessions(s.memberships.channels.Members(channel))
}

// Channels returns the channels that have members, and how many. The order is arbitrary.
func (s *Server) Channels() iter.Seq2[string, int] { return s.memberships.channels.Channels() }
