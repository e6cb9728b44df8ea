package hub_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"wsgateway/internal/hub"
)

// recorder keeps the order in which one member sees everything, and of all others a hash of it.
// Deliveries to one member come one after the other, which the race detector checks.
type recorder struct {
	first  []note
	hashes []uint64
}

func (r *recorder) deliver(m hub.Member, msg hub.Message) bool {
	n := msg.(note)
	if m.Index() == 0 {
		r.first = append(r.first, n)
	}
	h := &r.hashes[m.Index()]
	*h = (*h ^ uint64(n.publisher)<<32 ^ uint64(n.n)) * 0x9e3779b97f4a7c15
	*h ^= *h >> 29
	return true
}

// All members of a channel see all publications in the order of their numbers, whoever published.
func TestOneOrderForAll(t *testing.T) {
	for _, tt := range []struct{ members, parts, publishers, each int }{
		{5000, 3, 2, 5000},
		{64, 3, 2, 5000},
		{65, 64, 4, 2000}, // many queues
		{1, 1, 8, 1000},
	} {
		t.Run(fmt.Sprintf("members=%d/publishers=%d", tt.members, tt.publishers), func(t *testing.T) {
			if raceDetector {
				tt.each /= 20
			}
			rec := &recorder{hashes: make([]uint64, tt.members)}
			h := startParts(t, tt.parts, rec.deliver)
			r := h.NewRegistry(nil)
			join(t, r, "c", make([]hub.Subscriptions, tt.members))

			numbers := make([][]uint64, tt.publishers) // of each publisher's messages
			var publishing sync.WaitGroup
			for p := range tt.publishers {
				publishing.Go(func() { numbers[p] = publish(t, r, p, tt.each, tt.members) })
			}
			publishing.Wait()
			if err := h.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}

			want := make([]note, tt.publishers*tt.each)
			for p, list := range numbers {
				if !slices.IsSorted(list) {
					t.Errorf("the numbers of publisher %d do not grow", p)
				}
				for n, sequence := range list {
					want[sequence-1] = note{p, n}
				}
			}
			if !slices.Equal(rec.first, want) {
				t.Errorf("the first member saw %d messages in another order than that of their numbers, want %d", len(rec.first), len(want))
			}
			for i, hash := range rec.hashes {
				if hash != rec.hashes[0] {
					t.Fatalf("member %d saw another order than the first", i)
				}
			}
			deliveries := uint64(tt.members * len(want))
			if st := h.Stats(); st.Published != uint64(len(want)) || st.Delivered != deliveries || st.Missed != 0 || st.Waiting != 0 || st.WaitingBytes != 0 {
				t.Errorf("stats %+v, want %d published, %d delivered, nothing missed or waiting", st, len(want), deliveries)
			}
		})
	}
}

// publish publishes n messages and returns their numbers.
func publish(t *testing.T, r *hub.Registry, publisher, n, members int) (numbers []uint64) {
	for i := range n {
		for {
			sequence, reached, err := r.Publish("c", note{publisher, i}, nil)
			if errors.Is(err, hub.ErrBusy) {
				runtime.Gosched()
				continue
			}
			if err != nil || reached != members {
				t.Errorf("Publish: %d reached, %v, want %d, nil", reached, err, members)
			}
			numbers = append(numbers, sequence)
			break
		}
	}
	return numbers
}

// While a channel grows from small to large, publications from before and after do not overtake each
// other.
func TestOrderWhileGrowing(t *testing.T) {
	const early, late, publishers = 40, 60, 3
	rounds := 300
	if raceDetector {
		rounds = 50
	}
	for range rounds {
		rec := &recorder{hashes: make([]uint64, early+late)}
		h := hub.New(hub.Config{Deliverer: deliverer(rec.deliver), Subscriptions: 1000, Publications: 1000, PublicationBytes: 1 << 20, Parts: 3})
		h.Start()
		r := h.NewRegistry(nil)
		subs := make([]hub.Subscriptions, early+late)
		join(t, r, "c", subs[:early])
		var work sync.WaitGroup
		for p := range publishers {
			work.Go(func() {
				for i := range 20 {
					if _, _, err := r.Publish("c", note{p, i}, nil); err != nil {
						t.Errorf("Publish: %v", err)
					}
				}
			})
		}
		for i := early; i < early+late; i++ {
			if _, err := r.Join(number(i), &subs[i], "c", 1); err != nil {
				t.Errorf("Join: %v", err)
			}
		}
		work.Wait()
		if err := h.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		h.Close()
		if len(rec.first) != 20*publishers {
			t.Fatalf("the first member saw %d messages, want %d", len(rec.first), 20*publishers)
		}
		for i, hash := range rec.hashes[:early] {
			if hash != rec.hashes[0] {
				t.Fatalf("member %d saw another order than the first", i)
			}
		}
	}
}

// All members see what is published to sets in one order, too.
func TestOneOrderForSets(t *testing.T) {
	const members, publishers, each = 32, 4, 2000
	rec := &recorder{hashes: make([]uint64, members)}
	h := hub.New(hub.Config{Deliverer: deliverer(rec.deliver), Publications: publishers * each, PublicationBytes: 1 << 20, Parts: members})
	t.Cleanup(h.Close)
	var publishing sync.WaitGroup
	for p := range publishers {
		publishing.Go(func() {
			for i := range each {
				if err := h.PublishTo(everybody(members), note{p, i}, nil); err != nil {
					t.Errorf("PublishTo: %v", err)
				}
			}
		})
	}
	h.Start()
	publishing.Wait()
	if err := h.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(rec.first) != publishers*each {
		t.Errorf("the first member saw %d messages, want %d", len(rec.first), publishers*each)
	}
	for i, hash := range rec.hashes {
		if hash != rec.hashes[0] {
			t.Fatalf("member %d saw another order than the first", i)
		}
	}
}

// everybody is the set of the members with indices below it.
type everybody uint32

func (n everybody) Scan(list []hub.Member, at, step uint32) ([]hub.Member, uint32, bool) {
	for ; at < uint32(n); at += step {
		if len(list) == cap(list) {
			return list, at, true
		}
		list = append(list, number(int(at)))
	}
	return list, at, false
}
