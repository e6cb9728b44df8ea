package hub_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"wsgateway/internal/hub"
)

// Many goroutines join, leave and publish at the same time. A member that stays sees everything; one that
// comes and goes has as many gaps as it went away; numbers only grow.
func TestComingAndGoing(t *testing.T) {
	const channels, stayers, movers, publishers = 3, 60, 20, 3
	messages, moves := 3000, 5000
	if raceDetector {
		messages, moves = 500, 500
	}
	total := channels * publishers * messages
	numbers := make([]uint64, total) // by message
	seen := make([][][]int, channels)
	h := start(t, func(m hub.Member, msg hub.Message) bool {
		n := msg.(note)
		list := &seen[n.publisher%channels][m.Index()]
		*list = append(*list, n.n)
		return true
	})
	r := h.NewRegistry(nil)
	subs := make([]hub.Subscriptions, stayers+movers)
	for ch := range channels {
		seen[ch] = make([][]int, stayers+movers)
		join(t, r, fmt.Sprint(ch), subs[:stayers])
	}

	var work sync.WaitGroup
	for p := range channels * publishers {
		work.Go(func() {
			for i := range messages {
				n := p*messages + i
				for {
					sequence, _, err := r.Publish(fmt.Sprint(p%channels), note{p, n}, nil)
					if err == nil {
						numbers[n] = sequence
						break
					}
					runtime.Gosched() // ErrBusy
				}
			}
		})
	}
	memberships := make([][channels]int, stayers+movers)
	for m := stayers; m < stayers+movers; m++ {
		work.Go(func() {
			for range moves {
				ch := rand.IntN(channels)
				if joined, err := r.Join(number(m), &subs[m], fmt.Sprint(ch), 10); err != nil {
					t.Errorf("Join: %v", err)
				} else if joined {
					memberships[m][ch]++
				} else {
					r.Leave(number(m), &subs[m], fmt.Sprint(ch))
				}
			}
			h.LeaveAll(number(m), &subs[m])
		})
	}
	work.Wait()
	if err := h.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for ch := range channels {
		for m, list := range seen[ch] {
			gaps, last := 0, uint64(0)
			for _, n := range list {
				if numbers[n] <= last {
					t.Fatalf("member %d of %d saw %d after %d", m, ch, numbers[n], last)
				}
				if numbers[n] != last+1 {
					gaps++
				}
				last = numbers[n]
			}
			if m < stayers && (gaps > 0 || last != uint64(publishers*messages)) {
				t.Errorf("member %d of %d, which stayed, has %d gaps and saw %d as the last, want 0 and %d", m, ch, gaps, last, publishers*messages)
			}
			if m >= stayers && gaps > memberships[m][ch] {
				t.Errorf("member %d of %d has %d gaps in %d memberships", m, ch, gaps, memberships[m][ch])
			}
		}
	}
}

// Occupied is told of the first and of the last member in turn, and nothing is left when all are gone.
func TestOccupiedAlternates(t *testing.T) {
	const members, channels = 8, 2
	var mu sync.Mutex
	now, changes := map[string]bool{}, 0
	h := start(t, func(hub.Member, hub.Message) bool { return true })
	r := h.NewRegistry(func(channel string, occupied bool) {
		mu.Lock()
		defer mu.Unlock()
		if now[channel] == occupied {
			t.Errorf("%s: told twice that occupied is %v", channel, occupied)
		}
		now[channel] = occupied
		changes++
	})
	other := h.NewRegistry(nil)
	var work sync.WaitGroup
	for m := range members {
		work.Go(func() {
			var subs hub.Subscriptions
			for i := range 2000 {
				channel := fmt.Sprint(i % channels)
				_, _ = r.Join(number(m), &subs, channel, 10)
				_, _ = other.Join(number(m), &subs, channel, 10)
				_, _, _ = r.Publish(channel, note{m, i}, nil)
				if i%3 == 0 {
					h.LeaveAll(number(m), &subs)
				} else {
					r.Leave(number(m), &subs, channel)
				}
			}
			h.LeaveAll(number(m), &subs)
		})
	}
	work.Wait()
	for channel, occupied := range now {
		if occupied {
			t.Errorf("%s is occupied in the end", channel)
		}
	}
	if changes < 2*channels {
		t.Errorf("%d changes", changes)
	}
	if st := h.Stats(); st.Channels != 0 || st.Subscriptions != 0 {
		t.Errorf("%d channels, %d subscriptions are left", st.Channels, st.Subscriptions)
	}
}
