package suite

import (
	"fmt"
	"strings"

	"wsgateway/bench/conformance/internal/wire"
)

const extensions = "Sec-WebSocket-Extensions"

// plainOffer is what most clients send.
const plainOffer = "permessage-deflate; client_max_window_bits"

// takeDeflate reads the extension in a 101, judges it, and tells the session.
func takeDeflate(s *session, r *wire.Response) {
	d := answeredDeflate(s, r)
	if d != nil {
		s.Compressed(d)
	}
}

// answeredDeflate is what the server says about permessage-deflate, nil if it
// declines.
func answeredDeflate(s *session, r *wire.Response) *wire.Deflate {
	lines := r.Values(extensions)
	if len(lines) == 0 {
		return nil
	}
	answer := strings.Join(lines, ", ")
	s.Saw("%s: %s", extensions, answer)
	if !strings.Contains(strings.ToLower(s.Offer), "permessage-deflate") {
		s.Judge(fail, "no extension that was not offered")
		return nil
	}
	name, params, err := wire.ParseExtension(answer)
	if err != nil || !strings.EqualFold(name, "permessage-deflate") {
		s.Judge(fail, "one permessage-deflate")
		return nil
	}
	d, err := wire.ParseDeflate(params)
	switch {
	case err != nil:
		s.Saw("%v", err)
		s.Judge(fail, "correct parameters")
		return nil
	case d.ClientBits != 0 && !strings.Contains(s.Offer, "client_max_window_bits"):
		s.Judge(fail, "client_max_window_bits only if it was offered (RFC 7692 7.1.2.2)")
	}
	return d
}

// offers sends offers, a line each, and judges the answer. A server may decline
// every offer, so check gets nil then.
func offers(check func(*session, *wire.Deflate), lines ...string) step {
	return func(s *session) {
		var all []edit
		for _, l := range lines {
			all = append(all, add(extensions, l))
		}
		request(all...)(s)
		s.Offer = strings.Join(lines, ", ")
		if s.Done() {
			return
		}
		upgraded(func(s *session, r *wire.Response) {
			d := answeredDeflate(s, r)
			if s.Done() {
				return
			}
			if check(s, d); d != nil && !s.Done() {
				s.Compressed(d)
				sequence(deflated(wire.Text, []byte(sample)), deflated(wire.Text, []byte(sample)))(s)
			}
		})(s)
	}
}

// sample is long enough to be worth compressing.
var sample = strings.Repeat("the same words again and again, ", 40)

// supported ends the case with SKIP unless the server compresses at all.
func supported(s *session) {
	openAt(s, &s.Cfg.Target, add(extensions, plainOffer))
	if s.Deflate == nil && !s.Done() {
		s.Judge(skip, "the server declines "+plainOffer)
	}
}

// accepted wants the offer to be taken by a server that takes the plain one.
func accepted(s *session, d *wire.Deflate) {
	if d == nil {
		s.Judge(nonStrict, "permessage-deflate accepted")
	}
}

// declined wants an offer not to be taken.
func declined(s *session, d *wire.Deflate) {
	if d != nil {
		s.Judge(fail, "101 without permessage-deflate")
	}
}

func mayAccept(*session, *wire.Deflate) {}

// negotiationCases are those of RFC 7692 sections 5 and 7.1.
func negotiationCases() []*testCase {
	good := family{"D2", "RFC 7692 5.1, 7.1", "A server takes an offer, with the parameters it needs, or declines it by leaving it out."}
	out := []*testCase{
		good.add("plain", "no parameters", supported, offers(accepted, "permessage-deflate")),
		good.add("common", "as browsers offer it", supported, offers(accepted, plainOffer)),
		good.add("quoted", "a quoted value", supported, offers(accepted, `permessage-deflate; client_max_window_bits="15"`)),
		good.add("spaces", "blanks in many places", supported, offers(accepted, "permessage-deflate ;client_max_window_bits ; server_no_context_takeover")),
		good.add("tight", "no blanks", supported, offers(accepted, "permessage-deflate;client_max_window_bits;server_no_context_takeover")),
		good.add("all", "all parameters", supported, offers(noServerContext, "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15; client_max_window_bits=15")),
		good.add("two-equal", "the same offer twice", supported, offers(accepted, plainOffer+", "+plainOffer)),
		good.add("two-lines", "two lines", supported, offers(accepted, "x-unknown", plainOffer)),
		good.add("after-unknown", "behind an unknown extension", supported, offers(accepted, "x-unknown; a=1, "+plainOffer)),
		good.add("before-unknown", "before an unknown extension", supported, offers(accepted, plainOffer+", x-unknown")),
		good.add("upper", "the name in upper case", offers(mayAccept, "PERMESSAGE-DEFLATE")),
		good.add("longer-name", "another name that begins so", offers(declined, "permessage-deflate2")),
	}
	bad := family{"D2", "RFC 7692 7.1", "A server must decline an offer with a parameter that is unknown, duplicate or has an invalid value; that is no error of the handshake."}
	for _, r := range []struct{ variant, params string }{
		{"unknown", "x=1"}, {"unknown-flag", "foo"}, {"case", "Client_No_Context_Takeover"},
		{"twice-flag", "server_no_context_takeover; server_no_context_takeover"}, {"twice-client-flag", "client_no_context_takeover; client_no_context_takeover"},
		{"twice-bits", "client_max_window_bits; client_max_window_bits"}, {"twice-bits-values", "client_max_window_bits=15; client_max_window_bits=14"},
		{"twice-server-bits", "server_max_window_bits=15; server_max_window_bits=15"},
		{"server-flag-value", "server_no_context_takeover=1"}, {"client-flag-value", "client_no_context_takeover=true"},
	} {
		out = append(out, bad.add("bad-"+r.variant, r.params, offers(declined, "permessage-deflate; "+r.params)))
	}
	bits := family{"D6", "RFC 7692 7.1.2", "Window bits are a decimal number from 8 to 15 without leading zeros; server_max_window_bits needs a value."}
	for _, v := range []string{"7", "16", "0", "08", "015", "-8", "+8", "8.0", "0x8", "x", "100", "99999999999999999999"} {
		out = append(out,
			bits.add("client-"+v, "client_max_window_bits="+v, offers(declined, "permessage-deflate; client_max_window_bits="+v)),
			bits.add("server-"+v, "server_max_window_bits="+v, offers(declined, "permessage-deflate; server_max_window_bits="+v)))
	}
	empty := family{"D6", "RFC 6455 9.1", "A parameter with an equals sign has a value: without it the field is malformed, or the offer at least declined."}
	for _, v := range []struct{ variant, value string }{{"nothing", ""}, {"quotes", `""`}} {
		out = append(out, empty.add("client-empty-"+v.variant, "client_max_window_bits="+v.value,
			request(add(extensions, "permessage-deflate; client_max_window_bits="+v.value)), answered(refuses(400))))
	}
	out = append(out, bits.add("server-no-value", "server_max_window_bits without a value", offers(declined, "permessage-deflate; server_max_window_bits")))
	return append(out, contextCases()...)
}

func contextCases() []*testCase {
	takeover := family{"D3", "RFC 7692 7.1.1", "A server that takes an offer with server_no_context_takeover says so in its answer, and obeys."}
	out := []*testCase{
		takeover.add("server", "server_no_context_takeover", supported, offers(noServerContext, "permessage-deflate; server_no_context_takeover")),
		takeover.add("client", "client_no_context_takeover", supported, offers(accepted, "permessage-deflate; client_no_context_takeover")),
		takeover.add("both", "both", supported, offers(noServerContext, "permessage-deflate; client_no_context_takeover; server_no_context_takeover")),
	}
	server := family{"D4", "RFC 7692 7.1.2.1", "A server that takes an offer with server_max_window_bits answers with the same or a smaller value, and uses no larger window."}
	client := family{"D5", "RFC 7692 7.1.2.2", "client_max_window_bits is in the answer only if it was offered, with a value that is not greater."}
	for n := 8; n <= 15; n++ {
		out = append(out,
			server.add(fmt.Sprint("bits-", n), fmt.Sprintf("server_max_window_bits=%d", n), offers(func(s *session, d *wire.Deflate) {
				switch {
				case d == nil:
				case d.ServerBits == 0 && n == 15: // no other window would be used
					s.Judge(nonStrict, "server_max_window_bits=15")
				case d.ServerBits == 0 || d.ServerBits > n:
					s.Judge(fail, fmt.Sprintf("server_max_window_bits=%d or less, or no permessage-deflate", n))
				}
			}, fmt.Sprintf("permessage-deflate; server_max_window_bits=%d", n))),
			client.add(fmt.Sprint("bits-", n), fmt.Sprintf("client_max_window_bits=%d", n), offers(func(s *session, d *wire.Deflate) {
				if d != nil && d.ClientBits > n {
					s.Judge(fail, fmt.Sprintf("client_max_window_bits=%d or less, or none", n))
				}
			}, fmt.Sprintf("permessage-deflate; client_max_window_bits=%d", n))))
	}
	out = append(out, smallWindowCases()...)
	out = append(out, client.add("not-offered", "none offered, none in the answer", offers(mayAccept, "permessage-deflate")),
		client.add("not-offered-server", "server_max_window_bits only", offers(mayAccept, "permessage-deflate; server_max_window_bits=15")))
	fallback := family{"D2", "RFC 7692 5.1, 7.1", "Offers are judged one by one in the order of preference: a bad one does not spoil the next."}
	for _, r := range []struct {
		variant string
		lines   []string
	}{
		{"unknown", []string{"permessage-deflate; x=1, permessage-deflate"}},
		{"bits", []string{"permessage-deflate; client_max_window_bits=16, " + plainOffer}},
		{"duplicate", []string{"permessage-deflate; client_max_window_bits; client_max_window_bits, permessage-deflate"}},
		{"two-lines", []string{"permessage-deflate; server_max_window_bits=7", plainOffer}},
		{"small-window", []string{"permessage-deflate; server_max_window_bits=8, " + plainOffer}},
	} {
		out = append(out, fallback.add("fallback-"+r.variant, strings.Join(r.lines, " | "), supported, offers(accepted, r.lines...)))
	}
	return out
}

func noServerContext(s *session, d *wire.Deflate) {
	switch {
	case d == nil:
		s.Judge(nonStrict, "permessage-deflate accepted")
	case !d.ServerNoContext:
		s.Judge(fail, "server_no_context_takeover in the answer")
	}
}

// smallWindowCases send what a compressor with a larger window would refer back to. Their answers
// are read with a window of exactly the size that was agreed on.
func smallWindowCases() (out []*testCase) {
	obeyed := family{"D4", "RFC 7692 7.1.2.1", "A server that takes an offer with server_max_window_bits uses no larger window."}
	served := family{"D4", "RFC 7692 7.1.2.1", "Clients with little memory ask for a small window. A server may decline, but then they are served without compression."}
	for n := 8; n <= 15; n++ {
		offer := fmt.Sprintf("permessage-deflate; server_max_window_bits=%d", n)
		agreed := func(s *session, d *wire.Deflate) {
			if d == nil {
				s.Judge(skip, "the server declines "+offer)
			}
		}
		half := strings.Repeat(string(filler(3<<(n-2))), 2) // the same again, one and a half windows behind
		near := strings.Repeat(string(filler(1<<(n-1))), 4)
		out = append(out,
			obeyed.add(fmt.Sprint("obeyed-", n), fmt.Sprintf("repetitions behind %d window bits", n), offers(agreed, offer),
				deflated(wire.Text, []byte(half)), deflated(wire.Binary, []byte(near)), deflated(wire.Text, []byte(half+near)), alive()),
			served.add(fmt.Sprint("served-", n), fmt.Sprintf("messages within %d window bits come compressed", n), supported, offers(accepted, offer),
				someCompressed(near)))
	}
	return out
}

// someCompressed wants a message back in compressed form, if compression was agreed on. A server
// that is short of compressors may send some as they are.
func someCompressed(payload string) step {
	return func(s *session) {
		if s.Deflate == nil {
			return
		}
		for range 50 {
			if deflated(wire.Text, []byte(payload))(s); s.Done() || s.Packed > 0 {
				return
			}
		}
		s.Judge(nonStrict, "compressed messages")
	}
}
