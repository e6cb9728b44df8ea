package session

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wsgateway/internal/waits"
)

// Clock has a server's time pass at once, so that a test of what takes a minute does not take one. It
// is the transport below the sessions, the reactor but for its clock. The sweeper goes on as usual.
type Clock struct {
	transport
	mu      sync.Mutex // the sweeper and tests advance the time
	sweeps  atomic.Int64
	stopped atomic.Bool
}

// UseClock gives a server that has not been started a Clock.
func UseClock(s *Server) *Clock {
	k := &Clock{transport: s.tr}
	s.tr = k
	return k
}

// Stop has the time stand still, but for Pass.
func (k *Clock) Stop() { k.stopped.Store(true) }

// Advance is the sweeper's.
func (k *Clock) Advance(d time.Duration) {
	if !k.stopped.Load() {
		k.advance(d)
	}
}

func (k *Clock) advance(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.transport.Advance(d)
}

// Sweep counts the sweeper's looks.
func (k *Clock) Sweep(part, parts int) {
	k.transport.Sweep(part, parts)
	k.sweeps.Add(1)
}

// Pass lets time go by, and waits until the sweeper has looked at everybody twice: at the second look
// it finds what the first has brought about.
func (k *Clock) Pass(t testing.TB, d time.Duration) {
	t.Helper()
	k.advance(d)
	n := k.sweeps.Load() + 2*sweepParts + 1
	waits.Eventually(t, func() bool { return k.sweeps.Load() >= n }, "the sweeper has looked at all clients twice")
}
