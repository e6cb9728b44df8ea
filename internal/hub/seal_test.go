package hub_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wsgateway/internal/hub"
	"wsgateway/internal/waits"
)

// When Drain returns every publication that was accepted has been delivered, and none is accepted any more.
func TestDrainDeliversWhatWasAccepted(t *testing.T) {
	for _, members := range []int{3, 64, 200} {
		t.Run(fmt.Sprintf("members=%d", members), func(t *testing.T) {
			for range 20 {
				var delivered, accepted atomic.Int64
				h := hub.New(hub.Config{
					Deliverer:     deliverer(func(hub.Member, hub.Message) bool { delivered.Add(1); return true }),
					Subscriptions: 1000, Publications: 1000, PublicationBytes: 1 << 20, Parts: 3,
				})
				h.Start()
				r := h.NewRegistry(nil)
				join(t, r, "c", make([]hub.Subscriptions, members))
				var publishing sync.WaitGroup
				for p := range 4 {
					publishing.Go(func() {
						for i := 0; ; i++ {
							switch _, _, err := r.Publish("c", note{p, i}, nil); {
							case err == nil:
								accepted.Add(1)
							case errors.Is(err, hub.ErrBusy):
								runtime.Gosched()
							case errors.Is(err, hub.ErrSealed):
								return
							default:
								t.Errorf("Publish: %v", err)
								return
							}
						}
					})
				}
				waits.Eventually(t, func() bool { return accepted.Load() > 100 }, "100 publications")
				if err := h.Drain(t.Context()); err != nil {
					t.Fatal(err)
				}
				got := delivered.Load() // before the publishers have noticed
				publishing.Wait()
				if want := accepted.Load() * int64(members); got != want || delivered.Load() != want {
					t.Fatalf("%d delivered when Drain returned, %d later, want %d of what was accepted", got, delivered.Load(), want)
				}
				h.Close()
			}
		})
	}
}

// Drain waits no longer than its context, and may be called again.
func TestDrainIsBounded(t *testing.T) {
	for _, members := range []int{1, 100} {
		gate := make(chan struct{})
		h := start(t, func(hub.Member, hub.Message) bool { <-gate; return true })
		r := h.NewRegistry(nil)
		join(t, r, "c", make([]hub.Subscriptions, members))
		published := make(chan error, 1)
		go func() {
			_, _, err := r.Publish("c", note{}, nil)
			published <- err
		}()
		if members > 64 {
			published <- <-published // it does not wait for the delivery
		}
		waits.Eventually(t, func() bool { return h.InFlight() > 0 }, "a publication in flight")
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if err := h.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain while a delivery is stuck: %v, want its context's error", err)
		}
		cancel()
		close(gate)
		if err := h.Drain(t.Context()); err != nil {
			t.Errorf("Drain again: %v", err)
		}
		if err := <-published; err != nil {
			t.Errorf("Publish: %v", err)
		}
	}
}

// Close does not wait for a publisher: it may be a handler that Close's caller waits for, or the other way
// round.
func TestCloseDoesNotWaitForPublishers(t *testing.T) {
	gate := make(chan struct{})
	var once sync.Once
	delivering := make(chan struct{})
	h := start(t, func(hub.Member, hub.Message) bool {
		once.Do(func() { close(delivering) })
		<-gate
		return true
	})
	r := h.NewRegistry(nil)
	join(t, r, "c", make([]hub.Subscriptions, 2))
	var publishing sync.WaitGroup
	for range 2 { // one delivers, one waits for its turn
		publishing.Go(func() { _, _, _ = r.Publish("c", note{}, nil) })
	}
	<-delivering
	h.Close()
	close(gate)
	publishing.Wait()
	if err := h.Drain(t.Context()); err != nil {
		t.Errorf("Drain after Close: %v", err)
	}
}

// Close drops what waits, whatever publishers do meanwhile, and leaves no channel behind.
func TestCloseWhilePublishing(t *testing.T) {
	const members = 100
	for range 50 {
		h := hub.New(hub.Config{
			Deliverer:     deliverer(func(hub.Member, hub.Message) bool { return true }),
			Subscriptions: 1000, Publications: 100, PublicationBytes: 1 << 20, Parts: 2,
		})
		h.Start()
		r := h.NewRegistry(nil)
		subs := make([]hub.Subscriptions, members)
		join(t, r, "c", subs)
		var publishing sync.WaitGroup
		var published atomic.Int64
		for p := range 3 {
			publishing.Go(func() {
				for i := 0; ; i++ {
					if _, _, err := r.Publish("c", note{p, i}, nil); errors.Is(err, hub.ErrSealed) {
						return
					}
					published.Add(1)
				}
			})
		}
		waits.Eventually(t, func() bool { return published.Load() > 10 }, "10 publications")
		h.Close()
		publishing.Wait()
		for i := range subs {
			h.LeaveAll(number(i), &subs[i])
		}
		if st := h.Stats(); st.Waiting != 0 || st.WaitingBytes != 0 || st.Channels != 0 || h.InFlight() != 0 {
			t.Fatalf("%d in flight, stats %+v, want nothing left", h.InFlight(), st)
		}
	}
}

// A panic of Deliver is its caller's affair. The hub goes on: the channel can be used and can end, and Drain
// does not wait for the publication.
func TestPanicOfDeliver(t *testing.T) {
	fail := true
	h := start(t, func(hub.Member, hub.Message) bool {
		if fail {
			panic("asked to")
		}
		return true
	})
	r := h.NewRegistry(nil)
	subs := make([]hub.Subscriptions, 2)
	join(t, r, "c", subs)
	func() {
		defer func() { _ = recover() }()
		_, _, _ = r.Publish("c", note{}, nil)
		t.Error("Publish returned, want the panic")
	}()
	fail = false
	if seq, reached, err := r.Publish("c", note{}, nil); seq != 2 || reached != 2 || err != nil {
		t.Errorf("Publish: %d, %d, %v, want 2, 2, nil", seq, reached, err)
	}
	for i := range subs {
		h.LeaveAll(number(i), &subs[i])
	}
	if n := h.Stats().Channels; n != 0 {
		t.Errorf("%d channels are left, want 0", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), waits.Patience)
	defer cancel()
	if err := h.Drain(ctx); err != nil {
		t.Errorf("Drain: %v, want nil", err)
	}
}
