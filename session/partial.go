package session

import (
	"net/http"
	"time"

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
	input   progress
	held    uint32 // Now when reading was stopped, 0 if it was not, or before there was progress
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
		if t.partial() != nil {
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
	t.deadline(max(t.inputLeft(pt, t.srv.bufs.pressure()), time.Millisecond))
}
