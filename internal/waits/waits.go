// Package waits has the waits that tests share, and a Buffer to wait on. A wait is for a condition, its
// limit is Patience, and its failure says what was expected and what came. Tests alone import it. It
// knows nothing of the module, so that tests inside every package can.
package waits

import (
	"testing"
	"time"
)

// Patience is how long a wait lasts before it fails its test. It is far longer than anything takes on
// a busy machine, so a test never fails for being slow.
const Patience = 30 * time.Second

// Eventually waits until cond reports true. what completes "waited 30 s until".
func Eventually(t testing.TB, cond func() bool, what string) {
	t.Helper()
	if !Poll(cond) {
		t.Fatalf("waited %v until %s", Patience, what)
	}
}

// Becomes waits until get returns want. what names the value.
func Becomes[T comparable](t testing.TB, get func() T, want T, what string) {
	t.Helper()
	var got T
	if !Poll(func() bool { got = get(); return got == want }) {
		t.Fatalf("%s: %v after %v, want %v", what, got, Patience, want)
	}
}

// Succeeds waits until check returns nil, at most for a limit: Patience, or less where the limit is what
// is tested. what names the check; the failure has the last error.
func Succeeds(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	var err error
	if !pollFor(limit, func() bool { err = check(); return err == nil }) {
		t.Fatalf("%s: after %v still: %v", what, limit, err)
	}
}

// Poll reports whether cond reports true within Patience. It is for a failure text of the caller's.
func Poll(cond func() bool) bool { return pollFor(Patience, cond) }

// pollFor reports whether cond reports true in time. It asks at once, and then less and less often.
func pollFor(limit time.Duration, cond func() bool) bool {
	pause := 100 * time.Microsecond
	for deadline := time.Now().Add(limit); !cond(); pause = min(2*pause, 20*time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pause)
	}
	return true
}

// Receive returns the next value of a channel. what names the value.
func Receive[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(Patience):
		t.Fatalf("waited %v for %s", Patience, what)
		panic("not reached")
	}
}
