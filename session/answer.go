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
func (a admission) answer(r *request, d *decision) {
	a.headMethod = string(r.Method) == "HEAD"
	switch {
	case d.response != nil:
		a.respond(d.response, nil)
	case d.err != nil:
		a.refuse(d.err)
	case a.srv.draining.Load(): // it may have begun while the decision was made
		a.refuse(wsproto.ErrOverloaded)
	default:
		a.upgrade(r, d)
	}
}

// respond answers a request with a response of its route, and closes the connection. err is the refusal that
// the response stands for, nil if it is an answer to plain HTTP.
func (a admission) respond(response *wsproto.Response, err error) {
	answer, invalid := wsproto.AppendResponse(a.state.scratch[:0], response, a.responseOptions())
	if invalid != nil {
		a.srv.log.Error("invalid response of a route", "session", a.srv.ids.encode(a.c), "status", response.Status)
		a.refuse(wsproto.ErrInternal)
		return
	}
	a.endRequest(answer, response.Status, err)
}

// refuse answers a request that is not to be upgraded, and closes the connection.
func (a admission) refuse(err error) {
	var own *refusingResponse
	if errors.As(err, &own) && own.Response != nil {
		a.respond(own.Response, err)
		return
	}
	refusal := a.refusal(err)
	o := a.responseOptions()
	if refusal.Status == http.StatusServiceUnavailable {
		o.RetryAfter = retryAfter()
	}
	answer := wsproto.AppendRefusal(a.state.scratch[:0], refusal, o)
	a.endRequest(answer, refusal.Status, err)
}

// retryAfter returns in how many seconds a client should come back: spread, so that they do not all
// come together.
func retryAfter() int { return 1 + rand.IntN(3) }

func (a admission) responseOptions() wsproto.ResponseOptions {
	return wsproto.ResponseOptions{Date: a.state.date.Format(time.Now()), OmitBody: a.headMethod}
}

// refusal returns the refusal that an error stands for: what is none, or not one that may be answered, is our
// fault.
func (a admission) refusal(err error) *wsproto.RequestError {
	var refusal *wsproto.RequestError
	if errors.As(err, &refusal) && refusal != nil && 400 <= refusal.Status && refusal.Status <= 599 &&
		(refusal != wsproto.ErrInternal || err == refusal) {
		return refusal
	}
	a.srv.log.Error("handshake failed", "session", a.session().ID(), "err", err)
	return wsproto.ErrInternal
}

// endRequest sends an answer other than 101, and closes the connection. answer lies in the scratch buffer.
func (a admission) endRequest(answer []byte, status int, err error) {
	a.state.scratch = answer
	_ = a.srv.tr.Send(a.c, netpoll.Message{Body: answer, Final: true}) // or the socket has failed
	a.state.shrink()
	a.srv.stats.handshake(status)
	a.reportFailure(status, err)
	a.endSession(ByServer, wsproto.StatusAbnormal, "", false)
	a.CloseFlushed(true)
}
