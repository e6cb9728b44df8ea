package netpoll

import (
	"sync/atomic"
	"time"

	"wsgateway/internal/counter"
)

// turnStats are the counters of one loop or worker: written by it alone, read by Stats.
type turnStats struct {
	turns     atomic.Uint64
	readBytes atomic.Uint64
	busy      atomic.Uint64 // nanoseconds
	batches   atomic.Uint64
	events    atomic.Uint64
	stale     atomic.Uint64
	wait      counter.Histogram
	_         [64]byte
}

type stats struct {
	r            *Reactor
	accepted     atomic.Uint64
	closed       atomic.Uint64
	cutOff       atomic.Uint64
	panics       atomic.Uint64
	acceptErrors counter.Labelled
	pauses       counter.Labelled
	refusals     counter.Labelled
}

// outputStats are the counters of what is sent.
type outputStats struct {
	sentBytes    counter.Sharded
	sentMessages counter.Sharded
	overflows    counter.Labelled

	dropped, superseded                     atomic.Uint64
	droppedOldest, droppedNewest, conflated atomic.Uint64
}

// waitBounds are the upper bounds of Stats.QueueWait.
var waitBounds = []float64{10e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1}

// observeWait records how long the oldest of n connections waited for worker t; the others
// of its list waited no longer.
func (s *stats) observeWait(id uint32, d time.Duration, n int) {
	s.r.turns[id-1].stats.wait.Observe(waitBounds, int64(d), uint64(n))
}

// Histogram counts observations by their size.
type Histogram struct {
	Bounds []float64 // upper bounds in seconds, ascending; shared by all snapshots, not to be changed
	Counts []uint64  // observations up to each bound and over the one before; the last count is of those over all
	Sum    float64   // of all observations, in seconds
}

// NewHistogram returns a Histogram without observations.
func NewHistogram(bounds []float64) Histogram {
	return Histogram{Bounds: bounds, Counts: make([]uint64, len(bounds)+1)}
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
	CutOff        uint64            // of them by CloseTimeout or Close: the peer had not got everything, or not ended its side
	Refusals      map[string]uint64 // connections refused, by reason: limit, fd_limit
	AcceptErrors  map[string]uint64 // errors of accept4, by name: EMFILE
	AcceptPauses  map[string]uint64 // by reason: full, error, refusals
	ListenersIdle int               // listeners that are not being accepted from

	ReadBytes    uint64
	SentBytes    uint64 // taken by the kernel, which is not "received"
	SentMessages uint64 // likewise
	Dropped      uint64 // messages that will never be sent, accepted or refused; all that a turn had collected when it was cut off
	Superseded   uint64 // urgent messages that a later one has replaced

	// Messages lost by policy, none of them in Dropped: for DropOldest, for DropNewest (and for
	// DropOldest and KeepLatest where there was no room otherwise), and replaced by a later one of
	// their key.
	DroppedOldest, DroppedNewest, Conflated uint64

	QueueBytes      int64 // in all outbound queues
	QueueMessages   int64
	QueueTotalBytes int64             // their bound
	Overflows       map[string]uint64 // messages that did not fit, by bound: queue, total

	Batches     uint64 // non-empty batches of events
	Events      uint64
	StaleEvents uint64 // events of a connection that was gone
	LoopTurns   uint64 // turns served by loops
	WorkerTurns uint64

	Panics uint64 // contained while serving a connection, calls of runtime.Goexit included

	WorkersBusy int           // serving a batch now
	WorkerBusy  time.Duration // time spent serving, all workers
	QueueLen    int           // connections waiting for a worker
	QueueWait   Histogram     // until a worker took them
}

// Stats returns a snapshot. Its parts are read one after the other.
func (r *Reactor) Stats() Stats {
	s := Stats{
		Conns:           int(r.conns.Load()),
		MaxConns:        r.cfg.MaxConns,
		Refused:         int(r.refused.Load()),
		Loops:           len(r.loops),
		Workers:         len(r.pool.workers),
		Accepted:        r.stats.accepted.Load(),
		Closed:          r.stats.closed.Load(),
		CutOff:          r.stats.cutOff.Load(),
		Refusals:        r.stats.refusals.Load(),
		AcceptErrors:    r.stats.acceptErrors.Load(),
		AcceptPauses:    r.stats.pauses.Load(),
		ListenersIdle:   int(r.acceptor.resting.Load()),
		SentBytes:       r.output.stats.sentBytes.Load(),
		SentMessages:    r.output.stats.sentMessages.Load(),
		Dropped:         r.output.stats.dropped.Load(),
		Superseded:      r.output.stats.superseded.Load(),
		DroppedOldest:   r.output.stats.droppedOldest.Load(),
		DroppedNewest:   r.output.stats.droppedNewest.Load(),
		Conflated:       r.output.stats.conflated.Load(),
		Panics:          r.stats.panics.Load(),
		QueueBytes:      r.output.bytes.Load(),
		QueueMessages:   r.output.messages.Load(),
		QueueTotalBytes: r.cfg.QueueTotalBytes,
		Overflows:       r.output.stats.overflows.Load(),
		QueueWait:       NewHistogram(waitBounds),
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
		s.QueueWait.Sum += t.stats.wait.AddTo(s.QueueWait.Counts)
	}
	for _, w := range r.pool.workers {
		s.QueueLen += int(w.waiting.Load())
	}
	return s
}
