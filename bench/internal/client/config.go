package client

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Target is a server address and this engine's connections to it. Readers of a
// broadcast are complete only within their group.
type Target struct {
	Addr      string `json:"addr"` // ip:port
	Group     int    `json:"group"`
	Conns     int    `json:"conns"`
	Slow      int    `json:"slow"`      // of Conns, those that stop reading
	Publisher bool   `json:"publisher"` // one more connection, which publishes
}

// Config is fixed for the life of an Engine.
type Config struct {
	Targets   []Target `json:"targets"`
	FirstID   uint32   `json:"first_id"` // ids of the connections count from here
	Host      string   `json:"host"`     // Host header
	Path      string   `json:"path"`
	Broadcast bool     `json:"broadcast"` // connections are readers of a broadcast
	Stall     bool     `json:"stall"`     // connections are for OpStall
	Secret    uint64   `json:"secret"`    // the same in all processes of a run

	// SourceFirst is the first local address to bind to, SourceCount how many
	// follow each other; zero leaves the choice to the kernel.
	SourceFirst string `json:"source_first"`
	SourceCount int    `json:"source_count"`

	Loops         int     `json:"loops"`          // default 1
	MaxHandshakes int     `json:"max_handshakes"` // in flight at once, default 512
	ConnectRate   float64 `json:"connect_rate"`   // per second, 0 is unlimited
	MaxMessage    int     `json:"max_message"`    // bytes, default 64 KiB
	MaxInFlight   int     `json:"max_in_flight"`  // messages per connection, default 1
	SlowBuffer    int     `json:"slow_buffer"`    // SO_RCVBUF of slow readers, bytes, default 4096

	HandshakeTimeout time.Duration `json:"handshake_timeout"` // default 30 s
	ReplyTimeout     time.Duration `json:"reply_timeout"`     // default 30 s
	CloseTimeout     time.Duration `json:"close_timeout"`     // default 15 s
}

func (c *Config) withDefaults() (Config, error) {
	out := *c
	def := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	wait := func(p *time.Duration, v time.Duration) {
		if *p <= 0 {
			*p = v
		}
	}
	def(&out.Loops, 1)
	def(&out.MaxHandshakes, 512)
	def(&out.MaxMessage, 64<<10)
	def(&out.MaxInFlight, 1)
	def(&out.SlowBuffer, 4096)
	wait(&out.HandshakeTimeout, 30*time.Second)
	wait(&out.ReplyTimeout, 30*time.Second)
	wait(&out.CloseTimeout, 15*time.Second)
	if len(out.Targets) == 0 {
		return out, errors.New("no target")
	}
	for _, t := range out.Targets {
		if _, err := netip.ParseAddrPort(t.Addr); err != nil {
			return out, fmt.Errorf("target: %w", err)
		}
		if t.Conns < 0 || t.Slow < 0 || t.Slow > t.Conns {
			return out, fmt.Errorf("target %s: %d connections, %d slow", t.Addr, t.Conns, t.Slow)
		}
	}
	if out.SourceCount > 0 {
		if _, err := netip.ParseAddr(out.SourceFirst); err != nil {
			return out, fmt.Errorf("source: %w", err)
		}
	}
	return out, nil
}

// Op names what a Command does.
type Op string

const (
	OpConnect Op = "connect" // open every connection that is not open
	OpRound   Op = "round"   // each connection echoes once
	OpLoad    Op = "load"    // start echoing; returns at once
	OpPublish Op = "publish" // start publishing; returns at once
	OpMark    Op = "mark"    // return the counters so far and start new ones
	OpStop    Op = "stop"    // end load, publish or hold, wait for what is outstanding
	OpDrain   Op = "drain"   // wait until every reader has what was published
	OpResume  Op = "resume"  // slow readers read again, until they end or are complete
	OpChurn   Op = "churn"   // connect, echo, close, repeat
	OpStall   Op = "stall"   // open every connection and leave it in the middle of something
	OpHold    Op = "hold"    // start renewing what stalls in the handshake; returns at once
	OpCut     Op = "cut"     // reset every connection
	OpClose   Op = "close"   // closing handshake on every connection
)

// Command is one step for an Engine. Counts and rates are the engine's share.
type Command struct {
	Op Op `json:"op"`

	Retry    bool    `json:"retry,omitempty"`     // connect: try again when refused
	Size     int     `json:"size,omitempty"`      // bytes of payload
	InFlight int     `json:"in_flight,omitempty"` // load: messages outstanding per connection
	Active   int     `json:"active,omitempty"`    // load: connections that send, 0 is all
	Rate     float64 `json:"rate,omitempty"`      // load, publish: messages per second; load: 0 is closed loop; stall, hold: connections per second that stall in the handshake, 0 is unlimited
	Bystand  float64 `json:"bystand,omitempty"`   // load: messages per second over the connections not active
	Cycles   int64   `json:"cycles,omitempty"`    // churn
	Window   int     `json:"window,omitempty"`    // round: messages outstanding at once, default 256

	Expect map[int]int64 `json:"expect,omitempty"` // drain, resume: messages published per group
}
