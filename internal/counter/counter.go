// Package counter holds counters that are cheap to add to from many goroutines.
package counter

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Sharded is a counter that connections of different index add to without sharing a cache
// line, as a rule.
type Sharded [8]struct {
	n atomic.Uint64
	_ [56]byte
}

// Add adds n on behalf of connection index.
func (s *Sharded) Add(index uint32, n uint64) { s[index%uint32(len(s))].n.Add(n) }

// Load returns the sum.
func (s *Sharded) Load() (n uint64) {
	for i := range s {
		n += s[i].n.Load()
	}
	return n
}

// Labelled counts rare things by name. The names are few and never a client's.
type Labelled struct {
	mu sync.Mutex
	m  map[string]uint64
}

// Inc adds one to name.
func (l *Labelled) Inc(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m == nil {
		l.m = make(map[string]uint64)
	}
	l.m[name]++
}

// Load returns a copy of all counts; nil when there are none.
func (l *Labelled) Load() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.m)
}

// Histogram counts observations by upper bound. The bounds are the caller's, ascending, in
// seconds, at most 15.
type Histogram struct {
	counts [16]atomic.Uint64
	sum    atomic.Uint64 // nanoseconds
}

// Observe records n equal observations.
func (h *Histogram) Observe(bounds []float64, nanoseconds int64, n uint64) {
	i, s := 0, float64(nanoseconds)/1e9
	for i < len(bounds) && s > bounds[i] {
		i++
	}
	h.counts[i].Add(n)
	h.sum.Add(uint64(max(0, nanoseconds)) * n)
}

// AddTo adds the observations up to each bound, and those above all of them, to counts. It returns the sum of
// all, in seconds.
func (h *Histogram) AddTo(counts []uint64) (sum float64) {
	for i := range counts {
		counts[i] += h.counts[i].Load()
	}
	return float64(h.sum.Load()) / 1e9
}
