package session

import (
	"testing"
	"unsafe"
)

// A subscription costs at most 64 bytes: its record, its place in the channel with as much again
// while the list grows, and its place in the list of free records.
func TestSubscriptionIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(subscription{}) + 2*unsafe.Sizeof(member{}) + 4; n > 64 {
		t.Errorf("%d bytes", n)
	}
}

// Each user has a channel, in a size class of the allocator's, whatever the number of processors is.
func TestChannelIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(channel{}); n > 80 {
		t.Errorf("%d bytes", n)
	}
}
