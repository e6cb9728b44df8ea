package session_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
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
	cfg.MembershipInterval = time.Hour // the test says when it is over
	srv, addr := wstest.Serve(t, cfg)
	session.HoldMembership(t, srv)
	var clients []*wstest.Client
	var ss []session.Session
	for range 3 {
		clients = append(clients, wstest.Dial(t, addr, "/"))
		ss = append(ss, waits.Receive(t, opened, "the call of OnOpen"))
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(w session.MembershipChange) {
		t.Helper()
		got := waits.Receive(t, changes, fmt.Sprintf("%+v", w))
		slices.Sort(got.Joined)
		slices.Sort(w.Joined)
		if fmt.Sprint(got) != fmt.Sprint(w) {
			t.Fatalf("%+v, want %+v", got, w)
		}
	}
	check(ss[1].SetUser("bob"))
	check(ss[0].Join("room"))
	check(ss[1].Join("room"))
	check(ss[2].Join("room"))
	check(ss[2].Join("room"))
	ss[2].Leave("room")
	session.TellMembership(srv)
	want(session.MembershipChange{Channel: "room", Joined: []string{ss[0].ID(), "bob"}, Members: 2})

	// bob comes back with another session before anybody notices: nobody is told.
	check(ss[2].SetUser("bob"))
	clients[1].Close()
	waits.Eventually(t, func() bool { return !ss[1].IsAvailable() && srv.MemberCount("room") == 1 }, "the room has one member left")
	check(ss[2].Join("room"))
	check(ss[0].Join("panic"))
	check(ss[0].Join("other"))
	session.TellMembership(srv)
	want(session.MembershipChange{Channel: "other", Joined: []string{ss[0].ID()}, Members: 1})
	if n := srv.Stats().HandlerPanics; n != 1 {
		t.Errorf("%d panics of OnMembership are counted, want 1", n)
	}

	id := ss[0].ID()
	clients[0].Close()
	waits.Becomes(t, func() int { return srv.MemberCount("other") }, 0, "members of other")
	session.TellMembership(srv)
	got := map[string]bool{}
	for range 2 { // and the channel "panic"
		got[fmt.Sprint(waits.Receive(t, changes, "the changes of two channels"))] = true
	}
	for _, c := range []session.MembershipChange{
		{Channel: "room", Left: []string{id}, Members: 1}, {Channel: "other", Left: []string{id}},
	} {
		if !got[fmt.Sprint(c)] {
			t.Errorf("%v, want %+v", got, c)
		}
	}
}

// However many come, the list has an end: of many members, and of one with many sessions. A member behind the
// end that leaves and comes back counts twice.
func TestOnMembershipIsBounded(t *testing.T) {
	const named, beyond = session.MaxChangedMembers, 50
	for _, tt := range []struct {
		name, user string
		more       int
	}{{"many members", "", beyond + 2}, {"one member", "ann", beyond}} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, opened := opener()
			changes := make(chan session.MembershipChange, 1)
			cfg.OnMembership = func(c session.MembershipChange) { changes <- c }
			cfg.MembershipInterval = time.Hour // the test says when it is over
			srv, addr := wstest.Serve(t, cfg)
			session.HoldMembership(t, srv)
			var last session.Session
			for range named + beyond {
				wstest.Dial(t, addr, "/")
				last = waits.Receive(t, opened, "the call of OnOpen")
				if err := errors.Join(last.SetUser(tt.user), last.Join("crowd")); err != nil {
					t.Fatal(err)
				}
			}
			last.Leave("crowd")
			if err := last.Join("crowd"); err != nil {
				t.Fatal(err)
			}
			session.TellMembership(srv)
			c := waits.Receive(t, changes, "the change")
			if len(c.Joined) != named || c.More != tt.more || c.Members != named+beyond {
				t.Errorf("%d are named and %d not, of %d members, want %d and %d", len(c.Joined), c.More, c.Members, named, tt.more)
			}
		})
	}
}

// Who is named otherwise leaves under the old name and joins under the new one, so that whoever keeps a
// list of what it is told has nobody left in the end; the end of the server included.
func TestOnMembershipAddsUp(t *testing.T) {
	present := map[string]int{}
	var mu sync.Mutex
	opened := make(chan session.Session, 1)
	cfg := oneRoute(session.HandlerFuncs{Open: func(s session.Session, _ *wsproto.Request) { opened <- s }})
	cfg.MembershipInterval = time.Hour // told at the end, or at once by flush
	cfg.OnMembership = func(c session.MembershipChange) {
		mu.Lock()
		defer mu.Unlock()
		for _, member := range c.Joined {
			present[member]++
		}
		for _, member := range c.Left {
			if present[member]--; present[member] == 0 {
				delete(present, member)
			}
		}
	}
	srv, addr := wstest.Serve(t, cfg)
	session.HoldMembership(t, srv)
	list := func() string {
		session.TellMembership(srv)
		mu.Lock()
		defer mu.Unlock()
		return fmt.Sprint(present)
	}
	var clients []*wstest.Client
	var ss []session.Session
	for range 3 {
		clients = append(clients, wstest.Dial(t, addr, "/"))
		s := waits.Receive(t, opened, "the call of OnOpen")
		if err := s.Join("room"); err != nil {
			t.Fatal(err)
		}
		ss = append(ss, s)
	}
	user := func(s session.Session, id string) {
		if err := s.SetUser(id); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := list(), fmt.Sprint(map[string]int{ss[0].ID(): 1, ss[1].ID(): 1, ss[2].ID(): 1}); got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	user(ss[0], "ann")
	user(ss[1], "ann")
	if got, want := list(), fmt.Sprint(map[string]int{"ann": 2, ss[2].ID(): 1}); got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	user(ss[1], "bob")
	if got, want := list(), fmt.Sprint(map[string]int{"ann": 1, "bob": 1, ss[2].ID(): 1}); got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	user(ss[1], "")
	ss[0].Leave("room")
	clients[2].Close()
	waits.Eventually(t, func() bool { return !ss[2].IsAvailable() && srv.MemberCount("room") == 1 }, "the room has one member left")
	if got, want := list(), fmt.Sprint(map[string]int{ss[1].ID(): 1}); got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	srv.Close()
	mu.Lock()
	defer mu.Unlock()
	if len(present) > 0 {
		t.Errorf("%v are left when the server has closed", present)
	}
}

// An OnMembership that does not return does not keep Close from returning.
func TestOnMembershipThatHangs(t *testing.T) {
	opened, stuck, release := make(chan session.Session, 1), make(chan bool), make(chan bool)
	defer close(release)
	var once sync.Once
	cfg := oneRoute(session.HandlerFuncs{Open: func(s session.Session, _ *wsproto.Request) { opened <- s }})
	cfg.MembershipInterval, cfg.HandlerTimeout = time.Millisecond, 10*time.Millisecond
	cfg.OnMembership = func(session.MembershipChange) { once.Do(func() { close(stuck) }); <-release }
	srv, addr := wstest.Serve(t, cfg)
	wstest.Dial(t, addr, "/")
	if err := waits.Receive(t, opened, "the call of OnOpen").Join("room"); err != nil {
		t.Fatal(err)
	}
	waits.Receive(t, stuck, "the call of OnMembership")
	if err := srv.Close(); !errors.Is(err, session.ErrHandlerStuck) {
		t.Errorf("Close: %v", err)
	}
}
