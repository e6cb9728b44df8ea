package session

import (
	"fmt"
	"testing"
	"time"
)

// Who may be one of those that are not named is not named either: nobody is said to have left who was not said
// to have joined.
func TestChangesThatAreNotNamed(t *testing.T) {
	var got MembershipChange
	s := &Server{}
	s.memberships = newMemberships(s, 1)
	p := newPresence(s, time.Second, func(c MembershipChange) { got = c })
	for i := range MaxChangedMembers {
		p.note(fmt.Sprint(i), "room", 1)
	}
	p.note("late", "room", 1) // there is no room for its name
	p.note("0", "room", -1)   // now there is
	p.note("late", "room", -1)
	p.note("later", "room", 1)
	p.tellAll()
	if len(got.Joined) != MaxChangedMembers-1 || len(got.Left) != 0 || got.More != 3 {
		t.Errorf("%d joined, %q left, %d more", len(got.Joined), got.Left, got.More)
	}
}
