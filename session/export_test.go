package session

import "time"

// Waiting returns how many publications have not been sent to all members yet. It is what Stats says,
// without the cost of a snapshot.
func (s *Server) Waiting() int64 { return s.fanout.waiting.Load() }

// Now is the gateway's time.
func (s *Server) Now() time.Duration { return time.Duration(s.tr.Now()) * time.Millisecond }

// TellMembership has OnMembership told at once of what it would be told at the end of the interval.
func TellMembership(s *Server) { s.presence.tellAll() }
