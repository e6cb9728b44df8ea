package session

import (
	"time"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// progress is how a message, or a control frame, that is incomplete comes along. A client may pause inside it for
// a while, as a phone does that changes cells, but not be slower than a minimum rate on the whole.
type progress struct {
	key          uint64 // which message or frame; 0 for none
	began, since uint32 // Now when it began, and when more of it came last
	first, last  uint64 // how many bytes had come by then, of all messages
}

// note notes how many bytes have come, of all messages.
func (p *progress) note(key, bytes uint64, now uint32) {
	switch {
	case p.key != key:
		*p = progress{key, now, now, bytes, bytes}
	case p.last != bytes:
		p.since, p.last = now, bytes
	}
}

// left returns how long the rest may still take. silence bounds pauses. The rate is judged on the average of the
// whole, once it has lasted for two such pauses.
func (p *progress) left(now uint32, silence time.Duration, rate int) time.Duration {
	quiet := silence - netpoll.Since(p.since, now)
	seconds := min(float64(p.last-p.first)/float64(rate), maxDuration.Seconds())
	slow := 2*silence + time.Duration(seconds*float64(time.Second)) - netpoll.Since(p.began, now)
	return min(quiet, slow)
}

// shift leaves out milliseconds that do not count.
func (p *progress) shift(d uint32) {
	p.began += d
	p.since += d
}

// inputLeft returns how long what is incomplete of the client's input may still take; not more than 0 if that has
// been too long. pressure divides the time.
func (t *turn) inputLeft(pt *partial, pressure int) time.Duration {
	done := pt.dec.Progress()
	key := uint64(done.Frames)<<1 | 1<<33
	if pt.dec.MidMessage() {
		key = uint64(done.Messages)<<1 | 1<<33 | 1
	}
	now, cfg := t.now(), &t.srv.cfg
	pt.input.note(key, done.Bytes, now)
	return pt.input.left(now, cfg.StallTimeout/time.Duration(pressure), cfg.MinRate)
}

// inputLate ends the session of a client whose message is too slow, if it is: the deadline may have been set
// when memory was short.
func (t *turn) inputLate() {
	pt := t.partial()
	if pt == nil {
		t.deadline(0)
		return
	}
	pressure := t.srv.bufs.pressure()
	if left := t.inputLeft(pt, pressure); left > 0 {
		t.deadline(left)
		return
	}
	label, code, reason := "message_timeout", wsproto.StatusPolicyViolation, "message took too long"
	if pressure > 1 && t.inputLeft(pt, 1) > 0 {
		label, code, reason = "memory_pressure", wsproto.StatusTryAgainLater, "out of memory"
	}
	t.srv.stats.evictions.Inc(label)
	t.fault(ErrEvicted)
	t.fail(code, reason)
}

// noticeSilence judges a client that was not heard of for so long that the sweeper has asked, or whose message
// has to hurry now as memory is short.
func (t *turn) noticeSilence() {
	pt := t.partial()
	pressure := t.srv.bufs.pressure()
	if pressure > 1 && pt != nil && !t.unframed() && t.rec.flags.Load()&flagHeld == 0 {
		t.deadline(max(t.inputLeft(pt, pressure), time.Millisecond))
	}
	i := t.c.Index()
	switch {
	case t.Unread() || !t.srv.live.dead(i, t.now()):
	case pt != nil && pt.dec.MidFrame():
		t.srv.live.excuse(i) // no pong can come inside a frame: Config.StallTimeout judges
	default:
		t.silent()
	}
}
