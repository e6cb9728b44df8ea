package session

import (
	"iter"
	"net/netip"
	"sync"
	"sync/atomic"

	"wsgateway/internal/slab"
	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// sessionTable is what the server knows of every session, at the index of its connection. Methods that
// take a conn may be called from any goroutine: of a session that has ended they tell nothing, and never
// what is its successor's.
type sessionTable struct {
	routes   *routeTables
	records  *slab.Array[record]
	partials *slab.Pool[partial]
	details  *slab.Pool[atomic.Pointer[details]]

	// locks guard the details and the flags of open sessions, by index. The end of a session marks it
	// under its lock.
	locks [256]sync.Mutex
}

// details holds what few sessions have. A value is immutable; it is replaced under the session's lock.
type details struct {
	path        string // of the request, where it is not the route's
	query       string
	subprotocol string // where it is not in the route's list
	header      string // retained fields: name, 0, value, 0
	pathValues  *wsproto.PathValues
	user        string
	value       any
	life        *sessionContext // nil until it is asked for
}

// tombstone is what Session's methods tell about a session whose OnClose is still to come, although its
// connection is gone.
type tombstone struct {
	route   *route
	meta    meta
	by      Initiator
	details details
	peer    netip.AddrPort
}

func newSessionTable(n int, routes *routeTables) *sessionTable {
	return &sessionTable{
		routes:   routes,
		records:  slab.NewArray[record](n),
		partials: slab.NewPool[partial](n),
		details:  slab.NewPool[atomic.Pointer[details]](n),
	}
}

// has reports whether there is a record at an index below transport.High. There is none while the first
// connection near it is being admitted.
func (tb *sessionTable) has(i uint32) bool { return tb.records.Chunk(i) != nil }

func (tb *sessionTable) at(i uint32) *record { return tb.records.At(i) }

func (tb *sessionTable) record(c conn) *record { return tb.records.At(c.Index()) }

// connections returns all connections below an index, and what is known of them.
func (tb *sessionTable) connections(high uint32) iter.Seq2[conn, meta] {
	return func(yield func(conn, meta) bool) {
		for i := range high {
			if !tb.has(i) {
				continue
			}
			m := tb.at(i).load()
			if m.gen() != 0 && !yield(netpoll.MakeConn(i, m.gen()), m) {
				return
			}
		}
	}
}

// meta returns what is known of session c, and whether it is open or closing.
func (tb *sessionTable) meta(c conn) (m meta, open bool) {
	if c.Index() >= uint32(tb.records.Len()) || !tb.has(c.Index()) {
		return 0, false
	}
	m = tb.record(c).load()
	return m, m.gen() == c.Gen() && (m.phase() == phaseOpen || m.phase() == phaseClosing)
}

// holds reports whether the record of c is still its own, so that the route that was found by it before is
// its route.
func (tb *sessionTable) holds(c conn) bool { return tb.record(c).load().gen() == c.Gen() }

// available reports whether c is open and neither side has begun to close it.
func (tb *sessionTable) available(c conn) bool {
	_, open := tb.meta(c)
	return open && !tb.record(c).closing(c)
}

// info returns what is known of session c, from OnOpen until OnClose has returned.
func (tb *sessionTable) info(c conn) (r *route, m meta, d details, ok bool) {
	if c.Index() < uint32(tb.records.Len()) && tb.has(c.Index()) {
		rec := tb.record(c)
		if i := rec.details.Load(); i != 0 {
			if p := tb.details.At(i - 1).Load(); p != nil {
				d = *p
			}
		}
		m = rec.load()
		r = tb.route(m)
		// Looked at last: had it ended meanwhile, this might be its successor's.
		m = rec.load()
		ok = m.gen() == c.Gen() && m.phase() != phaseHandshake
	}
	if !ok || m.phase() == phaseOver {
		if t := tb.routes.calls.tombstone(c); t != nil {
			return t.route, t.meta, t.details, true
		}
	}
	if !ok {
		return noRoute, 0, details{}, false
	}
	return r, m, d, true
}

// detailsOf returns what few sessions have: the zero value if c has none, or its OnClose has returned.
func (tb *sessionTable) detailsOf(c conn) details {
	_, _, d, _ := tb.info(c)
	return d
}

// route returns the route of a session that is open. Of one that has ended meanwhile it is noRoute, or
// another one: nothing may come of it.
func (tb *sessionTable) route(m meta) *route { return tb.routes.at(m.route()) }

// path returns the path of the request of session c.
func (tb *sessionTable) path(c conn) string {
	r, _, d, ok := tb.info(c)
	if !ok {
		return ""
	}
	if d.path != "" {
		return d.path
	}
	return r.ownPath
}

// policy returns what to do with messages that session c does not read.
func (tb *sessionTable) policy(c conn) netpoll.Policy {
	if !tb.routes.lossy.Load() {
		return CloseSlow
	}
	m, open := tb.meta(c)
	if !open {
		return CloseSlow // it will be ErrClosed
	}
	return tb.route(m).Outbound
}

// lock returns the lock of the details and flags of session c.
func (tb *sessionTable) lock(c conn) *sync.Mutex { return &tb.locks[c.Index()%uint32(len(tb.locks))] }

// owned calls f with the record of an open session, under its lock.
func (tb *sessionTable) owned(c conn, f func(rec *record)) error {
	lock := tb.lock(c)
	lock.Lock()
	defer lock.Unlock()
	if _, open := tb.meta(c); !open {
		return ErrClosed
	}
	f(tb.record(c))
	return nil
}

// change replaces the details of a session that is open, or whose OnClose has not returned.
func (tb *sessionTable) change(c conn, f func(d *details)) error {
	err := tb.owned(c, func(rec *record) {
		d := tb.detailsOf(c)
		f(&d)
		tb.putDetails(rec, &d)
	})
	if err != nil && tb.routes.calls.change(c, f) {
		return nil
	}
	return err
}

// putDetails gives a session details, which are the table's from now on.
func (tb *sessionTable) putDetails(rec *record, d *details) {
	i := rec.details.Load()
	if i == 0 {
		n, ok := tb.details.Get()
		if !ok {
			return // there are as many as connections
		}
		i = n + 1
	}
	tb.details.At(i - 1).Store(d)
	rec.details.Store(i)
}

// dropDetails frees the details of a session that is over.
func (tb *sessionTable) dropDetails(c conn) {
	rec := tb.record(c)
	if rec.details.Load() == 0 {
		return
	}
	lock := tb.lock(c)
	lock.Lock()
	defer lock.Unlock()
	if i := rec.details.Load(); i != 0 {
		rec.details.Store(0)
		tb.details.At(i - 1).Store(nil)
		tb.details.Put(i - 1)
	}
}

// partial returns what is incomplete of a session's input, nil if nothing is.
func (tb *sessionTable) partial(rec *record) *partial {
	i := rec.partial.Load()
	if i == 0 {
		return nil
	}
	return tb.partials.At(i - 1)
}

// newPartial gives a session a place for what is incomplete.
func (tb *sessionTable) newPartial(rec *record) *partial {
	i, _ := tb.partials.Get() // there are as many as connections
	rec.partial.Store(i + 1)
	return tb.partials.At(i)
}

// dropPartial frees what is incomplete of a session's input, if something is.
func (tb *sessionTable) dropPartial(rec *record, bufs *buffers) {
	i := rec.partial.Load()
	if i == 0 {
		return
	}
	pt := tb.partials.At(i - 1)
	if pt.pending != nil {
		pt.pending.abandon()
	}
	pt.dec.Release(bufs)
	bufs.Free(pt.head)
	bufs.Free(pt.rest)
	*pt = partial{}
	rec.partial.Store(0)
	tb.partials.Put(i - 1)
}
