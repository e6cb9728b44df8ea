// Package slab keeps large numbers of equal records in chunks that never move.
//
// An [Array] is a growing array whose elements keep their addresses. A [Pool] hands out
// indices into such an array. Records without pointers cost the garbage collector nothing
// however many there are: a chunk of them is one object that is never scanned.
package slab

import (
	"sync"
	"sync/atomic"
)

const (
	chunkBits = 8
	// ChunkLen is how many elements are allocated at a time.
	ChunkLen = 1 << chunkBits
)

// Array is an array of up to a fixed number of elements, allocated in chunks on first use.
// Elements are never moved and never freed. At may run concurrently with Ensure; what the
// elements hold is the caller's to synchronise.
type Array[T any] struct {
	chunks []atomic.Pointer[[ChunkLen]T]
}

// NewArray returns an array for indices below limit. It costs 8 bytes per ChunkLen elements
// until they are used.
func NewArray[T any](limit int) *Array[T] {
	return &Array[T]{chunks: make([]atomic.Pointer[[ChunkLen]T], (limit+ChunkLen-1)>>chunkBits)}
}

// Len returns a number above every index that the array has room for.
func (a *Array[T]) Len() int { return len(a.chunks) << chunkBits }

// At returns element i, which an earlier Ensure must have covered.
func (a *Array[T]) At(i uint32) *T {
	return &a.chunks[i>>chunkBits].Load()[i&(ChunkLen-1)]
}

// Chunk returns the chunk that holds element i, or nil when it has not been allocated. It
// serves scans, which then cost one look-up per ChunkLen elements.
func (a *Array[T]) Chunk(i uint32) *[ChunkLen]T {
	return a.chunks[i>>chunkBits].Load()
}

// Ensure allocates the chunk that holds element i, if it has not been yet.
func (a *Array[T]) Ensure(i uint32) {
	if c := &a.chunks[i>>chunkBits]; c.Load() == nil {
		c.CompareAndSwap(nil, new([ChunkLen]T))
	}
}

// Pool is an Array with a list of its free elements. All methods may be called from any
// goroutine. Freed indices are handed out again last in, first out, which keeps the used
// ones dense.
type Pool[T any] struct {
	*Array[T]

	mu    sync.Mutex
	free  []uint32
	limit uint32
	high  atomic.Uint32 // indices handed out so far lie below; written under mu
	used  atomic.Int64
}

// NewPool returns a pool of at most limit elements.
func NewPool[T any](limit int) *Pool[T] {
	return &Pool[T]{Array: NewArray[T](limit), limit: uint32(limit)}
}

// Get returns the index of an element that nobody else has, and false when all are taken.
// The element holds what its last owner left in it, the zero value at first.
func (p *Pool[T]) Get() (uint32, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		p.used.Add(1)
		return i, true
	}
	i := p.high.Load()
	if i >= p.limit {
		return 0, false
	}
	p.Ensure(i)
	p.high.Store(i + 1)
	p.used.Add(1)
	return i, true
}

// Put gives element i back.
func (p *Pool[T]) Put(i uint32) {
	p.mu.Lock()
	p.free = append(p.free, i)
	p.used.Add(-1)
	p.mu.Unlock()
}

// High returns an index above every one that was ever handed out.
func (p *Pool[T]) High() uint32 { return p.high.Load() }

// Used returns how many elements are handed out.
func (p *Pool[T]) Used() int { return int(p.used.Load()) }
