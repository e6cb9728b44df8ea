package lanes_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"wsgateway/internal/lanes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	pool   = lanes.Pool[uint64, string]
	config = lanes.Config[uint64]
)

// newPool returns a pool that is closed, and must be without calls, at the end of the test.
func newPool(t *testing.T, cfg config) *pool {
	t.Helper()
	p, err := lanes.New[uint64, string](cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left := p.Close(context.Background()); left.Busy+left.Waiting > 0 {
			t.Errorf("after Close: %+v", left)
		}
	})
	return p
}

func wantStats(t *testing.T, p *pool, size, busy, waiting int) {
	t.Helper()
	if got, want := p.Stats(), (lanes.Stats{Size: size, Busy: busy, Waiting: waiting}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

// held is a call that runs until the test releases it.
type held struct{ entered, leave chan struct{} }

func hold(p *pool, key uint64) held {
	h := held{make(chan struct{}), make(chan struct{})}
	p.Post(key, func() { close(h.entered); <-h.leave })
	return h
}

func (h held) running() bool {
	select {
	case <-h.entered:
		return true
	default:
		return false
	}
}

// The calls of a key run one at a time, in order; those of another key do not wait for them.
func TestOneAtATimeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, config{Size: 4})
		var order []int
		var first held
		for i := range 5 {
			if i == 0 {
				first = hold(p, 1)
			}
			p.Post(1, func() { order = append(order, i) })
		}
		other := hold(p, 2)
		synctest.Wait()
		if !first.running() || !other.running() || len(order) > 0 {
			t.Fatalf("first runs: %v, other runs: %v, later calls made: %v", first.running(), other.running(), order)
		}
		wantStats(t, p, 4, 2, 0)
		close(first.leave)
		synctest.Wait()
		if want := []int{0, 1, 2, 3, 4}; !slices.Equal(order, want) {
			t.Errorf("calls were made in the order %v, want %v", order, want)
		}
		if p.Busy(1) || !p.Busy(2) {
			t.Errorf("busy: %v and %v, want false and true", p.Busy(1), p.Busy(2))
		}
		close(other.leave)
	})
}

// However many keys have calls, no more than Size run at a time, and all are made.
func TestSizeBoundsCalls(t *testing.T) {
	p := newPool(t, config{Size: 4})
	const keys, each = 50, 200
	var now, calls atomic.Int64
	last := make([]int, keys)
	var all sync.WaitGroup
	all.Add(keys * each)
	for key := range keys {
		go func() {
			for i := range each {
				p.Post(uint64(key), func() {
					defer all.Done()
					if n := now.Add(1); n > 4 {
						t.Errorf("%d calls at a time, want 4 at most", n)
					}
					if last[key] != i { // without a lock: calls of one key never overlap
						t.Errorf("key %d: call %d came as number %d", key, i, last[key])
					}
					last[key]++
					calls.Add(1)
					runtime.Gosched()
					now.Add(-1)
				})
			}
		}()
	}
	all.Wait()
	if calls.Load() != keys*each {
		t.Errorf("%d calls, want %d", calls.Load(), keys*each)
	}
}

// A key with many calls does not starve the others: after each call it goes behind them.
func TestLanesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, config{Size: 1})
		first := hold(p, 1)
		var order []string
		for key := uint64(2); key <= 4; key++ {
			for i := range 2 {
				p.Post(key, func() { order = append(order, fmt.Sprint(key, ".", i)) })
			}
		}
		synctest.Wait()
		wantStats(t, p, 1, 1, 3)
		close(first.leave)
		synctest.Wait()
		if want := []string{"2.0", "3.0", "4.0", "2.1", "3.1", "4.1"}; !slices.Equal(order, want) {
			t.Errorf("order %q, want %q", order, want)
		}
	})
}

// A pool is full when as many lanes wait as its configuration says, however many calls they have.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, config{Size: 1, MaxWaiting: 2})
		endless := newPool(t, config{Size: 1})
		first, other := hold(p, 1), hold(endless, 1)
		for key := uint64(2); key <= 3; key++ {
			if p.Full() {
				t.Errorf("full although %+v", p.Stats())
			}
			for range 3 {
				p.Post(key, func() {})
				endless.Post(key, func() {})
			}
		}
		if !p.Full() || endless.Full() {
			t.Errorf("full: %v, without a bound: %v, want true and false", p.Full(), endless.Full())
		}
		p.Forget(3)
		if p.Full() {
			t.Errorf("a forgotten lane still fills the pool: %+v", p.Stats())
		}
		close(first.leave)
		close(other.leave)
	})
}

// Calls that have not begun are dropped by Forget; one that runs goes on, and its lane is drained.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var drained, made []uint64
		p := newPool(t, config{Size: 1, Drained: func(key uint64) { drained = append(drained, key) }})
		first := hold(p, 0)
		for key := range uint64(20) {
			p.Post(key, func() { made = append(made, key) })
		}
		synctest.Wait()
		for key := range uint64(19) {
			p.Forget(key)
			if p.Busy(key) != (key == 0) {
				t.Errorf("key %d is busy: %v", key, p.Busy(key))
			}
		}
		p.Forget(99) // unknown
		wantStats(t, p, 1, 1, 1)
		close(first.leave)
		synctest.Wait()
		if !slices.Equal(made, []uint64{19}) || !slices.Equal(drained, []uint64{0, 19}) {
			t.Errorf("calls of %v were made, and %v were drained, want 19, and 0 and 19", made, drained)
		}
		p.Post(3, func() { made = append(made, 3) })
		synctest.Wait()
		if !slices.Equal(made, []uint64{19, 3}) {
			t.Errorf("a forgotten key got no call: %v", made)
		}
	})
}

// A tombstone can be read and changed until the last call has returned.
func TestTombstone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, config{Size: 1})
		first := hold(p, 1)
		if v, ok := p.Tombstone(1); ok {
			t.Errorf("tombstone %q before the end", v)
		}
		if p.UpdateTombstone(1, func(v *string) { *v = "early" }) || p.UpdateTombstone(2, func(v *string) { *v = "never" }) {
			t.Error("there was a tombstone to change")
		}
		leave, seen := make(chan struct{}), ""
		p.PostLast(1, "ended", func() {
			seen, _ = p.Tombstone(1)
			<-leave
		})
		if v, ok := p.Tombstone(1); !ok || v != "ended" {
			t.Errorf("tombstone %q, %v, want ended", v, ok)
		}
		if !p.UpdateTombstone(1, func(v *string) { *v += ", changed" }) {
			t.Error("there is no tombstone to change")
		}
		close(first.leave)
		synctest.Wait()
		if v, ok := p.Tombstone(1); !ok || v != "ended, changed" || seen != v {
			t.Errorf("tombstone %q, %v while the last call runs, which saw %q", v, ok, seen)
		}
		close(leave)
		synctest.Wait()
		if v, ok := p.Tombstone(1); ok {
			t.Errorf("tombstone %q after the last call", v)
		}
		if p.UpdateTombstone(1, func(v *string) { *v = "late" }) {
			t.Error("there was a tombstone to change after the last call")
		}
	})
}

func TestRefusedConfig(t *testing.T) {
	for _, cfg := range []config{{}, {Size: -1}, {Size: 1, MaxWaiting: -1}, {Size: 1, IdleTimeout: -1}} {
		if _, err := lanes.New[uint64, string](cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}
