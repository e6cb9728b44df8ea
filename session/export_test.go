package session

import (
	"testing"
	"time"

	"wsgateway/internal/waits"
)

// Waiting returns how many publications have not been sent to all members yet. It is what Stats says,
// without the cost of a snapshot.
func (s *Server) Waiting() int { return s.memberships.hub.Waiting() }

// Now is the gateway's time.
func (s *Server) Now() time.Duration { return time.Duration(s.tr.Now()) * time.Millisecond }

// HoldMembership begins an interval of Config.MembershipInterval, in which TellMembership may be called. It is
// for a server that has just been started.
func HoldMembership(t testing.TB, s *Server) {
	t.Helper()
	some := s.memberships.presence.some
	some <- struct{}{}
	waits.Becomes(t, func() int { return len(some) }, 0, "signals of changes that have not been noticed")
}

// TellMembership has OnMembership told at once of what it would be told at the end of the interval.
func TellMembership(s *Server) { s.memberships.presence.tellAll() }

// RouteUsers returns how many sessions and requests the current routes have.
func RouteUsers(s *Server) int64 { return s.table.routes.current.Load().users.Load() - 1 }

// DetailsInUse returns how many sessions have something beside their record.
func DetailsInUse(s *Server) int { return s.table.details.Used() }

// Held reports whether a turn of the session has stopped reading.
func Held(s Session) bool { return s.srv.table.record(s.c).flags.Load()&flagHeld != 0 }

// CallsUnderWay returns how many calls of handlers run, as the watchdog sees it.
func CallsUnderWay(s *Server) int {
	n := 0
	for _, w := range s.workers {
		n += int(w.watch.calls.Load() & 1)
	}
	for _, p := range s.calls.all() {
		n += p.Stats().Busy
	}
	return n
}

// OpenSessions returns how many there are, without an allocation.
func OpenSessions(s *Server) int64 { return s.open.Load() }
