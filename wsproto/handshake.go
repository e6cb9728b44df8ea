package wsproto

import (
	"bytes"
	"iter"
)

// CheckUpgrade judges a parsed request as the opening handshake of a client (RFC 6455 §4.2.1). The
// error is a *RequestError:
//
//   - 505 for a version other than HTTP/1.1
//   - 405 for a method other than GET
//   - 426 if the request does not ask for WebSocket, or not for version 13
//   - 400 for everything else
func (r *Request) CheckUpgrade() error {
	switch {
	case r.major != 1 || r.minor != 1:
		return errVersion
	case string(r.Method) != "GET":
		return errMethod
	}
	if err := r.checkConnection(); err != nil {
		return err
	}
	if v, ok := r.single(fieldVersion); !ok || string(v) != "13" {
		return errWSVersion
	}
	if v, ok := r.single(fieldKey); !ok || !validKey(v) {
		return errKey
	}
	if !r.validSubprotocols() {
		return errProtocols
	}
	if !r.validExtensionLines() {
		return errExtensions
	}
	return nil
}

// checkConnection looks for websocket in Upgrade and for upgrade in Connection.
// Both are lists, without regard to case, that may go on over several lines
// (RFC 9110 §7.8, §7.6.1).
func (r *Request) checkConnection() error {
	found, elements := false, 0
	for v := range r.each(fieldUpgrade) {
		for e := []byte(nil); len(v) > 0; {
			if e, v = nextElement(v); len(e) == 0 {
				continue
			}
			if !validProtocol(e) {
				return errUpgrade
			}
			elements++
			found = found || equalFold(e, "websocket")
		}
	}
	if !found {
		return errNoUpgrade
	}
	up, _ := r.single(fieldUpgrade)
	r.normalise = elements > 1 || !equalFold(up, "websocket")

	found, elements = false, 0
	for v := range r.each(fieldConnection) {
		if bytes.IndexByte(v, '\t') >= 0 { // gobwas/ws separates by spaces alone
			r.normalise = true
		}
		for e := []byte(nil); len(v) > 0; elements++ {
			if e, v = nextElement(v); len(e) == 0 {
				r.normalise = true
				continue
			}
			if !isToken(e) {
				return errConnection
			}
			found = found || equalFold(e, "upgrade")
		}
	}
	if !found {
		return errConnection
	}
	if r.known[fieldConnection].lines > 1 {
		r.normalise = true
	}
	return nil
}

// validProtocol checks protocol-name [ "/" protocol-version ] (RFC 9110 §7.8).
func validProtocol(p []byte) bool {
	rest, ok := cutToken(p)
	if !ok || len(rest) == 0 {
		return ok
	}
	return rest[0] == '/' && isToken(rest[1:])
}

// validExtensionLines checks that the lines of Sec-WebSocket-Extensions are one list of at least
// one extension (RFC 6455 §9.1). A line without a value counts as absent: React Native sends one.
func (r *Request) validExtensionLines() bool {
	offers, commas := 0, false
	for v := range r.each(fieldExtensions) {
		n, ok := validExtensions(v)
		if !ok {
			return false
		}
		offers += n
		commas = commas || len(v) > 0
	}
	return offers > 0 || !commas
}

// validSubprotocols checks that the lines of Sec-WebSocket-Protocol are one list of at least one
// token (RFC 6455 §11.3.4, §4.3). A line without a value counts as absent: React Native sends one.
func (r *Request) validSubprotocols() bool {
	offers, commas := 0, false
	for v := range r.each(fieldProtocol) {
		commas = commas || len(v) > 0
		for e := []byte(nil); len(v) > 0; {
			if e, v = nextElement(v); len(e) == 0 {
				continue
			}
			if !isToken(e) {
				return false
			}
			offers++
		}
	}
	return offers > 0 || !commas
}

// Subprotocols returns the subprotocols that the client offers, in the order of its preference (RFC
// 6455 §11.3.4).
func (r *Request) Subprotocols() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for v := range r.each(fieldProtocol) {
			for e := []byte(nil); len(v) > 0; {
				if e, v = nextElement(v); len(e) > 0 && !yield(e) {
					return
				}
			}
		}
	}
}

// OffersSubprotocol reports whether the client offers that subprotocol. Case matters in its name.
func (r *Request) OffersSubprotocol(name string) bool {
	for e := range r.Subprotocols() {
		if string(e) == name {
			return true
		}
	}
	return false
}

// ChooseSubprotocol returns the first of the names that the client offers, or "" if it offers none
// of them.
func (r *Request) ChooseSubprotocol(names []string) string {
	for _, name := range names {
		if r.OffersSubprotocol(name) {
			return name
		}
	}
	return ""
}

// AsksForWebSocket reports whether the Upgrade field names websocket. A request without that is
// plain HTTP, which CheckUpgrade refuses with 426.
func (r *Request) AsksForWebSocket() bool {
	for v := range r.each(fieldUpgrade) {
		for e := []byte(nil); len(v) > 0; {
			if e, v = nextElement(v); equalFold(e, "websocket") {
				return true
			}
		}
	}
	return false
}
