package hub_test

import (
	"errors"
	"testing"

	"wsgateway/internal/hub"
	"wsgateway/internal/waits"
)

// sized is a message of so many bytes.
type sized int

func (s sized) Size() int { return int(s) }

// Publications that wait are bounded in number and bytes. One that is refused is seen by no member and uses
// no number.
func TestWaitingIsBounded(t *testing.T) {
	const members = 100
	got := make([][]hub.Message, members)
	h := hub.New(hub.Config{
		Deliverer: deliverer(func(m hub.Member, msg hub.Message) bool {
			got[m.Index()] = append(got[m.Index()], msg)
			return m.Index() != 5
		}),
		Subscriptions: 1000, Publications: 3, PublicationBytes: 100, Parts: 2,
	})
	t.Cleanup(h.Close)
	r := h.NewRegistry(nil)
	join(t, r, "large", make([]hub.Subscriptions, members))
	small := make([]hub.Subscriptions, 2)
	join(t, r, "small", small)
	publish := func(size sized, want error) (sequence uint64) {
		t.Helper()
		sequence, _, err := r.Publish("large", size, nil)
		if !errors.Is(err, want) {
			t.Errorf("Publish of %d bytes: %v, want %v", size, err, want)
		}
		return sequence
	}
	publish(60, nil) // nobody serves the queues yet
	publish(41, hub.ErrBusy)
	publish(40, nil)
	publish(0, nil)
	publish(0, hub.ErrBusy)
	if err := h.PublishTo(everybody(members), sized(0), nil); !errors.Is(err, hub.ErrBusy) {
		t.Errorf("PublishTo: %v, want ErrBusy", err)
	}
	if _, reached, err := r.Publish("small", sized(1000), nil); reached != 2 || err != nil {
		t.Errorf("Publish to a small channel: %d reached, %v, want 2, nil", reached, err)
	}
	if st := h.Stats(); st.Waiting != 3 || st.WaitingBytes != 100 || st.WaitingLimit != 3 || st.WaitingBytesLimit != 100 || st.Refused != 3 || st.Published != 4 {
		t.Errorf("stats %+v", st)
	}
	h.Start()
	waits.Eventually(t, func() bool { return h.Waiting() == 0 }, "nothing waits")
	if n := publish(7, nil); n != 4 {
		t.Errorf("the fourth publication that was taken has number %d", n)
	}
	if err := h.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, list := range got[2:] {
		if len(list) != 4 || list[0] != sized(60) || list[1] != sized(40) || list[2] != sized(0) || list[3] != sized(7) {
			t.Fatalf("member %d got %v, want 60 40 0 7", i+2, list)
		}
	}
	if st := h.Stats(); st.Missed != 4 || st.Delivered != 4*(members-1)+2 {
		t.Errorf("%d missed, %d delivered, want 4 and %d", st.Missed, st.Delivered, 4*(members-1)+2)
	}
}

// Memberships of all members together are bounded.
func TestSubscriptionsAreBounded(t *testing.T) {
	h := hub.New(hub.Config{Subscriptions: 256, Publications: 1})
	r := h.NewRegistry(nil)
	subs := make([]hub.Subscriptions, 257)
	join(t, r, "c", subs[:256])
	if _, err := r.Join(number(256), &subs[256], "d", 10); !errors.Is(err, hub.ErrTooMany) {
		t.Errorf("Join: %v, want ErrTooMany", err)
	}
	r.Leave(number(0), &subs[0], "c")
	if _, err := r.Join(number(256), &subs[256], "d", 10); err != nil {
		t.Errorf("Join where there is room again: %v", err)
	}
}

// A channel that most members have left is served at once again, as soon as nothing waits.
func TestFewAreLeft(t *testing.T) {
	const members = 100
	got := make([]hub.Message, 0, 10)
	h := hub.New(hub.Config{
		Deliverer: deliverer(func(m hub.Member, msg hub.Message) bool {
			if m.Index() == 0 {
				got = append(got, msg)
			}
			return true
		}),
		Subscriptions: 1000, Publications: 1, PublicationBytes: 1000, Parts: 1,
	})
	t.Cleanup(h.Close)
	r := h.NewRegistry(nil)
	subs := make([]hub.Subscriptions, members)
	join(t, r, "c", subs)
	publish := func(size sized, sequence uint64, reached int, err error) {
		t.Helper()
		s, n, e := r.Publish("c", size, nil)
		if s != sequence || n != reached || !errors.Is(e, err) {
			t.Errorf("Publish: number %d, %d reached, %v, want %d, %d, %v", s, n, e, sequence, reached, err)
		}
	}
	publish(1, 1, members, nil) // nobody serves the queue yet
	for i := 10; i < members; i++ {
		r.Leave(number(i), &subs[i], "c")
	}
	publish(2, 0, 0, hub.ErrBusy) // it must not overtake the first
	h.Start()
	waits.Eventually(t, func() bool { return h.Waiting() == 0 }, "nothing waits")
	publish(3, 2, 10, nil)
	publish(4, 3, 10, nil)
	if len(got) != 3 || got[0] != sized(1) || got[1] != sized(3) || got[2] != sized(4) {
		t.Errorf("a member got %v, want 1 3 4", got)
	}
}

// Publishing tells how many members it has reached.
func TestReached(t *testing.T) {
	h := start(t, func(m hub.Member, _ hub.Message) bool { return m.Index() != 3 })
	r := h.NewRegistry(nil)
	if sequence, reached, err := r.Publish("nobody", note{}, nil); sequence != 0 || reached != 0 || err != nil {
		t.Errorf("channel without members: %d, %d, %v, want 0, 0, nil", sequence, reached, err)
	}
	join(t, r, "c", make([]hub.Subscriptions, 10))
	for i, tt := range []struct {
		except  []hub.Member
		reached int
	}{
		{nil, 9}, // one does not take it
		{[]hub.Member{number(1), number(4)}, 7},
		{[]hub.Member{number(3), number(99)}, 9},
	} {
		sequence, reached, err := r.Publish("c", note{}, tt.except)
		if sequence != uint64(i+1) || reached != tt.reached || err != nil {
			t.Errorf("without %v: %d, %d, %v, want %d, %d, nil", tt.except, sequence, reached, err, i+1, tt.reached)
		}
	}
}
