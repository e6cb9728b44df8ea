package session

import (
	"testing"
	"time"
)

// A client that reads slowly may be as silent as one that is idle, unless the settings say
// otherwise, and the kernel is not told to give up on it.
func TestReactorSettings(t *testing.T) {
	cfg := Config{PingInterval: 3 * time.Second, PingTimeout: 4 * time.Second}
	if r := cfg.reactor(); r.WriteStall != 7*time.Second || r.Socket.UserTimeout != 0 {
		t.Errorf("WriteStall %v and UserTimeout %v, want 7s and 0", r.WriteStall, r.Socket.UserTimeout)
	}
	cfg.Reactor.WriteStall, cfg.Reactor.Socket.UserTimeout = time.Second, time.Minute
	if r := cfg.reactor(); r.WriteStall != time.Second || r.Socket.UserTimeout != time.Minute {
		t.Errorf("WriteStall %v and UserTimeout %v, want what was set", r.WriteStall, r.Socket.UserTimeout)
	}
}
