package session

import (
	"testing"
	"time"
)

// A call is counted once, when it has taken slowCall. Short ones are not, even if a goroutine is never found
// without one.
func TestCallWatch(t *testing.T) {
	var w callWatch
	now := time.Now()
	look := func(after time.Duration, want bool, what string) {
		t.Helper()
		now = now.Add(after)
		if got := w.check(now); got != want {
			t.Errorf("%s is counted: %v, want %v", what, got, want)
		}
	}
	for range 3 {
		look(2*slowCall, false, "a goroutine at rest")
	}
	for range 100 {
		w.enter(1)
		look(0, false, "a short call that begins")
		look(slowCall-1, false, "a short call")
		w.leave()
	}
	for range 2 {
		w.enter(1)
		look(slowCall, false, "a call that is seen for the first time")
		look(slowCall-1, false, "a call that is not slow yet")
		look(1, true, "a slow call")
		look(2*slowCall, false, "a slow call that has been counted")
		w.leave()
		w.leave() // as when it panics
		look(2*slowCall, false, "a slow call that has returned")
	}
}
