package session

import (
	"errors"
	"sync/atomic"

	"github.com/gobwas/pool/pbytes"
)

// errInbound is returned when all clients together would hold more incomplete input than
// Config.InboundBytes allows.
var errInbound = errors.New("session: memory for incomplete messages is used up")

// buffers lends pooled memory for incomplete input, and keeps the sum of it within a bound.
// It implements wsproto.Buffers.
type buffers struct {
	pool  *pbytes.Pool
	limit int64
	used  atomic.Int64
}

const minBuffer, maxPooled = 256, 64 << 10

func newBuffers(limit int64) *buffers {
	return &buffers{pool: pbytes.New(minBuffer, maxPooled), limit: limit}
}

// pressure returns by what the time is divided in which clients have to complete their messages: 1 while memory is
// there, more when it is nearly used up.
func (b *buffers) pressure() int {
	switch used := b.used.Load(); {
	case used >= b.limit-b.limit/16:
		return 16
	case used >= b.limit-b.limit/4:
		return 4
	}
	return 1
}

// Grow implements wsproto.Buffers. Capacities double, so that appending is linear in time.
func (b *buffers) Grow(p []byte, n int) ([]byte, error) {
	if cap(p)-len(p) >= n {
		return p, nil
	}
	want := max(len(p)+n, 2*cap(p), minBuffer)
	if b.used.Add(int64(want)) > b.limit {
		b.used.Add(-int64(want))
		return p, errInbound
	}
	q := b.pool.GetCap(want)[:0]
	b.used.Add(int64(cap(q) - want)) // the pool rounds up
	q = append(q, p...)
	b.Free(p)
	return q, nil
}

// Free implements wsproto.Buffers.
func (b *buffers) Free(p []byte) {
	if cap(p) == 0 {
		return
	}
	b.used.Add(-int64(cap(p)))
	b.pool.Put(p)
}
