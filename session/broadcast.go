package session

import "sync"

// Broadcast is a Handler that sends every message to all sessions of its route, the sender
// included. It is encoded once. A client that does not read fast enough is closed and holds
// nobody up. The messages of one sender reach every receiver in their order.
type Broadcast struct {
	members group
}

// NewBroadcast returns a Broadcast with nobody in it.
func NewBroadcast() *Broadcast { return &Broadcast{} }

// OnOpen implements Handler.
func (b *Broadcast) OnOpen(s Session) { b.members.add(s) }

// OnClose implements Handler.
func (b *Broadcast) OnClose(s Session, _ CloseInfo) { b.members.remove(s) }

// OnMessage implements Handler.
func (b *Broadcast) OnMessage(_ Session, m Message) { b.Send(Prepare(m.Opcode, m.Data)) }

// Send sends m to every session of the route. Any goroutine may call it.
func (b *Broadcast) Send(m *Prepared) {
	list := b.members.snapshot()
	for _, s := range *list {
		_ = s.SendPrepared(m) // closed or too slow: the server ends the session by itself
	}
	b.members.putBack(list)
}

// group is a set of sessions that is mostly read from end to end.
type group struct {
	mu    sync.Mutex
	list  []Session
	place map[Session]int // in list
	spare sync.Pool       // *[]Session
}

func (g *group) add(s Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.place == nil {
		g.place = make(map[Session]int)
	}
	if _, ok := g.place[s]; !ok {
		g.place[s] = len(g.list)
		g.list = append(g.list, s)
	}
}

func (g *group) remove(s Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i, ok := g.place[s]
	if !ok {
		return
	}
	delete(g.place, s)
	last := len(g.list) - 1
	if i != last {
		g.list[i] = g.list[last]
		g.place[g.list[i]] = i
	}
	g.list[last] = Session{}
	g.list = g.list[:last]
}

// snapshot returns the members, to be given back with putBack: sending goes on without the
// lock, while members come and go.
func (g *group) snapshot() *[]Session {
	list, _ := g.spare.Get().(*[]Session)
	if list == nil {
		list = new([]Session)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	*list = append((*list)[:0], g.list...)
	return list
}

func (g *group) putBack(list *[]Session) { g.spare.Put(list) }
