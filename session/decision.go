package session

import (
	"context"
	"fmt"
	"slices"

	"wsgateway/wsproto"
)

// decision is what is to be answered to a request: a response, a refusal, or else the upgrade.
type decision struct {
	response *wsproto.Response
	err      error

	accept wsproto.Accept
	value  any    // for Session.Value
	user   string // for Session.User
}

// decide has the route decide about a request: Route.HTTP, Route.OnUpgrade, or nobody where there is neither. It
// survives their panic.
func (s Session) decide(r *request, ctx context.Context, w *callWatch) (d decision) {
	if !r.asks() {
		return decision{accept: r.route.accept}
	}
	defer func() {
		if s.srv.panicked(s.c, recover()) {
			d = decision{err: wsproto.ErrInternal}
		}
	}()
	defer w.leave()
	w.enter(s.c)
	if r.plain {
		return callHTTP(r)
	}
	return s.callOnUpgrade(r, ctx)
}

// callHTTP has the route answer a request that is plain HTTP.
func callHTTP(r *request) decision {
	if response := r.route.HTTP(r.Request); response != nil {
		return decision{response: response}
	}
	return decision{err: wsproto.ErrNotFound}
}

// callOnUpgrade has the route decide about a handshake.
func (s Session) callOnUpgrade(r *request, ctx context.Context) decision {
	u := Upgrade{
		Context:     ctx,
		Request:     r.Request,
		RemoteAddr:  s.srv.tr.Peer(s.c),
		Subprotocol: r.ChooseSubprotocol(r.route.Subprotocols),
		http:        r.http,
	}
	if err := r.route.OnUpgrade(&u); err != nil {
		return decision{err: err}
	}
	if u.User != "" && !ValidChannelName(u.User) {
		return decision{err: fmt.Errorf("OnUpgrade set a user: %w", ErrChannelName)}
	}
	d := decision{accept: r.route.accept, value: u.Value, user: u.User}
	d.accept.Subprotocols = nil
	if u.Subprotocol != "" {
		if !r.OffersSubprotocol(u.Subprotocol) {
			return decision{err: fmt.Errorf("OnUpgrade chose subprotocol %q, which was not offered", u.Subprotocol)}
		}
		d.accept.Subprotocols = []string{u.Subprotocol}
	}
	if len(u.Header) > 0 {
		d.accept.Header = slices.Concat(d.accept.Header, u.Header)
	}
	return d
}
