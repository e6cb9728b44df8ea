package session

import (
	"errors"

	"wsgateway/wsproto"
)

// maxFrames is how many messages and control frames of one client are handled in a turn. A
// client that sends thousands of tiny ones waits for its next turn with the rest, and is not
// read until it is through with them.
const maxFrames = 64

// maxInflated is how many bytes of compressed messages are handled in a turn, for the same reason:
// a thousandth of it may have sufficed to send them.
const maxInflated = 1 << 20

// wireCost is how many bytes of content a compressed byte counts as.
const wireCost = 16

// frames takes bytes of an upgraded client.
func (t *turn) frames(p []byte) {
	dec := &t.state.dec
	if pt := t.partial(); pt != nil {
		dec = &pt.dec
	}
	t.decoding = true
	rest := t.decode(dec, p)
	t.decoding = false
	if len(rest) > 0 {
		t.keepRest(rest)
	}
}

// frameRest goes on with what an earlier turn left, if there is something.
func (t *turn) frameRest() {
	if t.held() {
		t.hold()
		return
	}
	t.release()
	if !t.unframed() {
		return
	}
	pt := t.partial()
	rest := t.decode(&pt.dec, pt.rest[pt.restOff:])
	if len(rest) > 0 {
		pt.restOff = len(pt.rest) - len(rest)
		if t.rec.flags.Load()&flagHeld == 0 {
			t.Pause()
			t.wake()
		}
		return
	}
	if pt = t.partial(); pt != nil { // a frame is incomplete
		t.srv.bufs.Free(pt.rest)
		pt.rest, pt.restOff = nil, 0
	}
	if t.rec.flags.Load()&flagHeld == 0 {
		t.Resume()
	}
}

// decode takes frames from p until it is used up, or the turn has handled enough of them: then
// it returns the rest.
func (t *turn) decode(dec *wsproto.Decoder, p []byte) (rest []byte) {
	limits := t.route.limits
	if t.rec.load().deflated() {
		limits.Inflater = t.state.inflate()
	}
	t.refill()
	tiny, inflated, held := dec.Progress().Tiny, 0, false
	for frames := 0; frames < maxFrames && inflated < maxInflated && !held; frames++ {
		ev, n, err := dec.Next(p, &limits, t.srv.bufs)
		if err != nil {
			t.refuseFrame(dec, err)
			return nil
		}
		p = p[n:]
		if now := dec.Progress().Tiny; now != tiny {
			if !t.rec.tiny.take(t.route.tiny, t.now(), now-tiny) {
				t.flooded(dec, "fragment_flood", "too many tiny fragments")
				return nil
			}
			tiny = now
		}
		if ev.Kind == wsproto.NeedMore {
			t.park(dec)
			return nil
		}
		if !t.frame(dec, &ev) {
			return nil
		}
		if ev.Deflated > 0 {
			inflated += len(ev.Payload) + wireCost*ev.Deflated
		}
		held = t.held()
	}
	if held && t.exceeded() {
		t.flooded(dec, "rate_limit", "too much for too long")
		return nil
	}
	if len(p) == 0 {
		_, _, _ = dec.Next(nil, &limits, t.srv.bufs) // frees the last message
		t.park(dec)
	}
	if held {
		t.hold()
	}
	return p
}

// frame handles a whole message or control frame. It reports false if the session has ended.
func (t *turn) frame(dec *wsproto.Decoder, ev *wsproto.Event) bool {
	switch ev.Kind {
	case wsproto.Message:
		return t.message(dec, ev)
	case wsproto.Ping:
		return t.ping(dec, ev.Payload)
	case wsproto.Pong:
		return t.pong(dec, ev.Payload)
	case wsproto.Close:
		reason := string(ev.Payload)
		dec.Release(t.srv.bufs) // before its owner, if it is a partial, is given back
		t.peerClosed(ev.Code, reason)
		return false
	}
	return true
}

func (t *turn) message(dec *wsproto.Decoder, ev *wsproto.Event) bool {
	t.state.stats.received(ev.Opcode)
	if ev.Deflated > 0 {
		t.state.stats.inflated(ev.Deflated, len(ev.Payload))
	}
	if t.route.limited {
		t.throttle().take(len(ev.Payload))
	}
	if !t.rec.closing(t.c) && !t.deliver(Message{ev.Opcode, ev.Payload}) {
		t.refuseFrame(dec, errInbound)
		return false
	}
	return true
}

func (t *turn) ping(dec *wsproto.Decoder, p []byte) bool {
	if !t.controlFrame(dec) {
		return false
	}
	t.state.stats.pings.Add(1)
	if t.route.ping == nil || t.rec.closing(t.c) {
		t.session().answerPing(p)
	} else {
		t.callOnPing(p)
	}
	return true
}

func (t *turn) pong(dec *wsproto.Decoder, p []byte) bool {
	if !t.controlFrame(dec) {
		return false
	}
	t.state.stats.pongs.Add(1)
	t.noteLatency(p)
	if t.route.pong != nil && !t.rec.closing(t.c) {
		t.callOnPong(p)
	}
	return true
}

// controlFrame counts a ping or pong. It reports false if the client has sent too many for too long, which
// has ended its session.
func (t *turn) controlFrame(dec *wsproto.Decoder) bool {
	now := t.now()
	if !t.rec.control.owe(t.srv.control, now) {
		return true
	}
	t.srv.stats.throttled.Add(1)
	wait := t.rec.control.wait(t.srv.control, now)
	if t.rec.flood(now, wait, t.srv.cfg.ControlPatience) || t.rec.closing(t.c) {
		t.flooded(dec, "control_flood", "too many control frames")
		return false
	}
	return true
}

// peerClosed handles the client's Close frame: it is answered, once, with the same code and reason
// (RFC 6455 §5.5.1), and the server closes the connection (§7.1.1).
func (t *turn) peerClosed(code wsproto.StatusCode, reason string) {
	if !t.rec.begin(t.c, ByClient, code) {
		_, code = t.rec.end() // ours was first
		reason = ""
	}
	t.sendClose(code, reason)
	t.endSession(ByClient, code, reason, true)
	t.CloseFlushed(false)
}

// refuseFrame ends the session of a client that broke the protocol, or sent more than there
// is memory for.
func (t *turn) refuseFrame(dec *wsproto.Decoder, err error) {
	dec.Release(t.srv.bufs)
	var perr *wsproto.ProtocolError
	t.fault(err)
	switch {
	case errors.As(err, &perr):
		t.fail(perr.Code, perr.Reason)
	case errors.Is(err, errInbound):
		t.fail(wsproto.StatusTryAgainLater, "out of memory")
	default:
		t.fail(wsproto.StatusInternalError, "")
	}
}

// flooded ends the session of a client that sends more of what is cheap to send than it may.
func (t *turn) flooded(dec *wsproto.Decoder, label, reason string) {
	dec.Release(t.srv.bufs)
	if !t.rec.closing(t.c) {
		t.srv.stats.evictions.Inc(label)
		t.fault(ErrFlood)
	}
	t.fail(wsproto.StatusPolicyViolation, reason)
}
