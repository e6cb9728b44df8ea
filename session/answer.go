package session

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

var errOrigin = wsproto.Refusal(http.StatusForbidden, "origin not allowed")

// answer answers a request, once it has been decided about.
func (t *turn) answer(r *request, d *decision) {
	t.headMethod = string(r.Method) == "HEAD"
	switch {
	case d.response != nil:
		t.respond(d.response, nil)
	case d.err != nil:
		t.refuse(d.err)
	case t.srv.draining.Load(): // it may have begun while the decision was made
		t.refuse(wsproto.ErrOverloaded)
	default:
		t.upgrade(r, d)
	}
}

// respond answers a request with a response of its route, and closes the connection. err is the refusal that
// the response stands for, nil if it is an answer to plain HTTP.
func (t *turn) respond(response *wsproto.Response, err error) {
	answer, invalid := wsproto.AppendResponse(t.state.scratch[:0], response, t.responseOptions())
	if invalid != nil {
		t.srv.log.Error("invalid response of a route", "session", t.srv.ids.encode(t.c), "status", response.Status)
		t.refuse(wsproto.ErrInternal)
		return
	}
	t.endRequest(answer, response.Status, err)
}

// refuse answers a request that is not to be upgraded, and closes the connection.
func (t *turn) refuse(err error) {
	var own *refusingResponse
	if errors.As(err, &own) && own.Response != nil {
		t.respond(own.Response, err)
		return
	}
	refusal := t.refusal(err)
	o := t.responseOptions()
	if refusal.Status == http.StatusServiceUnavailable {
		o.RetryAfter = retryAfter()
	}
	answer := wsproto.AppendRefusal(t.state.scratch[:0], refusal, o)
	t.endRequest(answer, refusal.Status, err)
}

// retryAfter returns in how many seconds a client should come back: spread, so that they do not all
// come together.
func retryAfter() int { return 1 + rand.IntN(3) }

func (t *turn) responseOptions() wsproto.ResponseOptions {
	return wsproto.ResponseOptions{Date: t.state.date.Format(time.Now()), OmitBody: t.headMethod}
}

// refusal returns the refusal that an error stands for: what is none, or not one that may be answered, is our
// fault.
func (t *turn) refusal(err error) *wsproto.RequestError {
	var refusal *wsproto.RequestError
	if errors.As(err, &refusal) && refusal != nil && 400 <= refusal.Status && refusal.Status <= 599 &&
		(refusal != wsproto.ErrInternal || err == refusal) {
		return refusal
	}
	t.srv.log.Error("handshake failed", "session", t.session().ID(), "err", err)
	return wsproto.ErrInternal
}

// endRequest sends an answer other than 101, and closes the connection. answer lies in the scratch buffer.
func (t *turn) endRequest(answer []byte, status int, err error) {
	t.state.scratch = answer
	_ = t.srv.tr.Send(t.c, netpoll.Message{Body: answer, Final: true}) // or the socket has failed
	t.state.shrink()
	t.srv.stats.handshake(status)
	t.reportFailure(status, err)
	t.endSession(ByServer, wsproto.StatusAbnormal, "", false)
	t.CloseFlushed(true)
}
