package session

import (
	"sync"
	"time"
)

// MembershipChange is the net change of a channel's members within Config.MembershipInterval. A
// member that joined and left, or left and came back, within the interval is not in it.
type MembershipChange struct {
	Channel string
	// Joined and Left name members: by the user that Session.SetUser has set, else by the id of the
	// session. A SetUser that changes the name shows as a leave of the old name and a join of the
	// new. A user is named once for each session. Both together name at most MaxChangedMembers.
	Joined, Left []string
	More         int // changes of members that are not named; one that leaves and comes back counts twice
	Members      int // how many sessions are in the channel now
}

// MaxChangedMembers is how many members a MembershipChange names at most.
const MaxChangedMembers = 1000

// maxChangedChannels is how many channels may change within an interval; the changes of others are
// dropped, and counted.
const maxChangedChannels = 1 << 16

// presence gathers changes of membership and tells them to Config.OnMembership, from a goroutine of its
// own.
type presence struct {
	srv      *Server
	interval time.Duration
	tell     func(MembershipChange)
	some     chan struct{} // capacity 1: there are changes
	stop     chan struct{}
	stops    sync.Once
	ended    chan struct{} // closed when run has returned

	telling map[string]*changes // what run has yet to tell

	mu      sync.Mutex
	changes map[string]*changes
	dropped uint64
}

// changes are those of one channel.
type changes struct {
	net  map[string]int // joined less left, by member
	more int
}

func newPresence(s *Server, interval time.Duration, tell func(MembershipChange)) *presence {
	return &presence{
		srv: s, interval: interval, tell: tell,
		some: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}), changes: make(map[string]*changes),
	}
}

// note says that a member has joined (1) or left (-1). A nil presence ignores it.
func (p *presence) note(member, channel string, by int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ch := p.changes[channel]
	if ch == nil {
		if len(p.changes) >= maxChangedChannels {
			p.dropped++
			return
		}
		ch = &changes{net: make(map[string]int)}
		p.changes[channel] = ch
	}
	n, known := ch.net[member]
	switch {
	case n+by == 0:
		delete(ch.net, member)
	case !known && (ch.more > 0 || len(ch.net) >= MaxChangedMembers): // it may be one of the unnamed
		ch.more++
	default:
		ch.net[member] = n + by
	}
	select {
	case p.some <- struct{}{}:
	default:
	}
}

func (p *presence) start() {
	go p.run() // ended and awaited by close
}

// close tells of what has changed, and waits for that, but no longer than d. It reports whether that was
// enough.
func (p *presence) close(d time.Duration) bool {
	p.stops.Do(func() { close(p.stop) })
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.ended:
		return true
	case <-timer.C:
		return false
	}
}

// run is started by start, and ended by close, which waits for it. Where OnMembership ends the goroutine
// with runtime.Goexit another goes on.
func (p *presence) run() {
	over := false
	defer func() {
		if over {
			close(p.ended)
			return
		}
		Session{p.srv, 0}.callFailed(nil)
		go p.run()
	}()
	p.tellRest()
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		select {
		case <-p.stop:
			p.tellAll()
			over = true
			return
		case <-p.some:
		}
		timer.Reset(p.interval)
		select {
		case <-p.stop:
		case <-timer.C:
		}
		p.tellAll()
	}
}

// tellAll tells of what has changed since it was called last.
func (p *presence) tellAll() {
	p.tellRest()
	p.mu.Lock()
	p.telling = p.changes
	p.changes = make(map[string]*changes)
	p.mu.Unlock()
	p.tellRest()
}

// tellRest tells of what is in telling.
func (p *presence) tellRest() {
	for channel, ch := range p.telling {
		delete(p.telling, channel)
		if len(ch.net) > 0 || ch.more > 0 {
			p.report(channel, ch)
		}
	}
}

func (p *presence) report(channel string, ch *changes) {
	change := MembershipChange{Channel: channel, More: ch.more, Members: p.srv.MemberCount(channel)}
	for member, n := range ch.net {
		list := &change.Joined
		if n < 0 {
			list, n = &change.Left, -n
		}
		for range n {
			if len(change.Joined)+len(change.Left) == MaxChangedMembers {
				change.More++
				continue
			}
			*list = append(*list, member)
		}
	}
	defer func() { p.srv.panicked(0, recover()) }()
	p.tell(change)
}
