package hub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"wsgateway/internal/hub"
)

// model is what a hub with two registries should do, and what its members have seen.
type model struct {
	h          *hub.Hub
	registries [2]*hub.Registry
	subs       [members]hub.Subscriptions
	published  int

	memberships map[place]*history

	mu   sync.Mutex
	seen map[place][]int // messages
}

const members = 100

// place is a channel as one member sees it.
type place struct {
	member, registry int
	channel          string
}

// history is what has been published during each of a member's memberships of a channel.
type history struct {
	in       bool
	expected [][]int // messages
	last     uint64  // number of the last of them, 0 for none
}

// posted is a message that knows which channel it is for.
type posted struct {
	registry int
	channel  string
	n        int
}

func (posted) Size() int { return 1 }

func (md *model) Deliver(m hub.Member, msg hub.Message) bool {
	p := msg.(posted)
	md.mu.Lock()
	defer md.mu.Unlock()
	at := place{int(m.Index()), p.registry, p.channel}
	md.seen[at] = append(md.seen[at], p.n)
	return true
}

func (md *model) at(member, registry int, channel string) *history {
	p := place{member, registry, channel}
	if md.memberships[p] == nil {
		md.memberships[p] = &history{}
	}
	return md.memberships[p]
}

func (md *model) count(registry int, channel string) (n int) {
	for p, hist := range md.memberships {
		if p.registry == registry && p.channel == channel && hist.in {
			n++
		}
	}
	return n
}

func (md *model) join(t *rapid.T, member, registry int, channel string) {
	hist := md.at(member, registry, channel)
	joined, err := md.registries[registry].Join(number(member), &md.subs[member], channel, 10)
	if joined == hist.in || err != nil {
		t.Fatalf("Join: %v, %v, want %v, nil", joined, err, !hist.in)
	}
	if joined {
		hist.in, hist.last = true, 0
		hist.expected = append(hist.expected, nil)
	}
}

func (md *model) leave(t *rapid.T, member, registry int, channel string) {
	hist := md.at(member, registry, channel)
	if left := md.registries[registry].Leave(number(member), &md.subs[member], channel); left != hist.in {
		t.Fatalf("Leave: %v, want %v", left, hist.in)
	}
	hist.in = false
}

func (md *model) publish(t *rapid.T, registry int, channel string, except []hub.Member) {
	n := md.published
	md.published++
	before := md.count(registry, channel)
	sequence, _, err := md.registries[registry].Publish(channel, posted{registry, channel, n}, except)
	if err != nil || before > 0 && sequence == 0 {
		t.Fatalf("Publish: number %d, %v", sequence, err)
	}
	for p, hist := range md.memberships {
		if p.registry != registry || p.channel != channel || !hist.in {
			continue
		}
		if hist.last != 0 && sequence != hist.last+1 {
			t.Fatalf("number %d follows %d", sequence, hist.last)
		}
		hist.last = sequence
		if !slices.Contains(except, number(p.member)) {
			k := len(hist.expected) - 1
			hist.expected[k] = append(hist.expected[k], n)
		}
	}
}

func (md *model) check(t *rapid.T) {
	for registry, r := range md.registries {
		for _, channel := range []string{"a", "b"} {
			want := md.count(registry, channel)
			if got := r.Count(channel); got != want {
				t.Fatalf("%d members, want %d", got, want)
			}
			found := map[hub.Member]bool{}
			for m := range r.Members(channel) {
				found[m] = true
				if !md.at(int(m.Index()), registry, channel).in {
					t.Fatalf("%d is found among the members", m.Index())
				}
			}
			if len(found) != want {
				t.Fatalf("%d different members are found, want %d", len(found), want)
			}
		}
	}
}

// finish drains the hub and compares what members saw with what they should have.
func (md *model) finish(t *rapid.T) {
	if err := md.h.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := md.registries[0].Publish("a", posted{}, nil); !errors.Is(err, hub.ErrSealed) {
		t.Fatalf("Publish after Drain: %v, want ErrSealed", err)
	}
	if err := md.h.PublishTo(everybody(members), posted{}, nil); !errors.Is(err, hub.ErrSealed) {
		t.Fatalf("PublishTo after Drain: %v, want ErrSealed", err)
	}
	for p, hist := range md.memberships {
		rest := md.seen[p]
		for k, want := range hist.expected {
			n := 0
			for n < len(want) && n < len(rest) && rest[n] == want[n] {
				n++
			}
			if k == len(hist.expected)-1 && hist.in && n < len(want) {
				t.Fatalf("%+v: saw %v of %v", p, md.seen[p], hist.expected)
			}
			rest = rest[n:] // a member that left may have got only the beginning
		}
		if len(rest) > 0 {
			t.Fatalf("%+v: saw %v, which is not the beginnings of %v", p, md.seen[p], hist.expected)
		}
	}
}

// Each member sees, for each of its memberships, what is published from Join to Leave, in order and
// without a gap. What still waited when it left may be missing at the end.
func TestMembershipModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		md := &model{memberships: map[place]*history{}, seen: map[place][]int{}}
		md.h = hub.New(hub.Config{Deliverer: md, Subscriptions: 1 << 16, Publications: 1000, PublicationBytes: 1000, Parts: 3})
		md.h.Start()
		defer md.h.Close()
		md.registries[0], md.registries[1] = md.h.NewRegistry(nil), md.h.NewRegistry(nil)
		member := rapid.IntRange(0, members-1)
		where := func(t *rapid.T) (int, string) {
			return rapid.IntRange(0, 1).Draw(t, "registry"), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "channel")
		}
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				registry, channel := where(t)
				md.join(t, member.Draw(t, "member"), registry, channel)
			},
			"join many": func(t *rapid.T) {
				registry, channel := where(t)
				for i := range rapid.IntRange(0, members).Draw(t, "members") {
					md.join(t, i, registry, channel)
				}
			},
			"leave": func(t *rapid.T) {
				registry, channel := where(t)
				md.leave(t, member.Draw(t, "member"), registry, channel)
			},
			"leave and come back": func(t *rapid.T) {
				registry, channel := where(t)
				m := member.Draw(t, "member")
				md.leave(t, m, registry, channel)
				md.join(t, m, registry, channel)
			},
			"leave all": func(t *rapid.T) {
				m := member.Draw(t, "member")
				md.h.LeaveAll(number(m), &md.subs[m])
				for p, hist := range md.memberships {
					if p.member == m {
						hist.in = false
					}
				}
			},
			"all leave": func(t *rapid.T) {
				registry, channel := where(t)
				for i := range members {
					md.leave(t, i, registry, channel)
				}
			},
			"publish": func(t *rapid.T) {
				registry, channel := where(t)
				md.publish(t, registry, channel, nil)
			},
			"publish to others": func(t *rapid.T) {
				registry, channel := where(t)
				md.publish(t, registry, channel, []hub.Member{number(member.Draw(t, "except"))})
			},
			"": md.check,
		})
		md.finish(t)
	})
}

// Names returns the channels of one registry, the last one joined first.
func TestNames(t *testing.T) {
	h := start(t, func(hub.Member, hub.Message) bool { return true })
	rooms, users := h.NewRegistry(nil), h.NewRegistry(nil)
	var subs hub.Subscriptions
	for i := range 3 {
		for _, r := range []*hub.Registry{rooms, users} {
			if _, err := r.Join(number(1), &subs, fmt.Sprint(i), 3); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := rooms.Join(number(1), &subs, "more", 3); !errors.Is(err, hub.ErrTooMany) {
		t.Errorf("Join beyond the limit of one registry: %v, want ErrTooMany", err)
	}
	users.Leave(number(1), &subs, "1")
	if got := fmt.Sprint(slices.Collect(rooms.Names(subs)), slices.Collect(users.Names(subs))); got != "[2 1 0] [2 0]" {
		t.Errorf("in %s, want [2 1 0] [2 0]", got)
	}
	h.LeaveAll(number(1), &subs)
	if st := h.Stats(); subs != 0 || st.Subscriptions != 0 || st.Channels != 0 {
		t.Errorf("after LeaveAll: %d, %+v, want nothing", subs, st)
	}
}
