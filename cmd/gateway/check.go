package main

import (
	"errors"
	"fmt"
	"math"

	"wsgateway/netpoll"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// maxHeadLimit bounds -max-head and -max-target, in bytes.
const maxHeadLimit = 1 << 20

// minInbound returns what the head of one request, or one message in fragments, takes at most, in bytes.
// That is its buffer, and one twice as large to which it moves when the next byte comes.
func minInbound(head *wsproto.HeadLimits, maxMessage int64) int64 {
	n := max(int64(head.MaxBytes), maxMessage)
	if n > math.MaxInt64/3 {
		return math.MaxInt64
	}
	return 3 * n
}

// check refuses values that mean nothing, or that the gateway could not start with. It names the
// flag.
func (f *flags) check() error {
	if f.config.admin == "" {
		return errors.New("invalid value for flag -admin: empty, give host:port, such as 127.0.0.1:8081")
	}
	if err := f.checkSubprotocols(); err != nil {
		return err
	}
	if err := f.checkOrigins(); err != nil {
		return err
	}
	for _, r := range f.ranges() {
		if err := r.check(); err != nil {
			return err
		}
	}
	return f.checkTogether()
}

// checkTogether refuses limits that cannot be reached because of another one.
func (f *flags) checkTogether() error {
	s, r := &f.config.server, &f.config.server.Reactor
	if n, least := s.InboundBytes, minInbound(&s.Head, f.maxMessage); n < least {
		return fmt.Errorf("invalid value for flag -inbound-total-bytes: %d is too little for one request of -max-head %d or one message of -max-message %d, must be at least %d",
			n, s.Head.MaxBytes, f.maxMessage, least)
	}
	if int64(r.QueueBytes) > r.QueueTotalBytes {
		return fmt.Errorf("invalid value for flag -queue-bytes: %d is more than all clients together may have, must be at most -queue-total-bytes %d", r.QueueBytes, r.QueueTotalBytes)
	}
	return nil
}

func (f *flags) checkSubprotocols() error {
	seen := make(map[string]bool)
	for _, name := range f.subprotocols {
		if !wsproto.ValidToken(name) {
			return fmt.Errorf("invalid value for flag -subprotocol: %q is not a token (RFC 9110 §5.6.2): give letters, digits and !#$%%&'*+-.^_`|~", name)
		}
		if seen[name] {
			return fmt.Errorf("invalid value for flag -subprotocol: %q is given twice, give it once", name)
		}
		seen[name] = true
	}
	if n := len(f.subprotocols); n > session.MaxSubprotocols {
		return fmt.Errorf("invalid value for flag -subprotocol: %d names, must be at most %d", n, session.MaxSubprotocols)
	}
	return nil
}

// checkOrigins also replaces "none", which stands for clients that send no Origin, by what a route
// has for it.
func (f *flags) checkOrigins() error {
	for i, origin := range f.origins {
		if origin == "none" {
			f.origins[i] = ""
		} else if !session.ValidOrigin(origin) {
			return fmt.Errorf("invalid value for flag -origin: %q is not scheme://host[:port], file://, null, none or *", origin)
		}
	}
	return nil
}

// bounds are those of one numeric flag.
type bounds struct {
	flag  string
	value int64
	zero  bool  // 0 is a value: the usage says what it stands for
	max   int64 // 0: no bound
}

func (f *flags) ranges() []bounds {
	s, r := &f.config.server, &f.config.server.Reactor
	return []bounds{
		{"max-conns", int64(r.MaxConns), true, 0},
		{"workers", int64(r.Workers), true, netpoll.MaxWorkers},
		{"loops", int64(r.Loops), true, netpoll.MaxLoops},
		{"max-head", int64(s.Head.MaxBytes), false, maxHeadLimit},
		{"max-target", int64(s.Head.MaxTarget), false, maxHeadLimit},
		{"max-message", f.maxMessage, false, 0},
		{"max-fragments", int64(f.maxFragments), false, 0},
		{"compress-conns", int64(s.Deflate.Sessions), false, 0},
		{"queue-bytes", int64(r.QueueBytes), false, netpoll.MaxQueueBytes},
		{"queue-messages", int64(r.QueueMessages), false, 0},
		{"queue-total-bytes", r.QueueTotalBytes, false, netpoll.MaxQueueBytes},
		{"inbound-total-bytes", s.InboundBytes, false, 0},
		{"ping-interval", int64(s.PingInterval), false, 0},
		{"ping-timeout", int64(s.PingTimeout), false, 0},
		{"close-timeout", int64(r.CloseTimeout), false, 0},
		{"tcp-user-timeout", int64(r.Socket.UserTimeout), true, 0},
		{"handshake-timeout", int64(s.HandshakeTimeout), false, 0},
		{"shutdown-timeout", int64(f.config.shutdownTimeout), false, 0},
	}
}

func (b bounds) check() error {
	switch {
	case b.value < 0 && b.zero:
		return fmt.Errorf("invalid value for flag -%s: must not be negative", b.flag)
	case b.value < 0, b.value == 0 && !b.zero:
		return fmt.Errorf("invalid value for flag -%s: must be greater than 0", b.flag)
	case b.max > 0 && b.value > b.max:
		return fmt.Errorf("invalid value for flag -%s: %d is too much, must be at most %d", b.flag, b.value, b.max)
	}
	return nil
}
