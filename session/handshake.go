package session

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
)

// Upgrade is an opening handshake that Route.OnUpgrade decides about. It is valid until OnUpgrade
// returns.
type Upgrade struct {
	// Context is for calls that the decision has to wait for, such as a query. It ends when the
	// client ends the connection, when Config.HandshakeTimeout is over, when Server.Close is
	// called, and when the handshake has been answered. If OnUpgrade never blocks
	// (UpgradeNeverBlocks) it ends at Close only.
	Context    context.Context
	Request    *Request
	RemoteAddr netip.AddrPort // see Session.RemoteAddr
	// Subprotocol is the one chosen from Route.Subprotocols. OnUpgrade may set another one that the
	// client offers, or "" for none.
	Subprotocol string
	Header      []Field // to be added to the answer if the handshake is accepted
	Value       any     // for Session.Value, if the handshake is accepted
	User        string  // for Session.User, if the handshake is accepted; "" for none

	http *http.Request // of a connection that net/http has accepted; nil for others
}

// PathValue returns the value of the wildcard with that name in Route.Path, see Session.PathValue.
func (u *Upgrade) PathValue(name string) string { return u.Request.PathValue(name) }

// Query returns the parameters of the request's query, parsed anew by each call.
func (u *Upgrade) Query() url.Values { return u.Request.Query() }

// HTTPRequest returns the request as net/http has it, for code that takes an *http.Request: cookies,
// tokens, sessions. Each call makes a copy, which may be kept. Behind Server.ServeHTTP it is a copy of
// the request that ServeHTTP was called with. Its context has that request's values and ends with
// u.Context. Otherwise its context is u.Context. Its path values are those of Route.Path, beside those
// that the request had.
//
// Errors: those of http.ReadRequest.
func (u *Upgrade) HTTPRequest() (*http.Request, error) {
	if u.http != nil {
		r := u.http.Clone(valuesOf{u.Context, u.http.Context()})
		u.Request.PathValues().All(func(name, value string) bool {
			r.SetPathValue(name, value)
			return true
		})
		return r, nil
	}
	r, err := u.Request.HTTPRequest()
	if err != nil {
		return nil, err
	}
	if u.RemoteAddr.IsValid() {
		r.RemoteAddr = u.RemoteAddr.String()
	}
	return r.WithContext(u.Context), nil
}

// valuesOf is a context with the values of another one. net/http ends a request's context when
// ServeHTTP has returned, and the decision may be made later.
type valuesOf struct {
	context.Context
	values context.Context
}

func (v valuesOf) Value(key any) any { return v.values.Value(key) }

// Respond returns an error. If OnUpgrade returns that, the handshake is refused with the response
// r, a redirect for instance. r may be shared, and must not change until it has been sent.
func (u *Upgrade) Respond(r *Response) error { return &refusingResponse{r} }

// refusingResponse is the error of OnUpgrade that stands for a response.
type refusingResponse struct{ *Response }

func (r *refusingResponse) Error() string {
	return "session: refused with " + strconv.Itoa(r.Status) + " " + http.StatusText(r.Status)
}
