package session_test

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"wsgateway/session"
)

// check has everybody read, and holds what each received against what was published.
func (r *run) check(t *rapid.T) {
	for _, a := range r.clients {
		if a.ended == "" {
			if err := a.mark(); err != nil {
				t.Errorf("a session that nobody has ended: %v", err)
			}
		}
	}
	for i, a := range r.clients {
		var got []string
		if a.ended != "" {
			got = a.rest()
		} else if meets, ok := a.meets(1); ok {
			got = meets
		} else {
			t.Errorf("simClient %d: the connection has ended", i)
		}
		if err := r.checkOne(i, a, got); err != nil {
			t.Errorf("simClient %d, in %v, ended by %q: %v", i, a.stays, a.ended, err)
		}
	}
}

// checkOne checks what one client received.
func (r *run) checkOne(i int, a *attendee, got []string) error {
	place := make(map[string]int, len(got))
	for n, text := range got {
		if _, twice := place[text]; twice {
			return fmt.Errorf("%q twice", text)
		}
		place[text] = n
	}
	known := 0
	for _, list := range r.published {
		// From the last one on: what is missing is judged by whether something came after it.
		next := make(map[string]int)
		for _, p := range slices.Backward(list) {
			n, there := place[p.text]
			later, more := next[p.To]
			switch {
			case there && (p.refused || slices.Contains(p.Except, i)):
				return fmt.Errorf("%q was not for it", p.text)
			case there && !r.mayArrive(a, &p):
				return fmt.Errorf("%q, published in %v, while it was no member", p.text, p.call)
			case there && more && later < n:
				return fmt.Errorf("%q came after %q", p.text, got[later])
			case !there && !p.refused && !slices.Contains(p.Except, i) && !r.mayMiss(a, &p, more):
				return fmt.Errorf("%q, published in %v, is missing", p.text, p.call)
			}
			if there {
				next[p.To] = n
				known++
			}
		}
	}
	if known != len(got) {
		return fmt.Errorf("%d messages that nobody has published", len(got)-known)
	}
	return nil
}

// serving is the time in which a publication was sent to the members. Channels that are never large are
// served when Publish is called, others until nothing waits any more.
func (r *run) serving(p *publication) span {
	if len(r.clients) <= fewest && p.To != "all" || !strings.HasPrefix(p.To, "big") && p.To != "all" {
		return p.call
	}
	end := int64(always)
	for _, d := range r.drains {
		if d.from > p.call.to {
			end = min(end, d.to)
		}
	}
	return span{p.call.from, end}
}

// mayArrive reports whether a client was a member while a publication was sent.
func (r *run) mayArrive(a *attendee, p *publication) bool {
	when := r.serving(p)
	return slices.ContainsFunc(a.stays[p.To], func(s stay) bool { return when.meets(span{s.join.from, s.leave.to}) })
}

// mayMiss reports whether a publication may not have reached a client: because it was no member all the
// time in which it was sent. If more of the same publisher has reached it, it must have come back.
func (r *run) mayMiss(a *attendee, p *publication, more bool) bool {
	if lossy[a.ended] && !more {
		return true
	}
	when := r.serving(p)
	left := int64(0)
	for _, s := range a.stays[p.To] {
		if when.meets(span{left, s.join.to}) {
			return true
		}
		left = s.leave.from
	}
	return !more && when.meets(span{left, always})
}

// sameSessions compares lists without their order.
func sameSessions(a, b []session.Session) bool {
	count := make(map[session.Session]int)
	for _, s := range a {
		count[s]++
	}
	for _, s := range b {
		count[s]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// checkMembers compares channels and users with what came of it all.
func (r *run) checkMembers(t *rapid.T) {
	want := make(map[string][]session.Session)
	for _, a := range r.clients {
		for to := range a.stays {
			if a.in(to) {
				want[to] = append(want[to], a.Session)
			}
		}
	}
	for to, list := range map[string]func() []session.Session{
		"big":     func() []session.Session { return slices.Collect(r.srv.Members("big")) },
		"small 0": func() []session.Session { return slices.Collect(r.srv.Members("small 0")) },
		"small 1": func() []session.Session { return slices.Collect(r.srv.Members("small 1")) },
		"user 0":  func() []session.Session { return slices.Collect(r.srv.UserSessions("user 0")) },
		"user 1":  func() []session.Session { return slices.Collect(r.srv.UserSessions("user 1")) },
		"user 2":  func() []session.Session { return slices.Collect(r.srv.UserSessions("user 2")) },
		"all":     func() []session.Session { return slices.Collect(r.srv.Sessions()) },
	} {
		if got := list(); !sameSessions(got, want[to]) {
			t.Errorf("%s has %d sessions, want %d, or others", to, len(got), len(want[to]))
		}
	}
	for _, channel := range []string{"big", "small 0", "small 1"} {
		if n := r.srv.MemberCount(channel); n != len(want[channel]) {
			t.Errorf("%d members of %s, want %d", n, channel, len(want[channel]))
		}
	}
}
