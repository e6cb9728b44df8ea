package session

import (
	"errors"
	"fmt"
	"time"
)

// Rate bounds what a client may send. A client that sends more is not read from until it is within
// its rate again, which slows it down (TCP flow control). A client that exceeds its rate for
// Patience is closed with 1008.
type Rate struct {
	Messages int // a second in the long run; 0: no bound
	Bytes    int // a second in the long run; 0: no bound. A message counts its decompressed payload and 6 bytes
	// MessageBurst and ByteBurst may come at once. Beyond them reading stops. Default: those of a
	// second. A message that is larger than ByteBurst is accepted, and the client then has to wait.
	MessageBurst, ByteBurst int
	// Patience is for how long a client may exceed its rate without a break of a second. Default 30
	// s.
	Patience time.Duration
}

func (r *Rate) withDefaults() error {
	if r.Messages < 0 || r.Bytes < 0 || r.MessageBurst < 0 || r.ByteBurst < 0 || r.Patience < 0 {
		return errors.New("negative rate")
	}
	if r.MessageBurst > 0 && r.Messages == 0 || r.ByteBurst > 0 && r.Bytes == 0 {
		return fmt.Errorf("a burst without a rate")
	}
	if r.MessageBurst == 0 {
		r.MessageBurst = r.Messages
	}
	if r.ByteBurst == 0 {
		r.ByteBurst = r.Bytes
	}
	if r.Patience == 0 {
		r.Patience = 30 * time.Second
	}
	return nil
}

// limits reports whether the rate bounds anything.
func (r *Rate) limits() bool { return r.Messages > 0 || r.Bytes > 0 }

// throttle is what a client of a route with a Rate has left. The owner's.
type throttle struct {
	messages, bytes float64 // may be negative: owed
	at              uint32  // when they were that many; ms of the gateway's time
	offence         offence
}

// offence is a time in which a client had to be stopped again and again. A second without it ends it.
type offence struct {
	since, last uint32 // when it began, and when the client was read from again; ms
	on          bool
}

// stop notes that the client is not read from for wait, and reports whether it has exceeded its rate for
// too long.
func (o *offence) stop(now uint32, wait, patience time.Duration) (tooLong bool) {
	if !o.on || o.expired(now) {
		o.on, o.since = true, now
	}
	o.last = now + uint32(wait/time.Millisecond)
	return time.Duration(now-o.since)*time.Millisecond > patience
}

// expired reports whether a second has gone by. What would be more than twelve days ahead was long ago.
func (o *offence) expired(now uint32) bool {
	d := int32(now - o.last)
	return d > 1000 || d < -1<<30
}

// start gives a new client all it may have.
func (th *throttle) start(r *Rate, now uint32) {
	*th = throttle{messages: float64(r.MessageBurst), bytes: float64(r.ByteBurst), at: now}
}

func (th *throttle) refill(r *Rate, now uint32) {
	d := float64(now-th.at) / 1000
	th.at = now
	th.messages = gain(th.messages, d, r.Messages, r.MessageBurst)
	th.bytes = gain(th.bytes, d, r.Bytes, r.ByteBurst)
}

// gain adds what a client may have for d seconds. A client that has been stopped is looked at only
// every quarter of a second. It gets all that it has gained, even beyond a small burst.
func gain(tokens, d float64, rate, burst int) float64 {
	limit := float64(burst)
	if tokens < 0 {
		limit = max(limit, 0.3*float64(rate))
	}
	return max(tokens, min(limit, tokens+d*float64(rate)))
}

// frameOverhead is what the smallest frame has beside its payload (RFC 6455 §5.2): empty messages count.
const frameOverhead = 6

// take takes a message of n bytes.
func (th *throttle) take(n int) {
	th.messages--
	th.bytes -= float64(n + frameOverhead)
}

// wait returns when the client may be read from again.
func (th *throttle) wait(r *Rate) time.Duration {
	seconds := 0.0
	if r.Messages > 0 && th.messages < 0 {
		seconds = -th.messages / float64(r.Messages)
	}
	if r.Bytes > 0 && th.bytes < 0 {
		seconds = max(seconds, -th.bytes/float64(r.Bytes))
	}
	if seconds == 0 {
		return 0
	}
	return max(time.Millisecond, time.Duration(seconds*float64(time.Second)))
}

// stop notes that the client has had to be stopped, and reports whether it has been so for too long.
func (th *throttle) stop(r *Rate, now uint32) (tooLong bool) {
	return th.offence.stop(now, th.wait(r), r.Patience)
}
