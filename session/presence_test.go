package session_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"wsgateway/session"
	"wsgateway/wsproto"
)

// What has changed within an interval is told once, and what has changed back is not.
func TestOnMembership(t *testing.T) {
	changes := make(chan session.MembershipChange, 100)
	opened := make(chan session.Session, 10)
	cfg := oneRoute(session.HandlerFuncs{Open: func(s session.Session, _ *wsproto.Request) { opened <- s }})
	cfg.OnMembership = func(c session.MembershipChange) {
		if c.Channel == "panic" {
			panic("told")
		}
		changes <- c
	}
	cfg.MembershipInterval = 200 * time.Millisecond
	srv, addr := start(t, cfg)
	var clients []*client
	var ss []session.Session
	for range 3 {
		clients = append(clients, dial(t, addr, "/"))
		ss = append(ss, <-opened)
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(w session.MembershipChange) {
		t.Helper()
		select {
		case got := <-changes:
			slices.Sort(got.Joined)
			slices.Sort(w.Joined)
			if fmt.Sprint(got) != fmt.Sprint(w) {
				t.Fatalf("%+v, want %+v", got, w)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("nothing, want %+v", w)
		}
	}
	check(ss[1].SetUser("bob"))
	check(ss[0].Join("room"))
	check(ss[1].Join("room"))
	check(ss[2].Join("room"))
	check(ss[2].Join("room"))
	ss[2].Leave("room")
	want(session.MembershipChange{Channel: "room", Joined: []string{ss[0].ID(), "bob"}, Members: 2})

	// bob comes back with another session before anybody notices: nobody is told.
	check(ss[2].SetUser("bob"))
	clients[1].Close()
	eventually(t, func() bool { return !ss[1].IsAvailable() && srv.MemberCount("room") == 1 })
	check(ss[2].Join("room"))
	check(ss[0].Join("panic"))
	check(ss[0].Join("other"))
	want(session.MembershipChange{Channel: "other", Joined: []string{ss[0].ID()}, Members: 1})
	eventually(t, func() bool { return srv.Stats().HandlerPanics == 1 })

	id := ss[0].ID()
	clients[0].Close()
	got := map[string]bool{}
	for range 2 { // and the channel "panic"
		c := <-changes
		got[fmt.Sprint(c)] = true
	}
	for _, c := range []session.MembershipChange{
		{Channel: "room", Left: []string{id}, Members: 1}, {Channel: "other", Left: []string{id}},
	} {
		if !got[fmt.Sprint(c)] {
			t.Errorf("%v, want %+v", got, c)
		}
	}
}

// However many come, the list has an end.
func TestOnMembershipIsBounded(t *testing.T) {
	var mu sync.Mutex
	named, more := 0, 0
	opened := make(chan session.Session, 1)
	cfg := oneRoute(session.HandlerFuncs{Open: func(s session.Session, _ *wsproto.Request) { opened <- s }})
	cfg.OnMembership = func(c session.MembershipChange) {
		mu.Lock()
		defer mu.Unlock()
		if n := len(c.Joined) + len(c.Left); n > session.MaxChangedMembers {
			t.Errorf("%d named", n)
		}
		named, more = named+len(c.Joined), more+c.More
	}
	const sessions = session.MaxChangedMembers + 50
	cfg.MembershipInterval = time.Second
	_, addr := start(t, cfg)
	for range sessions {
		dial(t, addr, "/")
		if err := (<-opened).Join("crowd"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return named+more == sessions })
}
