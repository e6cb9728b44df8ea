package hub

import (
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"
)

type nobody struct{}

func (nobody) Deliver(Member, Message) bool { return true }

type empty struct{}

func (empty) Size() int { return 0 }

// While a channel grows and its members are spread over parts, no member that stays is passed over or found
// twice, and every member can leave.
func TestGrowth(t *testing.T) {
	const stay, come = smallLen / 2, 4 * smallLen
	for range 50 {
		h := New(Config{Deliverer: nobody{}, Subscriptions: 2 * (stay + come), Publications: 1, Parts: 3})
		r := h.NewRegistry(nil)
		subs := make([]Subscriptions, stay+come)
		join := func(i int) {
			if joined, err := r.Join(1<<32|Member(i), &subs[i], "x", 2); !joined || err != nil {
				t.Errorf("Join: %v, %v, want true, nil", joined, err)
			}
		}
		for i := range stay {
			join(i)
		}
		var work, look sync.WaitGroup
		stop := make(chan struct{})
		look.Go(func() {
			for {
				var seen [stay]int
				for m := range r.Members("x") {
					if i := m.Index(); i < stay {
						seen[i]++
					}
				}
				for i, n := range seen {
					if n != 1 {
						t.Errorf("member %d found %d times", i, n)
						return
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		for w := range 4 {
			work.Go(func() {
				for i := stay + w; i < stay+come; i += 4 {
					join(i)
					if rand.IntN(2) == 0 {
						m := 1<<32 | Member(i)
						if !r.Leave(m, &subs[i], "x") || r.Leave(m, &subs[i], "x") {
							t.Error("a member could not leave once")
						}
					}
				}
			})
		}
		work.Wait()
		close(stop)
		look.Wait()
		if r.shard("x").find("x").spread.Load() == nil {
			t.Fatal("the channel has not grown")
		}
		for i := range subs {
			h.LeaveAll(1<<32|Member(i), &subs[i])
		}
		if r.shard("x").find("x") != nil || h.Stats().Channels != 0 {
			t.Error("the channel is left")
		}
	}
}

// A channel that all leave is not forgotten while a publication to it is on its way. It could be overtaken
// on its way to a member that comes back.
func TestChannelWaitsForPublications(t *testing.T) {
	h := New(Config{Deliverer: nobody{}, Subscriptions: 1000, Publications: 10, PublicationBytes: 10, Parts: 1})
	r := h.NewRegistry(nil)
	subs := make([]Subscriptions, smallLen+1)
	for i := range subs {
		if _, err := r.Join(1<<32|Member(i), &subs[i], "x", 1); err != nil {
			t.Fatal(err)
		}
	}
	publish := func() {
		if _, _, err := r.Publish("x", empty{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	serve := func() { // what a fan-out goroutine does
		p := <-h.queues[0]
		h.servePart(p, &p.channel.spread.Load().parts[0], make([]Member, 0, smallLen))
		h.done(p)
	}
	publish()
	publish()
	for i := range subs {
		h.LeaveAll(1<<32|Member(i), &subs[i])
	}
	first := r.shard("x").find("x")
	if first == nil {
		t.Fatal("the channel is gone while publications are on their way")
	}
	if _, err := r.Join(1<<32, &subs[0], "x", 1); err != nil || r.shard("x").find("x") != first {
		t.Fatalf("another channel: %v", err)
	}
	serve()
	r.Leave(1<<32, &subs[0], "x")
	if r.shard("x").find("x") != first {
		t.Fatal("the channel is gone while one is on its way")
	}
	serve()
	if r.shard("x").find("x") != nil || h.Stats().Channels != 0 {
		t.Fatal("the channel is still there")
	}
	if _, err := r.Join(1<<32, &subs[0], "x", 1); err != nil || r.shard("x").find("x") == first {
		t.Fatalf("the same channel: %v", err)
	}
}

// gated is a Deliverer that waits in its first delivery, and notes which members it has been called for.
type gated struct {
	first         sync.Once
	reached, gate chan struct{}
	got           []int // by index
}

func newGated(members int) *gated {
	return &gated{reached: make(chan struct{}), gate: make(chan struct{}), got: make([]int, members)}
}

func (g *gated) Deliver(m Member, _ Message) bool {
	g.first.Do(func() { close(g.reached); <-g.gate })
	g.got[m.Index()]++
	return true
}

// A small channel that all leave is not forgotten while a publisher delivers to them.
func TestChannelWaitsForPublisher(t *testing.T) {
	to := newGated(1)
	h := New(Config{Deliverer: to, Subscriptions: 1000, Publications: 1, Parts: 1})
	r := h.NewRegistry(nil)
	var subs Subscriptions
	join := func() {
		if _, err := r.Join(1<<32, &subs, "x", 1); err != nil {
			t.Fatal(err)
		}
	}
	join()
	first := r.shard("x").find("x")
	var publishing sync.WaitGroup
	publishing.Go(func() { _, _, _ = r.Publish("x", empty{}, nil) })
	<-to.reached
	h.LeaveAll(1<<32, &subs)
	join()
	if r.shard("x").find("x") != first {
		t.Error("another channel, while a publication to the first is being delivered")
	}
	h.LeaveAll(1<<32, &subs)
	close(to.gate)
	publishing.Wait()
	if r.shard("x").find("x") != nil || h.Stats().Channels != 0 {
		t.Error("the channel is left")
	}
}

// Members that leave a part while it is being delivered to do not move others out of the way.
func TestLeavingPassesNobodyOver(t *testing.T) {
	const members = 4 * smallLen
	to := newGated(members)
	h := New(Config{Deliverer: to, Subscriptions: 1000, Publications: 1, PublicationBytes: 1, Parts: 1})
	h.Start()
	t.Cleanup(h.Close)
	r := h.NewRegistry(nil)
	subs := make([]Subscriptions, members)
	for i := range subs {
		if _, err := r.Join(1<<32|Member(i), &subs[i], "x", 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := r.Publish("x", empty{}, nil); err != nil {
		t.Fatal(err)
	}
	<-to.reached // the first slice has been copied
	for i := range smallLen / 2 {
		h.LeaveAll(1<<32|Member(i), &subs[i])
		h.LeaveAll(1<<32|Member(members-1-i), &subs[members-1-i])
	}
	close(to.gate)
	if err := h.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, n := range to.got {
		want := 1
		if i >= members-smallLen/2 {
			want = 0
		}
		if n != want {
			t.Errorf("member %d of %d got it %d times, want %d", i, members, n, want)
		}
	}
	n := 0
	for range r.Members("x") {
		n++
	}
	if n != members-smallLen || r.Count("x") != n {
		t.Errorf("%d members are found, %d counted, want %d", n, r.Count("x"), members-smallLen)
	}
}

// A mark of joinedAt works however large the numbers are, and where they wrap around.
func TestJoinedAt(t *testing.T) {
	for _, sequence := range []uint64{0, 1, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 40, 1<<62 - 1} {
		m := member{id: 1, since: joinedAt(sequence)}
		for d := uint64(0); d < min(10, sequence+1); d++ {
			if m.gets(sequence - d) {
				t.Errorf("joined after %d, gets %d", sequence, sequence-d)
			}
		}
		for _, d := range []uint64{1, 2, 1 << 20} {
			if !m.gets(sequence + d) {
				t.Errorf("joined after %d, does not get %d", sequence, sequence+d)
			}
		}
	}
	p := part{list: list{{id: 1, since: joinedAt(1)}}}
	if got := p.slice(make([]Member, 0, 1), 0, 1, 1); len(got) != 0 || p.list[0].since == 0 {
		t.Error("the mark is gone before a publication that the member gets")
	}
	if got := p.slice(make([]Member, 0, 1), 0, 1, 2); len(got) != 1 || p.list[0].since != 0 {
		t.Error("the mark is left after the first publication that the member gets")
	}
	if m := (member{id: 1}); !m.gets(1) {
		t.Error("without a mark: does not get the first publication")
	}
}

// A membership costs at most 64 bytes: its record, its place in a list with as much again while the list
// grows, and its place in the list of free records. A channel fits a size class of the allocator's.
func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(subscription{}) + 2*unsafe.Sizeof(member{}) + 4; n > 64 {
		t.Errorf("a membership has %d bytes", n)
	}
	if n := unsafe.Sizeof(channel{}); n > 80 {
		t.Errorf("a channel has %d bytes", n)
	}
}
