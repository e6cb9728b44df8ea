package suite

import (
	"fmt"
	"slices"
	"strings"

	"wsgateway/bench/conformance/internal/engine"
	"wsgateway/bench/conformance/internal/wire"
)

// answer says how the answers to a request are judged.
type answer struct {
	want    []int          // statuses that are exact; 101 is upgraded
	upgrade engine.Verdict // on 101, unless wanted
	dropped engine.Verdict // when the connection ends without an answer
	should  bool           // the RFC recommends the upgrade: a refusal is not strict
}

// refuses wants a refusal with one of the statuses. An upgrade violates a MUST.
func refuses(want ...int) answer { return answer{want: want, upgrade: fail, dropped: fail} }

// refusesHTTP is refuses for what is wrong on the level of HTTP, where a server
// may also just hang up.
func refusesHTTP(want ...int) answer { return answer{want: want, upgrade: fail, dropped: nonStrict} }

// mayUpgrade is refuses for what the RFC lets a server be lenient about.
func mayUpgrade(want ...int) answer {
	return answer{want: want, upgrade: nonStrict, dropped: nonStrict}
}

// upgrades wants the connection to be opened.
func upgrades() answer { return answer{want: []int{101}, dropped: fail} }

// shouldUpgrade wants the connection to be opened, where no MUST demands it.
func shouldUpgrade() answer { return answer{want: []int{101}, dropped: nonStrict, should: true} }

// either wants an upgrade or one of the statuses.
func either(want ...int) answer { return answer{want: append([]int{101}, want...), dropped: nonStrict} }

func (a answer) String() string {
	var all []string
	for _, w := range a.want {
		all = append(all, fmt.Sprint(w))
	}
	return strings.Join(all, " or ")
}

// answered reads the answer and judges it. An upgrade must be a correct one in
// any case, and carry an echo if it was wanted.
func answered(a answer) step {
	return func(s *session) {
		r, e := s.Response(s.Cfg.Timeout)
		switch {
		case e != nil && e.Ended():
			s.Judge(a.dropped, a.String())
			s.Stop()
		case e != nil:
			s.Judge(fail, a.String())
		case !r.Complete:
			s.Saw("a body shorter than its Content-Length")
			s.Judge(fail, a.String()+" with a complete body")
		case r.Status == 101:
			if !slices.Contains(a.want, 101) {
				s.Judge(a.upgrade, a.String())
			}
			checkUpgrade(s, r)
			if slices.Contains(a.want, 101) {
				alive()(s)
			}
		case !slices.Contains(a.want, r.Status):
			s.Judge(wrongStatus(a, r.Status), a.String())
		default:
			checkStatus(s, r)
		}
	}
}

// wrongStatus judges a refusal that is not the exact one.
func wrongStatus(a answer, status int) engine.Verdict {
	refusal := a.should || slices.ContainsFunc(a.want, func(w int) bool { return w >= 400 })
	if !refusal || status < 300 {
		return fail
	}
	return nonStrict
}

// checkStatus judges the fields that belong to a status.
func checkStatus(s *session, r *wire.Response) {
	switch r.Status {
	case 405:
		if len(r.Values("Allow")) == 0 {
			s.Saw("no Allow")
			s.Judge(nonStrict, "405 with Allow (RFC 9110 15.5.6)")
		}
	case 426:
		if !r.HasToken("Upgrade", "websocket") {
			s.Saw("no Upgrade")
			s.Judge(nonStrict, "426 with Upgrade: websocket (RFC 9110 15.5.22)")
		}
	}
}

// checkUpgrade judges the fields of a 101 (RFC 6455 section 4.2.2).
func checkUpgrade(s *session, r *wire.Response) {
	accept := r.Values("Sec-WebSocket-Accept")
	upgrade := r.Values("Upgrade")
	switch {
	case !strings.HasPrefix(r.Head, "HTTP/1.1 "):
		s.Saw("%.12q", r.Head)
		s.Judge(fail, "101 of HTTP/1.1")
	case len(upgrade) != 1 || !strings.EqualFold(upgrade[0], "websocket"):
		s.Saw("Upgrade %q", upgrade)
		s.Judge(fail, "101 with Upgrade: websocket")
	case !r.HasToken("Connection", "upgrade"):
		s.Saw("Connection %q", r.Values("Connection"))
		s.Judge(fail, "101 with Connection: Upgrade")
	case len(accept) != 1 || accept[0] != wire.Accept(s.Key):
		s.Saw("Sec-WebSocket-Accept %q", accept)
		s.Judge(fail, "101 with Sec-WebSocket-Accept: "+wire.Accept(s.Key))
	case len(r.Values("Content-Length"))+len(r.Values("Transfer-Encoding")) > 0:
		s.Saw("a length of the body")
		s.Judge(fail, "101 without Content-Length and Transfer-Encoding (RFC 9110 8.6, RFC 9112 6.1)")
	}
}

// upgraded reads a 101 and gives it to check. Anything else is FAIL.
func upgraded(check func(*session, *wire.Response)) step {
	return func(s *session) {
		r, e := s.Response(s.Cfg.Timeout)
		if e != nil || r.Status != 101 {
			s.Judge(fail, "101")
			return
		}
		checkUpgrade(s, r)
		check(s, r)
	}
}

// absent wants a 101 without a field.
func absent(name string) step {
	return upgraded(func(s *session, r *wire.Response) {
		if v := r.Values(name); len(v) > 0 {
			s.Saw("%s: %s", name, strings.Join(v, " | "))
			s.Judge(fail, "101 without "+name)
		}
	})
}

// present wants a 101 with one line of a field, and a value.
func present(name string, value func(*config) string) step {
	return upgraded(func(s *session, r *wire.Response) {
		if v := r.Values(name); len(v) != 1 || v[0] != value(s.Cfg) {
			s.Saw("%s: %s", name, strings.Join(v, " | "))
			s.Judge(fail, "101 with "+name+": "+value(s.Cfg))
		}
	})
}
