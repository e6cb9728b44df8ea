package session

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A fifth of the time that Shutdown has is for clients whose handlers are busy, but no more than a second.
func TestShutdownReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for all, want := range map[time.Duration]time.Duration{
			500 * time.Millisecond: 100 * time.Millisecond,
			4 * time.Second:        800 * time.Millisecond,
			5 * time.Second:        time.Second,
			time.Hour:              time.Second,
		} {
			ctx, cancel := context.WithTimeout(t.Context(), all)
			patient, stop := withReserve(ctx)
			<-patient.Done()
			at, _ := ctx.Deadline()
			if got := time.Until(at); got != want {
				t.Errorf("of %v the last %v are reserved, want %v", all, got, want)
			}
			stop()
			cancel()
		}
	})
}

// Without a deadline Shutdown waits for handlers until its context is canceled.
func TestShutdownReserveWithoutDeadline(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	patient, stop := withReserve(ctx)
	defer stop()
	if at, ok := patient.Deadline(); ok || patient.Err() != nil {
		t.Errorf("the deadline is %v, the error %v, want none", at, patient.Err())
	}
	cancel()
	if patient.Err() == nil {
		t.Error("the context is not over although its parent is")
	}
}
