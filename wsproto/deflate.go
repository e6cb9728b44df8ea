package wsproto

import "strconv"

// deflateExtension is the name of permessage-deflate (RFC 7692 §7).
const deflateExtension = "permessage-deflate"

// The sizes of a window of DEFLATE, as powers of two in bytes (RFC 7692 §7.1.2).
const (
	MinWindowBits = 8
	MaxWindowBits = 15
)

// deflateAnswer accepts an offer (RFC 7692 §7.1). Neither side carries a window from one message to
// the next: that would cost a connection hundreds of kilobytes. The size of the client's window
// does not matter to us, so the answer does not limit it.
const deflateAnswer = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// deflateAnswers accept an offer that names server_max_window_bits, which the answer has to name as
// well (RFC 7692 §7.1.2.1).
var deflateAnswers = func() (lines [MaxWindowBits + 1]string) {
	for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
		lines[bits] = deflateAnswer + "; server_max_window_bits=" + string(strconv.AppendInt(nil, int64(bits), 10)) + "\r\n"
	}
	return lines
}()

// deflateTerms are what an offer of permessage-deflate asks for. The zero value is no offer that
// can be met.
type deflateTerms struct {
	windowBits uint8 // of the server
	named      bool  // the offer names server_max_window_bits
}

// answer returns the header line that accepts the terms, or "".
func (t deflateTerms) answer() string {
	switch {
	case t.windowBits == 0:
		return ""
	case t.named:
		return deflateAnswers[t.windowBits]
	}
	return deflateAnswer + "\r\n"
}

// OffersDeflate reports whether the client offers permessage-deflate on terms that can be met.
func (r *Request) OffersDeflate() bool { return r.deflateOffer() != deflateTerms{} }

// deflateOffer looks for the first offer of permessage-deflate that can be met. It passes over an
// offer that breaks RFC 7692 or has an unknown parameter, which declines it (§5.1, §7.1).
func (r *Request) deflateOffer() deflateTerms {
	for v := range r.each(fieldExtensions) {
		for {
			var e []byte
			if e, v = nextExtension(v); len(e) == 0 {
				break
			}
			name, params := cutName(e)
			if string(name) != deflateExtension {
				continue
			}
			if terms := acceptDeflate(params); terms.windowBits > 0 {
				return terms
			}
		}
	}
	return deflateTerms{}
}

// The parameters of permessage-deflate.
const (
	serverNoTakeover = 1 << iota
	clientNoTakeover
	serverWindow
	clientWindow
)

// acceptDeflate judges the parameters of one offer. Its grammar has been checked.
func acceptDeflate(params []byte) deflateTerms {
	terms, seen := deflateTerms{windowBits: MaxWindowBits}, 0
	for len(params) > 0 {
		var name, value []byte
		var scratch [8]byte
		name, value, params = nextParam(params, scratch[:0])
		which, ok := 0, false
		switch string(name) {
		case "server_no_context_takeover":
			which, ok = serverNoTakeover, value == nil
		case "client_no_context_takeover":
			which, ok = clientNoTakeover, value == nil
		case "server_max_window_bits":
			terms = deflateTerms{windowBits(value), true}
			which, ok = serverWindow, terms.windowBits > 0
		case "client_max_window_bits":
			which, ok = clientWindow, value == nil || windowBits(value) > 0
		}
		if !ok || seen&which != 0 {
			return deflateTerms{}
		}
		seen |= which
	}
	return terms
}

// windowBits returns the value of a parameter of that kind: 8 to 15, decimal, without leading zeros
// (RFC 7692 §7.1.2). It is 0 for anything else.
func windowBits(v []byte) uint8 {
	switch {
	case len(v) == 1 && (v[0] == '8' || v[0] == '9'):
		return v[0] - '0'
	case len(v) == 2 && v[0] == '1' && '0' <= v[1] && v[1] <= '5':
		return 10 + v[1] - '0'
	}
	return 0
}
