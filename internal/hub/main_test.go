package hub_test

import (
	"testing"

	"go.uber.org/goleak"

	"wsgateway/internal/hub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// note is a message: the n-th of some publisher.
type note struct{ publisher, n int }

func (note) Size() int { return 10 }

// deliverer is a function as a hub.Deliverer.
type deliverer func(m hub.Member, msg hub.Message) bool

func (d deliverer) Deliver(m hub.Member, msg hub.Message) bool { return d(m, msg) }

// start starts a hub with 3 fan-out goroutines, which ends with the test.
func start(t testing.TB, to deliverer) *hub.Hub { return startParts(t, 3, to) }

func startParts(t testing.TB, parts int, to deliverer) *hub.Hub {
	t.Helper()
	h := hub.New(hub.Config{Deliverer: to, Subscriptions: 1 << 20, Publications: 10_000, PublicationBytes: 1 << 20, Parts: parts})
	h.Start()
	t.Cleanup(h.Close)
	return h
}

// number returns the number of the member at an index. A member's index is not its number.
func number(index int) hub.Member { return 7<<32 | hub.Member(index) }

// join has the members with the indices 0 to n-1 join a channel.
func join(t testing.TB, r *hub.Registry, channel string, subs []hub.Subscriptions) {
	t.Helper()
	for i := range subs {
		if joined, err := r.Join(number(i), &subs[i], channel, 10); !joined || err != nil {
			t.Fatalf("Join of member %d to %q: %v, %v, want true, nil", i, channel, joined, err)
		}
	}
}
