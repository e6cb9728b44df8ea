package session

import (
	"errors"

	"wsgateway/internal/hub"
	"wsgateway/netpoll"
)

var (
	// ErrBusy is returned when too many publications wait to be sent. No member gets the refused
	// one.
	ErrBusy = errors.New("session: too many publications wait")
	// ErrDraining is returned for a publication when the server is being shut down, or has been closed.
	// No member gets the publication.
	ErrDraining = errors.New("session: publication refused, the server is shutting down")
	// ErrNoRoute is returned for a path that is not the Route.Path of any route.
	ErrNoRoute = errors.New("session: no route with this path")
)

// Published says what has become of a publication.
type Published struct {
	// Sequence is the publication's number in its channel, or among those to its user. The first is
	// 1. A channel that all members have left begins with 1 again. Sequence is 0 if the channel has
	// no members, and for SendAll.
	Sequence uint64
	// Reached is how many sessions have got the message, in their sockets or queues. For more than
	// 64 members, and for SendAll, it is how many sessions the message is on its way to. Excepted
	// sessions and sessions that are about to end are then counted too.
	Reached int
}

// Publish sends m to the members of a channel, except those in except. For a channel of more than
// 64 members it returns before all have been sent to: goroutines of the server send, each to a part
// of the members. A member that reads slowly does not delay the others, see Session.Send.
//
// All members see all publications of a channel in the same order, that of Published.Sequence, whoever
// published. From Join to Leave a member gets all of them, without a gap, for as long as its session is
// open. If two goroutines publish to a smaller channel, one waits while the other sends.
//
// What the publisher sends next in another way, or to another channel, may arrive before a
// publication to a large channel. So may the Close frame of Session.Close: a member that is closed
// right after a publication may not get it. To make sure that a message comes after a publication,
// publish it to the same channel.
//
// Errors: ErrBusy, ErrDraining, ErrChannelName, ErrPayload, ErrNotUTF8. It is not an error if the
// channel has no members. After ErrBusy no member gets the message. If it matters, publish it
// again.
func (s *Server) Publish(channel string, m *Prepared, except ...Session) (Published, error) {
	if !ValidChannelName(channel) {
		return Published{}, ErrChannelName
	}
	return s.publish(s.memberships.channels, channel, m, except)
}

// SendUser sends m to all sessions of a user, except those in except. It works like a publication
// to a channel of these sessions, see Publish.
//
// Errors: those of Publish, except ErrChannelName.
func (s *Server) SendUser(id string, m *Prepared, except ...Session) (Published, error) {
	return s.publish(s.memberships.users, id, m, except)
}

func (s *Server) publish(r *hub.Registry, name string, m *Prepared, except []Session) (Published, error) {
	if m.err != nil {
		return Published{}, m.err
	}
	sequence, reached, err := r.Publish(name, (*publication)(m), members(s, except))
	return Published{sequence, reached}, publishError(err)
}

// SendAll sends m to all open sessions of a route, or of all routes if path is "", except those in
// except. It works like a publication to a large channel, see Publish: all sessions see the
// messages of SendAll in the same order. path is a Route.Path. Sessions of earlier routes with the
// same Route.Path, see SetRoutes, get the message too.
//
// Errors: ErrBusy, ErrDraining, ErrNoRoute, ErrPayload, ErrNotUTF8.
func (s *Server) SendAll(path string, m *Prepared, except ...Session) (Published, error) {
	if m.err != nil {
		return Published{}, m.err
	}
	if path != "" && !s.table.routes.known(path) {
		return Published{}, ErrNoRoute
	}
	if err := s.memberships.hub.PublishTo(everybody{s, path}, (*publication)(m), members(s, except)); err != nil {
		return Published{}, publishError(err)
	}
	if path != "" {
		return Published{Reached: s.table.routes.open(path)}, nil
	}
	return Published{Reached: int(s.open.Load())}, nil
}

func publishError(err error) error {
	switch err {
	case hub.ErrBusy:
		return ErrBusy
	case hub.ErrSealed:
		return ErrDraining
	}
	return err
}

// members returns those of the sessions that are of a server.
func members(s *Server, list []Session) (ms []hub.Member) {
	for _, x := range list {
		if x.srv == s {
			ms = append(ms, hub.Member(x.c))
		}
	}
	return ms
}

// publication is a Prepared as a hub.Message.
type publication Prepared

// Size implements hub.Message.
func (p *publication) Size() int { return len(p.frame) }

// deliverer passes the hub's messages on to sessions.
type deliverer struct{ srv *Server }

// Deliver implements hub.Deliverer. A session that does not take the message is over, or its server ends it.
func (d deliverer) Deliver(m hub.Member, msg hub.Message) bool {
	return Session{d.srv, conn(m)}.SendPrepared((*Prepared)(msg.(*publication))) == nil
}

// everybody is all open sessions of the routes with a path, of all routes if it is "".
type everybody struct {
	srv  *Server
	path string
}

// Scan implements hub.Set.
func (e everybody) Scan(list []hub.Member, at, step uint32) (full []hub.Member, next uint32, more bool) {
	for high := e.srv.tr.High(); at < high; at += step {
		if len(list) == cap(list) {
			return list, at, true
		}
		if !e.srv.table.has(at) {
			continue
		}
		m := e.srv.table.at(at).load()
		if m.phase() == phaseOpen && (e.path == "" || e.srv.table.route(m).Path == e.path) {
			list = append(list, hub.Member(netpoll.MakeConn(at, m.gen())))
		}
	}
	return list, at, false
}
