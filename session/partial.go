package session

import (
	"math"
	"net/http"
	"time"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// partial holds what is incomplete of a client's input. A connection has one only while
// there is such. The owner's.
type partial struct {
	head    []byte          // before the upgrade: the request so far
	seen    int             // bytes of head that have been searched for its end
	pending *pendingRequest // complete, and being decided about
	http    *http.Request   // what net/http made of the request, see Server.ServeHTTP

	dec     wsproto.Decoder // after it
	rest    []byte          // input that the last turn had no time for
	restOff int             // of it, already done
	frame   window
	message window
	held    uint32 // Now when reading was stopped, 0 if it was not, or before there was a window
}

// window bounds the time for a frame or a message: it has to be complete, or to have brought
// a minimum of bytes, within a timeout, whereupon the next window begins.
type window struct {
	seq   uint32 // which frame or message
	since uint32 // Now when the window began
	bytes uint64 // progress when it began
}

// shift lets the window begin later, by milliseconds that do not count.
func (w *window) shift(d uint32) {
	if w.since != 0 {
		w.since = max(1, w.since+d)
	}
}

// left returns how long a frame or message may still take.
func (w *window) left(seq uint32, bytes uint64, now uint32, timeout time.Duration, rate int) time.Duration {
	least := uint64(timeout.Seconds() * float64(rate))
	if w.since == 0 || w.seq != seq || bytes-w.bytes >= max(1, least) {
		*w = window{seq, max(1, now), bytes}
	}
	return max(timeout-netpoll.Since(w.since, now), time.Millisecond)
}

// keepRest keeps input that the turn had no time for, and brings about another turn.
func (t *turn) keepRest(rest []byte) {
	pt := t.partial()
	if pt == nil {
		pt = t.newPartial()
		pt.dec, t.state.dec = t.state.dec, wsproto.Decoder{}
	}
	kept, err := t.srv.bufs.Grow(nil, len(rest))
	if err != nil {
		t.fail(wsproto.StatusTryAgainLater, "out of memory")
		return
	}
	pt.rest, pt.restOff = append(kept, rest...), 0
	if t.rec.flags.Load()&flagHeld != 0 {
		return
	}
	t.deadline(0)
	t.Pause()
	t.wake()
}

// unframed reports whether input waits that an earlier turn had no time for.
func (t *turn) unframed() bool {
	pt := t.partial()
	return pt != nil && pt.restOff < len(pt.rest)
}

// park keeps what is incomplete for the next turn, and sets the time by which it has to be
// complete.
func (t *turn) park(dec *wsproto.Decoder) {
	frame, message := dec.MidFrame(), dec.MidMessage()
	if !frame && !message {
		if !dec.AtRest() {
			dec.Release(t.srv.bufs)
		}
		if t.rec.partial != 0 {
			t.dropPartial()
			t.deadline(0)
		}
		return
	}
	pt := t.partial()
	if pt == nil {
		pt = t.newPartial()
		pt.dec, *dec = *dec, wsproto.Decoder{}
	}
	now, done, cfg := t.now(), pt.dec.Progress(), &t.srv.cfg
	left := time.Duration(math.MaxInt64)
	if frame {
		left = pt.frame.left(done.Frames, done.Bytes, now, cfg.FrameTimeout, cfg.MinRate)
	}
	if message {
		left = min(left, pt.message.left(done.Messages, done.Bytes, now, cfg.MessageTimeout, cfg.MinRate))
	}
	t.deadline(left)
}
