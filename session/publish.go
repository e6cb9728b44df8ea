package session

import (
	"errors"

	"wsgateway/internal/hub"
	"wsgateway/netpoll"
)

var (
	// ErrBusy is returned when so many publications wait to be sent that another one is not
	// taken. No member gets it.
	ErrBusy = errors.New("session: too many publications wait")
	// ErrDraining is returned for a publication when the server is being shut down, or has been closed.
	// No member gets it.
	ErrDraining = errors.New("session: publications are not taken any more, the server is shutting down")
	// ErrNoRoute is returned for a path that is not the Route.Path of any route.
	ErrNoRoute = errors.New("session: no route with this path")
)

// Published says what has become of a publication.
type Published struct {
	// Sequence is the publication's number in its channel, or among those to its user. The first is 1. A
	// channel that all members have left begins again. 0 if there was no member, and with SendAll.
	Sequence uint64
	// Reached is how many sessions have got the message, in a socket or in a queue of theirs. Where there
	// are more than 64, and with SendAll, it is how many the message is on its way to; sessions that
	// are excepted, or that are just about to end, are then counted too.
	Reached int
}

// Publish sends m to the members of a channel, but for those in except. It returns before they have
// all been sent to: channels of more than 64 members are served by goroutines of their own, a part of
// the members each. Members that do not read fast enough hold nobody up: see Session.Send.
//
// All members see all publications of a channel in the same order, that of Published.Sequence, whoever
// published. From Join to Leave a member gets all of them, without a gap, for as long as its session is
// open. Publications of two goroutines to a smaller channel take turns: one waits while the other
// sends.
//
// What the publisher sends afterwards in other ways, or to other channels, may arrive before. So may the
// Close frame of Session.Close: a member of a large channel that is closed right after a publication may not
// get it. What has to follow a publication is to be published to the same channel.
//
// Errors: ErrBusy, ErrDraining, ErrChannelName, ErrPayload, ErrNotUTF8. A channel without members is none.
// After ErrBusy nobody has got the message: what matters, the last price of a symbol for instance, is to be
// published again.
func (s *Server) Publish(channel string, m *Prepared, except ...Session) (Published, error) {
	if !ValidChannelName(channel) {
		return Published{}, ErrChannelName
	}
	return s.publish(s.memberships.channels, channel, m, except)
}

// SendUser sends m to all sessions of a user, but for those in except. It is served like a publication to a
// channel of these sessions, see Publish.
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

// SendAll sends m to all open sessions of a route, or of all routes if path is "", but for those in
// except. It is served like a publication to a large channel, see Publish: all sessions see all such
// messages in the same order. path is that of Route.Path; sessions of earlier routes with the same one, see
// SetRoutes, get the message too.
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
