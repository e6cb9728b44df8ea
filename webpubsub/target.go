package webpubsub

import (
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"

	"wsgateway/session"
)

// client is the state of one session, its Session.Value. Only the calls of its handler use it, which
// come one at a time.
type client struct {
	may  *Permissions
	acks ackSet
}

// scratch is memory for one call.
type scratch struct {
	req   request
	names []byte // unquoted strings of the request
	out   []byte // a message to be sent
}

// maxScratch is the size in bytes up to which memory is kept for the next call.
const maxScratch = 64 << 10

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (w *scratch) free() {
	w.req = request{} // views into a message that is the server's
	if cap(w.names) <= maxScratch && cap(w.out) <= maxScratch {
		scratches.Put(w)
	}
}

// What a send returns is not looked at: a session that cannot be sent to ends by itself.

// OnOpen implements session.Handler.
func (t *Target) OnOpen(s session.Session, _ *session.Request) {
	c, ok := s.Value().(*client)
	if !ok {
		return // it has ended
	}
	w := scratches.Get().(*scratch)
	defer w.free()
	w.out = appendConnected(w.out[:0], c.may.UserID, s.ID())
	_ = s.Send(session.OpText, w.out)
	if c.may.UserID != "" {
		_ = s.SetUser(c.may.UserID) // has been checked; the session is in no channel yet
	}
}

// OnMessage implements session.Handler.
func (t *Target) OnMessage(s session.Session, m session.Message) { t.message(s, m.Data) }

// OnBinary implements session.BinaryHandler: a binary message carries the same as text.
func (t *Target) OnBinary(s session.Session, p []byte) {
	if !utf8.Valid(p) {
		t.decline(s, session.StatusInvalidPayload, "not UTF-8")
		return
	}
	t.message(s, p)
}

// OnClose implements session.Handler.
func (t *Target) OnClose(session.Session, session.CloseInfo) {}

func (t *Target) message(s session.Session, p []byte) {
	c, ok := s.Value().(*client)
	if !ok {
		return // it has ended
	}
	w := scratches.Get().(*scratch)
	defer w.free()
	var err error
	r := &w.req
	if w.names, err = parse(p, w.names[:0], r); err != nil {
		t.decline(s, session.StatusPolicyViolation, err.Error())
		return
	}
	known := ackNew
	if r.hasAck {
		known = c.acks.state(r.ackID)
	}
	switch {
	case r.kind == kindIgnored:
		return
	case r.kind == kindPing:
		t.counts.pings.Add(1)
		_ = s.SendText(pong)
		return
	case r.kind == kindUnknown && !r.hasAck:
		t.decline(s, session.StatusPolicyViolation, "unknown type")
		return
	case known == ackServed:
		t.counts.duplicates.Add(1)
		w.out = appendAck(w.out[:0], r.ackID, "Duplicate", "a request with this ackId has been served")
		_ = s.Send(session.OpText, w.out)
		return
	}
	why, text := refusedOld, "this ackId is older than the ones that are remembered"
	if known == ackNew {
		why, text = t.serve(s, c, w)
	}
	t.answer(s, c, w, why, text)
}

// answer acknowledges a request that has been served or refused.
func (t *Target) answer(s session.Session, c *client, w *scratch, why reason, text string) {
	r, name, hint := &w.req, errorNames[why], ""
	if why != refusedNot {
		t.counts.refused[why].Add(1)
	}
	if why == refusedForbidden {
		hint = t.forbidden
	}
	switch {
	case r.hasAck:
		if why == refusedNot {
			c.acks.served(r.ackID)
		}
		w.out = appendAck(w.out[:0], r.ackID, name, text+hint)
	case r.kind == kindInvoke && r.invocation != nil:
		w.out = appendRefusal(w.out[:0], `{"type":"invokeResponse","success":false,"invocationId":"`, r.invocation, name, text+hint)
	case r.kind == kindSend && r.stream && r.streamID != nil:
		w.out = appendRefusal(w.out[:0], `{"type":"streamClosed","streamId":"`, r.streamID, name, text+hint)
	default:
		if why != refusedNot {
			t.counts.unanswered.Add(1)
		}
		return
	}
	_ = s.Send(session.OpText, w.out)
}

// decline ends a session whose client does not speak the protocol.
func (t *Target) decline(s session.Session, code session.StatusCode, why string) {
	t.counts.malformed.Add(1)
	_ = s.Close(code, why) // see farewell
}

var tooLong = fmt.Sprintf("group is longer than %d bytes", MaxGroup)

// serve does what a request asks for, or says why not.
func (t *Target) serve(s session.Session, c *client, w *scratch) (reason, string) {
	r := &w.req
	switch r.kind {
	case kindJoin, kindLeave, kindSend:
	case kindEvent, kindInvoke:
		return refusedUnsupported, "there is no backend that handles events"
	default:
		return refusedUnsupported, "unknown type"
	}
	group := string(r.group)
	switch {
	case r.brokenName:
		return refusedGroup, "group is not well-formed: it has half a surrogate"
	case group == "":
		return refusedGroup, "group is missing or empty"
	case len(group) > MaxGroup:
		return refusedGroup, tooLong
	case !clean(group):
		return refusedGroup, "group has control characters"
	}
	if r.kind == kindSend {
		return t.publish(s, c, w, group)
	}
	if !c.may.mayJoin(group) {
		return refusedForbidden, "no permission to join or leave this group"
	}
	if r.kind == kindLeave {
		s.Leave(t.cfg.Prefix + group)
		t.counts.leaves.Add(1)
		return refusedNot, ""
	}
	if err := s.Join(t.cfg.Prefix + group); errors.Is(err, session.ErrTooManyChannels) {
		return refusedTooMany, "the client is in as many groups as it may be"
	} // any other error: the session is over, and so is its answer
	t.counts.joins.Add(1)
	return refusedNot, ""
}

// publish sends the data of a request to the members of a group.
func (t *Target) publish(s session.Session, c *client, w *scratch, group string) (reason, string) {
	r := &w.req
	if !c.may.maySend(group) {
		return refusedForbidden, "no permission to send to this group"
	}
	if r.stream {
		return refusedUnsupported, "streams are not supported"
	}
	var why reason
	var text string
	if w.names, why, text = r.checkData(w.names); why != refusedNot {
		return why, text
	}
	w.out = appendMessage(w.out[:0], c.may.UserID, group, r.dataType, r.data)
	m := session.Prepare(session.OpText, w.out)
	var err error
	if r.noEcho {
		_, err = s.Server().Publish(t.cfg.Prefix+group, m, s)
	} else {
		_, err = s.Server().Publish(t.cfg.Prefix+group, m)
	}
	if errors.Is(err, session.ErrDraining) {
		return refusedBusy, "the server is shutting down"
	}
	if err != nil { // session.ErrBusy: the name is one
		return refusedBusy, "too many publications wait, try again later"
	}
	t.counts.publishes.Add(1)
	return refusedNot, ""
}
