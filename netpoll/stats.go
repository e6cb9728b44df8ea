package netpoll

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// turnStats are the counters of one loop or worker: written by it alone, read by Stats.
type turnStats struct {
	turns     atomic.Uint64
	readBytes atomic.Uint64
	busy      atomic.Uint64 // nanoseconds
	batches   atomic.Uint64
	events    atomic.Uint64
	stale     atomic.Uint64
	wait      [len(WaitBuckets) + 1]atomic.Uint64
	waitSum   atomic.Uint64 // nanoseconds
	_         [64]byte
}

// sharded is a counter that connections of different index add to without sharing a cache
// line, as a rule.
type sharded [8]struct {
	n atomic.Uint64
	_ [56]byte
}

func (s *sharded) add(c Conn, n uint64) { s[c.Index()%uint32(len(s))].n.Add(n) }

func (s *sharded) load() (n uint64) {
	for i := range s {
		n += s[i].n.Load()
	}
	return n
}

// labelled counts rare things by name. The names are few and never a client's.
type labelled struct {
	mu sync.Mutex
	m  map[string]uint64
}

func (l *labelled) inc(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m == nil {
		l.m = make(map[string]uint64)
	}
	l.m[name]++
}

func (l *labelled) load() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.m)
}

type stats struct {
	r            *Reactor
	accepted     atomic.Uint64
	closed       atomic.Uint64
	dropped      atomic.Uint64
	sentBytes    sharded
	sentMessages sharded
	acceptErrors labelled
	pauses       labelled
	refusals     labelled
	overflows    labelled
}

func (s *stats) overflow(_ Conn, bound string, msgs int) {
	s.overflows.inc(bound)
	s.dropped.Add(uint64(msgs))
}

// WaitBuckets are the upper bounds, in seconds, of the histogram Stats.QueueWait.
var WaitBuckets = [...]float64{10e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1}

// observeWait records how long the oldest of n connections waited for worker t; the others
// of its list waited no longer.
func (s *stats) observeWait(id uint32, d time.Duration, n int) {
	st := &s.r.turns[id-1].stats
	i := 0
	for i < len(WaitBuckets) && d.Seconds() > WaitBuckets[i] {
		i++
	}
	st.wait[i].Add(uint64(n))
	st.waitSum.Add(uint64(d) * uint64(n))
}

// Stats is a snapshot of a reactor's gauges and counters.
type Stats struct {
	Conns    int // open connections
	MaxConns int
	Refused  int // open connections that are only being refused
	Loops    int
	Workers  int

	Accepted      uint64            // connections accepted
	Closed        uint64            // connections closed
	Refusals      map[string]uint64 // connections refused, by reason: limit, fd_limit
	AcceptErrors  map[string]uint64 // errors of accept4, by their text
	AcceptPauses  map[string]uint64 // by reason: full, error, refusals
	ListenersIdle int               // listeners that are not being accepted from

	ReadBytes    uint64
	SentBytes    uint64 // taken by the kernel, which is not "received"
	SentMessages uint64 // likewise
	Dropped      uint64 // messages accepted or refused that will never be sent

	QueueBytes      int64 // in all outbound queues
	QueueMessages   int64
	QueueTotalBytes int64             // their bound
	Overflows       map[string]uint64 // messages that did not fit, by bound: queue, total

	Batches     uint64 // non-empty batches of events
	Events      uint64
	StaleEvents uint64 // events of a connection that was gone
	LoopTurns   uint64 // turns served by loops
	WorkerTurns uint64

	WorkersBusy int           // serving a batch now
	WorkerBusy  time.Duration // time spent serving, all workers
	QueueLen    int           // connections waiting for a worker
	QueueWait   [len(WaitBuckets) + 1]uint64
	QueueWaits  time.Duration // sum of the waits
}

// Stats returns a snapshot. Its parts are read one after the other.
func (r *Reactor) Stats() Stats {
	s := Stats{
		Conns:           int(r.conns.Load()),
		MaxConns:        r.cfg.MaxConns,
		Refused:         int(r.refused.Load()),
		Loops:           len(r.loops),
		Workers:         len(r.workers),
		Accepted:        r.stats.accepted.Load(),
		Closed:          r.stats.closed.Load(),
		Refusals:        r.stats.refusals.load(),
		AcceptErrors:    r.stats.acceptErrors.load(),
		AcceptPauses:    r.stats.pauses.load(),
		ListenersIdle:   int(r.acceptor.resting.Load()),
		SentBytes:       r.stats.sentBytes.load(),
		SentMessages:    r.stats.sentMessages.load(),
		Dropped:         r.stats.dropped.Load(),
		QueueBytes:      r.queuedBytes.Load(),
		QueueMessages:   r.queuedMessages.Load(),
		QueueTotalBytes: r.cfg.QueueTotalBytes,
		Overflows:       r.stats.overflows.load(),
	}
	for i, t := range r.turns {
		s.ReadBytes += t.stats.readBytes.Load()
		s.Batches += t.stats.batches.Load()
		s.Events += t.stats.events.Load()
		s.StaleEvents += t.stats.stale.Load()
		s.WorkerBusy += time.Duration(t.stats.busy.Load())
		if i < len(r.loops) {
			s.LoopTurns += t.stats.turns.Load()
		} else {
			s.WorkerTurns += t.stats.turns.Load()
		}
		if t.busySince.Load() != 0 {
			s.WorkersBusy++
		}
		for b := range s.QueueWait {
			s.QueueWait[b] += t.stats.wait[b].Load()
		}
		s.QueueWaits += time.Duration(t.stats.waitSum.Load())
	}
	for _, w := range r.workers {
		s.QueueLen += int(w.waiting.Load())
	}
	return s
}
