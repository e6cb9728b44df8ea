package session

import (
	"sync"
	"time"
)

// MembershipChange says who has come to a channel and who has gone, all in all, within
// Config.MembershipInterval. Who came and went, or went and came back, within it is not told of.
type MembershipChange struct {
	Channel string
	// Joined and Left are members: by their user where Session.SetUser was called before they
	// joined, else by their session's id. A user of several sessions stands for each of them. At
	// most MaxChangedMembers are named in both together.
	Joined, Left []string
	More         int // changes of members that are not named
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
	ended    sync.WaitGroup

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
		some: make(chan struct{}, 1), stop: make(chan struct{}), changes: make(map[string]*changes),
	}
}

// note says that a member has joined (1) or left (-1). A nil presence ignores it.
func (p *presence) note(c conn, channel string, by int) {
	if p == nil || !validChannel(channel) { // users and broadcasts have channels too
		return
	}
	member := p.srv.extra(c).user
	if member == "" {
		member = p.srv.ids.encode(c)
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
	case !known && len(ch.net) >= MaxChangedMembers:
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
	p.ended.Add(1)
	go p.run() // ended and awaited by close
}

func (p *presence) close() {
	p.stops.Do(func() { close(p.stop) })
	p.ended.Wait()
}

func (p *presence) run() {
	defer p.ended.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		select {
		case <-p.stop:
			return
		case <-p.some:
		}
		timer.Reset(p.interval)
		select {
		case <-p.stop:
			return
		case <-timer.C:
		}
		p.mu.Lock()
		list := p.changes
		p.changes = make(map[string]*changes)
		p.mu.Unlock()
		for channel, ch := range list {
			if len(ch.net) > 0 || ch.more > 0 {
				p.report(channel, ch)
			}
		}
	}
}

func (p *presence) report(channel string, ch *changes) {
	change := MembershipChange{Channel: channel, More: ch.more, Members: p.srv.MemberCount(channel)}
	for member, n := range ch.net {
		if n > 0 {
			change.Joined = append(change.Joined, member)
		} else {
			change.Left = append(change.Left, member)
		}
	}
	defer func() { p.srv.panicked(0, recover()) }()
	p.tell(change)
}
