package suite

import (
	"fmt"
	"strings"
	"time"

	"wsgateway/bench/conformance/internal/engine"
	"wsgateway/bench/conformance/internal/wire"
)

// canary is put into requests to see whether it comes back.
const canary = "cAnArY7153"

// refusalCases are about the answers to refused handshakes.
func refusalCases() []*testCase {
	refused := []struct {
		variant string
		edit    edit
	}{
		{"method", method("POST")},
		{"version", set("Sec-WebSocket-Version", "8")},
		{"key", set("Sec-WebSocket-Key", "short")},
		{"upgrade", drop("Upgrade")},
		{"connection", drop("Connection")},
		{"host", drop("Host")},
		{"field", line("X Test: 1")},
		{"http-1.0", version("HTTP/1.0")},
	}
	f := family{"H15", "RFC 9110 15.5.22", "A server that sends 426 must send an Upgrade field with it."}
	out := []*testCase{
		f.add("upgrade-field", "a 426 to a missing Upgrade", request(refused[3].edit), answered(refuses(426))),
		f.add("version-field", "a 426 to another version", request(refused[1].edit), answered(refuses(426))),
	}
	closing := family{"H16", "RFC 9112 9.6", "A refused handshake is answered completely, says Connection: close, and the connection ends: a second request could be smuggled past a proxy."}
	length := family{"H16", "RFC 9112 6.3", "The length of a response's body is told exactly."}
	dated := family{"H16", "RFC 9110 6.6.1", "A server with a clock sends a Date field in every answer with a status of 2xx, 3xx or 4xx."}
	second := family{"H16", "RFC 9112 9.6", "After Connection: close no further request is served."}
	for _, r := range refused {
		out = append(out,
			closing.add("close-"+r.variant, "the refusal of a wrong "+r.variant+" ends the connection", request(r.edit), refusal(ends)),
			dated.add("date-"+r.variant, "the refusal of a wrong "+r.variant+" has a Date", request(r.edit), refusal(hasDate)),
			length.add("length-"+r.variant, "the body of the refusal of a wrong "+r.variant, request(r.edit), refusal(exactBody)),
			second.add("later-"+r.variant, "a second request when a wrong "+r.variant+" was answered", request(r.edit), refusal(laterRequest)),
			second.add("second-"+r.variant, "a second request behind a wrong "+r.variant, secondRequest(r.edit)),
		)
	}
	return append(out, canaryCases()...)
}

// ends wants a refusal to end the connection.
func ends(s *session, r *wire.Response) {
	if !r.HasToken("Connection", "close") {
		s.Saw("no Connection: close")
		s.Judge(nonStrict, "Connection: close")
	}
	switch e := s.Next(s.Cfg.Soon(time.Second)); {
	case e.Ended():
	case e.Kind == engine.Timeout && !r.HasToken("Connection", "close"):
		s.Judge(nonStrict, "EOF within 1s")
	default:
		s.Judge(fail, "EOF within 1s")
	}
}

// hasDate wants the time in an answer of 4xx, in the form of today (RFC 9110 5.6.7).
func hasDate(s *session, r *wire.Response) {
	values := r.Values("Date")
	if len(values) == 0 && r.Status >= 500 {
		return // may be left out
	}
	if len(values) != 1 {
		s.Saw("%d Date fields", len(values))
		s.Judge(fail, "one Date field")
		return
	}
	at, err := time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", values[0])
	switch {
	case err != nil:
		s.Saw("Date: %s", values[0])
		s.Judge(fail, "a Date in IMF-fixdate form")
	case time.Since(at).Abs() > time.Hour:
		s.Saw("Date: %s", values[0])
		s.Judge(nonStrict, "the time of today")
	}
}

// exactBody wants a body of the length the head tells.
func exactBody(s *session, r *wire.Response) {
	switch {
	case !r.Complete:
		s.Saw("an incomplete body")
		s.Judge(fail, "a complete body")
	case r.ToEOF:
		s.Saw("no Content-Length")
		s.Judge(nonStrict, "a Content-Length")
	default:
		if more := s.Rest(s.Cfg.Soon(100 * time.Millisecond)); len(more) > 0 {
			s.Saw("%d bytes behind the body", len(more))
			s.Judge(fail, "nothing behind the body")
		}
	}
}

// laterRequest sends a correct handshake when the one before was refused.
func laterRequest(s *session, r *wire.Response) {
	s.Write([]byte(newHead(s, &s.Cfg.Target).text()))
	noSecondAnswer(s, r)
}

func noSecondAnswer(s *session, r *wire.Response) {
	again, e := s.Response(s.Cfg.Soon(time.Second))
	switch {
	case e != nil && (e.Ended() || e.Kind == engine.Timeout):
	case again != nil && r.HasToken("Connection", "close"):
		s.Judge(fail, "no second answer")
	default:
		s.Judge(nonStrict, "no second answer")
	}
}

// secondRequest sends a request to be refused and a correct one behind it.
func secondRequest(e edit) step {
	return func(s *session) {
		t := &s.Cfg.Target
		bad, good := newHead(s, t), newHead(s, t)
		e(bad)
		s.Connect(t)
		s.Write([]byte(bad.text() + good.text()))
		refusal(noSecondAnswer)(s)
	}
}

func canaryCases() (out []*testCase) {
	f := family{"H16", "good practice", "An error answer does not repeat what the client has sent: it could be script, or split a response."}
	for _, r := range []struct {
		variant string
		edit    edit
	}{
		{"path", edits(path(func(_, p string) string { return p + "?" + canary }), drop("Upgrade"))},
		{"path-not-found", edits(target("/"+canary), drop("Upgrade"))},
		{"method", method(canary)},
		{"http-version", version("HTTP/" + canary)},
		{"host", set("Host", canary+" x")},
		{"origin", edits(add("Origin", "https://"+canary+".example"), drop("Upgrade"))},
		{"protocol", add("Sec-WebSocket-Protocol", canary+" x")},
		{"extension", add("Sec-WebSocket-Extensions", canary+" x")},
		{"key", set("Sec-WebSocket-Key", canary)},
		{"version", set("Sec-WebSocket-Version", canary)},
		{"upgrade", set("Upgrade", canary)},
		{"field-name", line(canary + " x: 1")},
		{"field-value", edits(add("X-Test", canary), drop("Upgrade"))},
		{"header-split", edits(path(func(_, p string) string { return p + "?%0d%0aX-Injected:%20" + canary }), drop("Upgrade"))},
	} {
		out = append(out, f.add("canary-"+r.variant, fmt.Sprintf("a canary in the %s", r.variant), request(r.edit), noCanary))
	}
	return out
}

func noCanary(s *session) {
	r, e := s.Response(s.Cfg.Timeout)
	switch {
	case e != nil && e.Ended():
	case e != nil:
		s.Judge(fail, "a refusal")
	case strings.Contains(r.Head, canary):
		s.Judge(fail, "no canary in the head of the answer")
	case strings.Contains(string(r.Body), canary):
		s.Judge(nonStrict, "no canary in the body of the answer")
	}
}
