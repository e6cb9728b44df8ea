package hub

import (
	"context"
	"errors"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"wsgateway/internal/counter"
	"wsgateway/internal/slab"
)

var (
	// ErrBusy is returned when too many publications wait to be delivered. No member gets the
	// refused one.
	ErrBusy = errors.New("hub: too many publications wait")
	// ErrSealed is returned after Seal, Drain or Close. No member gets the publication.
	ErrSealed = errors.New("hub: no publications are taken any more")
	// ErrTooMany is returned when a member has reached its limit of memberships, or all members
	// together have reached theirs.
	ErrTooMany = errors.New("hub: too many memberships")
)

// Member is the number of a member. Its lower half is its index: members that exist at the same time
// have different ones, and they are dense. Zero is not a member.
type Member uint64

// Index returns the lower half.
func (m Member) Index() uint32 { return uint32(m) }

// Message is what is published. It must not change.
type Message interface {
	// Size is how many bytes the message counts for while it waits.
	Size() int
}

// Deliverer passes messages on to members.
type Deliverer interface {
	// Deliver passes msg on to m and reports whether m, or a queue of m's, has taken it. It must not
	// block, call the hub, or run code that might. For one member the calls for one channel come one
	// after the other; calls for several channels may overlap.
	Deliver(m Member, msg Message) bool
}

// Config holds the settings of a Hub. All are required, except Parts.
type Config struct {
	Deliverer Deliverer

	Subscriptions    int   // bound of the memberships of all members; at most 2^30 count
	Publications     int   // bound of the publications that wait for the fan-out goroutines
	PublicationBytes int64 // bound of their sizes together
	Parts            int   // fan-out goroutines; 0 means GOMAXPROCS
}

// Hub delivers publications. New makes one; Start begins to serve large channels.
type Hub struct {
	to    Deliverer
	parts int
	limit int64 // of waiting; each queue has room for as many
	bytes int64 // bound of waitingBytes

	channels   *slab.Pool[atomic.Pointer[channel]]
	subs       *slab.Pool[subscription]
	registries []*Registry // written before the hub is used

	queues []chan *publication // one a fan-out goroutine
	sets   sync.Mutex          // orders the publications to sets in the queues
	stop   chan struct{}       // closed by Close
	ending sync.Once
	ended  sync.WaitGroup // the fan-out goroutines

	sealed   atomic.Bool
	closed   atomic.Bool
	inFlight counter.Sharded // publications between begin and end; up and down on the same shard
	idle     chan struct{}   // closed once the hub is sealed and nothing is in flight
	idling   sync.Once

	waiting      atomic.Int64
	waitingBytes atomic.Int64
	published    counter.Sharded
	refused      atomic.Uint64
	delivered    counter.Sharded
	missed       counter.Sharded
}

// New returns a hub without members.
func New(cfg Config) *Hub {
	if cfg.Parts == 0 {
		cfg.Parts = runtime.GOMAXPROCS(0)
	}
	subs := min(cfg.Subscriptions, maxSubscriptions)
	h := &Hub{
		to: cfg.Deliverer, parts: cfg.Parts, limit: int64(cfg.Publications), bytes: cfg.PublicationBytes,
		channels: slab.NewPool[atomic.Pointer[channel]](subs),
		subs:     slab.NewPool[subscription](subs),
		stop:     make(chan struct{}),
		idle:     make(chan struct{}),
	}
	for range cfg.Parts {
		h.queues = append(h.queues, make(chan *publication, cfg.Publications))
	}
	return h
}

// Start starts the fan-out goroutines. Close ends them.
func (h *Hub) Start() {
	for i := range h.queues {
		h.ended.Go(func() { h.run(uint32(i)) })
	}
}

// Seal refuses publications from now on, with ErrSealed. Those that have been accepted are delivered.
func (h *Hub) Seal() {
	h.sealed.Store(true)
	h.checkIdle()
}

// Drain seals the hub and waits until every publication that was accepted has been delivered to all
// of its members. The error is ctx.Err() if ctx ended before.
func (h *Hub) Drain(ctx context.Context) error {
	h.Seal()
	select {
	case <-h.idle:
		return nil
	default:
	}
	select {
	case <-h.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close seals the hub and ends its goroutines, after the 64 deliveries that each may be at. Publications
// that wait are dropped. Close does not wait for publishers, so that a publisher may wait for Close.
func (h *Hub) Close() {
	h.sealed.Store(true)
	h.closed.Store(true)
	h.ending.Do(func() { close(h.stop) })
	h.ended.Wait()
	h.drop()
	h.checkIdle()
}

// begin counts a publication as in flight, unless the hub is sealed. A Drain that starts later waits for end.
func (h *Hub) begin(shard uint32) bool {
	h.inFlight.Add(shard, 1) // before the look: Seal stores before it counts
	if h.sealed.Load() {
		h.end(shard)
		return false
	}
	return true
}

func (h *Hub) end(shard uint32) {
	h.inFlight.Add(shard, math.MaxUint64) // less one
	if h.sealed.Load() {
		h.checkIdle()
	}
}

func (h *Hub) checkIdle() {
	if h.inFlight.Load() == 0 {
		h.idling.Do(func() { close(h.idle) })
	}
}

// Stats are gauges and counters of a hub.
type Stats struct {
	Channels      int // that exist, of all registries; see Registry.Used
	Subscriptions int // memberships, of all registries

	Waiting           int   // publications in the queues
	WaitingLimit      int   // its bound
	WaitingBytes      int64 // their sizes together
	WaitingBytesLimit int64 // its bound

	Published uint64 // publications accepted
	Refused   uint64 // publications refused with ErrBusy
	Delivered uint64 // deliveries that a member has taken
	Missed    uint64 // deliveries that a member has not taken
}

// Waiting returns Stats.Waiting without the cost of a snapshot.
func (h *Hub) Waiting() int { return int(h.waiting.Load()) }

// Stats returns a snapshot. Its parts are read one after the other.
func (h *Hub) Stats() Stats {
	return Stats{
		Channels:          h.channels.Used(),
		Subscriptions:     h.subs.Used(),
		Waiting:           h.Waiting(),
		WaitingLimit:      int(h.limit),
		WaitingBytes:      h.waitingBytes.Load(),
		WaitingBytesLimit: h.bytes,
		Published:         h.published.Load(),
		Refused:           h.refused.Load(),
		Delivered:         h.delivered.Load(),
		Missed:            h.missed.Load(),
	}
}
