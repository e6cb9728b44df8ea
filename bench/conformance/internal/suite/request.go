package suite

import (
	"fmt"
	"strings"
	"time"

	"wsgateway/bench/conformance/internal/engine"
	"wsgateway/bench/conformance/internal/wire"
)

// requestCases are those of HTTP below the handshake.
func requestCases() []*testCase {
	var all []*testCase
	for _, f := range []func() []*testCase{fieldCases, lineEndCases, bodyCases, targetCases, sizeCases, earlyCases} {
		all = append(all, f()...)
	}
	return all
}

func fieldCases() []*testCase {
	space := family{"H12", "RFC 9112 5.1", "A request with whitespace between a field name and its colon must be refused with 400."}
	name := family{"H12", "RFC 9110 5.1", "A field name is a token."}
	value := family{"H12", "RFC 9110 5.5", "CR, LF, NUL and other control characters are invalid in a value; they may at most be replaced by a space."}
	fold := family{"H12", "RFC 9112 5.2", "A folded line must be refused with 400, or its fold replaced by spaces."}
	meth := family{"H12", "RFC 9112 3, RFC 9110 9.1", "The method is a token, followed by exactly one space; an invalid request line should be answered with 400."}
	out := space.heads(
		headRow{"space-colon", "a space before the colon", line("X-Test : 1"), refusesHTTP(400)},
		headRow{"tab-colon", "a tab before the colon", line("X-Test\t: 1"), refusesHTTP(400)},
		headRow{"space-colon-host", "a space before the colon of Host", func(h *head) { v := h.value("Host"); edits(drop("Host"), line("Host : "+v))(h) }, refusesHTTP(400)},
	)
	out = append(out, name.heads(
		headRow{"name-empty", "an empty field name", line(": 1"), refusesHTTP(400)},
		headRow{"name-space", "a space in a field name", line("X Test: 1"), refusesHTTP(400)},
		headRow{"name-nul", "NUL in a field name", line("X-\x00Test: 1"), refusesHTTP(400)},
		headRow{"name-cr", "CR in a field name", line("X-\rTest: 1"), refusesHTTP(400)},
		headRow{"name-slash", "a slash in a field name", line("X/Test: 1"), refusesHTTP(400)},
		headRow{"name-quote", "a quote in a field name", line(`X"Test: 1`), refusesHTTP(400)},
		headRow{"name-non-ascii", "a byte over 7F in a field name", line("X-T\xe9st: 1"), refusesHTTP(400)},
		headRow{"name-control", "a control character in a field name", line("X-\x01Test: 1"), refusesHTTP(400)},
		headRow{"no-colon", "a line without a colon", line("X-Test"), refusesHTTP(400)},
		headRow{"name-token", "every character a token may have", line("X!#$%&'*+-.^_`|~09AZaz: 1"), upgrades()},
	)...)
	for _, c := range []struct {
		variant string
		b       byte
	}{{"nul", 0}, {"soh", 1}, {"bell", 7}, {"backspace", 8}, {"vt", 11}, {"ff", 12}, {"esc", 27}, {"us", 31}, {"del", 127}} {
		out = append(out, value.heads(headRow{"value-" + c.variant, fmt.Sprintf("byte %#02x in a value", c.b), line("X-Test: a" + string(rune(c.b)) + "b"), mayUpgrade(400)})...)
	}
	out = append(out, value.heads(
		headRow{"value-cr", "bare CR in a value", line("X-Test: a\rb"), mayUpgrade(400)},
		headRow{"value-cr-smuggle", "bare CR before what looks like a field", line("X-Test: a\rX-Other: b"), mayUpgrade(400)},
		headRow{"value-crcr", "CR CR LF", line("X-Test: a\r"), mayUpgrade(400)},
		headRow{"value-tab", "a tab in a value", line("X-Test: a\tb"), upgrades()},
		headRow{"value-latin1", "bytes over 7F in a value", line("X-Test: caf\xe9 \xff"), either(400)},
		headRow{"value-utf8", "UTF-8 in a value", line("X-Test: caf\xc3\xa9"), either(400)},
		headRow{"value-empty", "an empty value", line("X-Test:"), upgrades()},
		headRow{"value-colons", "colons in a value", line("X-Test: a:b::c"), upgrades()},
	)...)
	out = append(out, fold.heads(
		headRow{"fold-space", "a line folded by a space", line("X-Test: a\r\n b"), mayUpgrade(400)},
		headRow{"fold-tab", "a line folded by a tab", line("X-Test: a\r\n\tb"), mayUpgrade(400)},
		headRow{"fold-upgrade", "a folded Connection", set("Connection", "keep-alive,\r\n Upgrade"), mayUpgrade(400)},
		headRow{"fold-first", "whitespace before the first field", first(" X-Test: 1"), refusesHTTP(400)},
	)...)
	empty := family{"H12", "RFC 9112 2.2", "A server should ignore at least one empty line in front of the request line."}
	out = append(out, empty.heads(
		headRow{"crlf-first", "an empty line in front of the request line", method("\r\nGET"), shouldUpgrade()},
		headRow{"crlf-first-two", "two empty lines in front of it", method("\r\n\r\nGET"), either(400)},
		headRow{"crlf-first-many", "2 MiB of empty lines in front of it", method(strings.Repeat("\r\n", 1<<20) + "GET"), mayUpgrade(400, 431)},
		headRow{"lf-first", "a bare LF in front of the request line", method("\nGET"), either(400)},
		headRow{"cr-first", "a bare CR in front of the request line", method("\rGET"), mayUpgrade(400)},
	)...)
	return append(out, meth.heads(
		headRow{"method-empty", "no method", method(""), refusesHTTP(400, 405, 501)},
		headRow{"method-separator", "a method that is no token", method("G(T"), refusesHTTP(400, 405, 501)},
		headRow{"method-nul", "NUL in the method", method("GE\x00T"), refusesHTTP(400, 405, 501)},
		headRow{"method-tab", "a tab behind the method", method("GET\t"), mayUpgrade(400, 405, 501)},
		headRow{"method-two-spaces", "two spaces behind the method", method("GET "), mayUpgrade(400)},
		headRow{"method-leading-space", "a space before the method", method(" GET"), mayUpgrade(400, 405)},
		headRow{"version-two-spaces", "two spaces before the version", version(" HTTP/1.1"), mayUpgrade(400, 505)},
		headRow{"version-trailing-space", "a space behind the version", version("HTTP/1.1 "), mayUpgrade(400, 505)},
	)...)
}

func lineEndCases() []*testCase {
	f := family{"H12", "RFC 9112 2.2", "Lines end with CR LF; a recipient may take a bare LF for a line end, and must not take a bare CR for one."}
	out := f.heads(
		headRow{"lf-field", "a field line that ends with LF", line("X-Test: 1\nX-Other: 2"), mayUpgrade(400)},
		headRow{"lf-request-line", "a request line that ends with LF", version("HTTP/1.1\nX-Test: 1"), mayUpgrade(400)},
		headRow{"cr-request-line", "a request line that ends with CR", version("HTTP/1.1\rX-Test: 1"), refusesHTTP(400, 505)},
		headRow{"lf-cr", "LF CR in place of CR LF", line("X-Test: 1\n\rX-Other: 2"), refusesHTTP(400)},
	)
	all := func(end string) step {
		return func(s *session) {
			request(eol(end))(s)
			r, e := s.Response(s.Cfg.Soon(300 * time.Millisecond))
			if e != nil && e.Kind == engine.Timeout { // it may wait for CR LF CR LF
				s.Write([]byte("\r\n\r\n"))
				r, e = s.Response(s.Cfg.Timeout)
			}
			switch {
			case e != nil && !e.Ended():
				s.Judge(fail, "400")
			case e != nil, r.Status == 101 && end == "\n", r.Status > 400:
				s.Judge(nonStrict, "400")
			case r.Status != 400:
				s.Judge(fail, "400")
			}
		}
	}
	return append(out,
		f.add("lf-all", "all lines end with LF", all("\n")),
		f.add("cr-all", "all lines end with CR", all("\r")))
}

func bodyCases() []*testCase {
	f := family{"H13", "RFC 9110 9.3.1", "Content of a GET request has no meaning, and may lead to refusal; a handshake has none."}
	length := family{"H13", "RFC 9112 6.3", "A request with an invalid Content-Length, or several different ones, must be answered with 400 and the connection closed."}
	coding := family{"H13", "RFC 9112 6.1, 6.3", "A request whose last transfer coding is not chunked must be answered with 400; an unknown coding with 501."}
	cl := func(v string) edit { return add("Content-Length", v) }
	te := func(v string) edit { return add("Transfer-Encoding", v) }
	out := f.heads(
		headRow{"length-0", "Content-Length: 0", cl("0"), either(400)},
		headRow{"length-5", "a body of 5 bytes", edits(cl("5"), tail("hello")), mayUpgrade(400, 413)},
		headRow{"chunked", "an empty chunked body", edits(te("chunked"), tail("0\r\n\r\n")), mayUpgrade(400, 501)},
		headRow{"chunked-body", "a chunked body", edits(te("chunked"), tail("5\r\nhello\r\n0\r\n\r\n")), mayUpgrade(400, 501)},
		headRow{"both", "Content-Length and Transfer-Encoding", edits(cl("5"), te("chunked"), tail("0\r\n\r\n")), mayUpgrade(400, 501)},
		headRow{"expect", "Expect: 100-continue without a body", add("Expect", "100-continue"), either(400, 417)},
	)
	out = append(out, f.add("length-body-withheld", "Content-Length, and the body only after a while", request(cl("5")), func(s *session) {
		if r, _ := s.Response(s.Cfg.Soon(300 * time.Millisecond)); r != nil && r.Status == 400 {
			return
		}
		s.Judge(nonStrict, "400 without waiting for the body")
		s.WriteWhole([]byte("hello"))
	}))
	for _, v := range []struct{ variant, value string }{
		{"letters", "abc"}, {"negative", "-1"}, {"sign", "+0"}, {"hex", "0x0"}, {"list-different", "0, 5"}, {"empty", ""}, {"space", "0 0"}, {"huge", "99999999999999999999999"},
	} {
		out = append(out, length.heads(headRow{"length-" + v.variant, fmt.Sprintf("Content-Length: %q", v.value), cl(v.value), refusesHTTP(400, 413)})...)
	}
	out = append(out, length.heads(
		headRow{"length-twice", "two different Content-Length lines", edits(cl("0"), cl("5")), refusesHTTP(400)},
	)...)
	return append(out, coding.heads(
		headRow{"coding-identity", "Transfer-Encoding: identity", te("identity"), refusesHTTP(400, 501)},
		headRow{"coding-gzip", "Transfer-Encoding: gzip", te("gzip"), refusesHTTP(400, 501)},
		headRow{"coding-chunked-gzip", "Transfer-Encoding: chunked, gzip", te("chunked, gzip"), refusesHTTP(400, 501)},
		headRow{"coding-xchunked", "Transfer-Encoding: xchunked", te("xchunked"), refusesHTTP(400, 501)},
		headRow{"coding-vt", "a vertical tab before chunked", te("\x0bchunked"), refusesHTTP(400, 501)},
	)...)
}

func targetCases() []*testCase {
	f := family{"H14", "RFC 9112 3.2", "The target is in origin-form or absolute-form; a server accepts both."}
	bad := family{"H14", "RFC 9112 3, 3.2", "An invalid request line should be answered with 400; a target has no whitespace, control characters or fragment."}
	absolute := func(scheme string) edit {
		return path(func(host, path string) string { return scheme + "://" + host + path })
	}
	add := func(text string) edit { return path(func(_, path string) string { return path + text }) }
	query := "?"
	out := f.heads(
		headRow{"origin", "origin-form", none(), upgrades()},
		headRow{"origin-query", "with a query", add(query + "a=b&c=%20"), either(404)},
		headRow{"origin-query-slash", "a query with slashes and question marks", add(query + "a=/b?c"), either(404)},
		headRow{"absolute", "absolute-form, http", absolute("http"), upgrades()},
		headRow{"absolute-ws", "absolute-form, ws", absolute("ws"), either(400)},
		headRow{"absolute-upper", "absolute-form, HTTP", absolute("HTTP"), either(400)},
		headRow{"absolute-other-host", "absolute-form that differs from Host", target("http://other.example/"), either(400, 404, 421)},
		headRow{"long-path", "a path of 300 bytes", add(strings.Repeat("a", 300)), either(404)},
	)
	return append(out, bad.heads(
		headRow{"fragment", "a fragment", add("#frag"), mayUpgrade(400)},
		headRow{"fragment-empty", "an empty fragment", add("#"), mayUpgrade(400)},
		headRow{"asterisk", "asterisk-form, which is for OPTIONS", target("*"), mayUpgrade(400, 404)},
		headRow{"authority", "authority-form, which is for CONNECT", target("example.com:80"), mayUpgrade(400, 404)},
		headRow{"empty", "an empty target", target(""), mayUpgrade(400, 505)},
		headRow{"relative", "a path without its slash", target("chat"), mayUpgrade(400, 404)},
		headRow{"absolute-no-host", "absolute-form without a host", target("http:///"), mayUpgrade(400, 404)},
		headRow{"absolute-ftp", "absolute-form of another scheme", target("ftp://a.example/"), mayUpgrade(400, 404, 421)},
		headRow{"space", "a space in the target", add("a b"), mayUpgrade(400, 505)},
		headRow{"tab", "a tab in the target", add("a\tb"), mayUpgrade(400, 404)},
		headRow{"nul", "NUL in the target", add("a\x00b"), mayUpgrade(400, 404)},
		headRow{"cr", "CR in the target", add("a\rb"), mayUpgrade(400, 404)},
		headRow{"esc", "ESC in the target", add("a\x1bb"), mayUpgrade(400, 404)},
		headRow{"del", "DEL in the target", add("a\x7fb"), mayUpgrade(400, 404)},
		headRow{"latin1", "a byte over 7F in the target", add("a\xe9"), mayUpgrade(400, 404)},
		headRow{"utf8", "UTF-8 in the target", add("\xc3\xa9"), mayUpgrade(400, 404)},
	)...)
}

func sizeCases() []*testCase {
	f := family{"H16", "RFC 9112 3, RFC 6585 5", "A server bounds what it takes: 414 for a target that is too long, 431 for fields that are too large or too many."}
	big := func(variant, title string, e edit, want ...int) *testCase {
		a := answer{want: append(want, 400, 413), upgrade: fail, dropped: nonStrict}
		c := f.add(variant, title, request(e), answered(a))
		c.Slow = true
		return c
	}
	lines := func(n int) edit {
		return func(h *head) {
			for i := range n {
				add(fmt.Sprintf("X-Field-%d", i), "1")(h)
			}
		}
	}
	line := family{"H16", "RFC 9112 3", "Request lines of 8000 bytes should be supported."}
	cookies := family{"H16", "good practice", "Cookies of a sign-on service take several KiB: a server that bounds a head at 8 KiB turns its users away."}
	return []*testCase{
		line.add("line-8000", "a request line of 8000 bytes", request(func(h *head) {
			h.target += "?" + strings.Repeat("a", 8000-len(h.method)-len(h.target)-len(h.version)-3)
		}), answered(shouldUpgrade())),
		cookies.add("cookies-12k", "cookies of 12 KiB", request(add("Cookie", "session="+strings.Repeat("a", 12<<10))), answered(shouldUpgrade())),
		big("huge-target", "a target of 2 MiB", target("/"+strings.Repeat("a", 2<<20)), 414, 431),
		big("huge-query", "a query of 2 MiB", target("/?"+strings.Repeat("a", 2<<20)), 414, 431),
		big("huge-method", "a method of 2 MiB", method(strings.Repeat("G", 2<<20)), 414, 431, 501, 405),
		big("huge-value", "a value of 2 MiB", add("X-Test", strings.Repeat("a", 2<<20)), 431),
		big("huge-name", "a field name of 2 MiB", add(strings.Repeat("a", 2<<20), "1"), 431),
		big("huge-list", "a Connection list of 2 MiB", set("Connection", strings.Repeat("a,", 1<<20)+"Upgrade"), 431),
		big("many-fields", "100,000 field lines", lines(100000), 431),
		big("no-line-end", "2 MiB without a line end", edits(method(strings.Repeat("a", 2<<20)), target("a"), eol("a")), 414, 431),
	}
}

func earlyCases() []*testCase {
	f := family{"H13", "RFC 6455 4.1", "A client waits for the server's handshake before it sends data; a server must not lose what it accepts."}
	early := func(variant, title, data string, want step) *testCase {
		return f.add(variant, title, func(s *session) {
			h := newHead(s, &s.Cfg.Target)
			s.Key = h.value("Sec-WebSocket-Key")
			s.Connect(&s.Cfg.Target)
			head := h.text()
			// The end of the head and the data travel together in every split,
			// or the server could not tell when that was sent.
			s.Write([]byte(head[:len(head)-5]))
			s.WriteWhole(append([]byte(head[len(head)-5:]), data...))
			r, e := s.Response(s.Cfg.Timeout)
			switch {
			case e != nil && e.Ended():
				s.Judge(nonStrict, "400")
				s.Stop()
			case e != nil:
				s.Judge(fail, "400")
			case r.Status == 101:
				s.Judge(nonStrict, "400")
				checkUpgrade(s, r)
				if !s.Done() {
					want(s)
				}
			case r.Status != 400:
				s.Judge(nonStrict, "400")
			}
		})
	}
	preface := family{"H12", "RFC 9113 3.4", "The preface of HTTP/2 makes HTTP/1.1 servers refuse or close; they do not upgrade or hang."}
	return []*testCase{
		early("early-text", "a message in the same segment as the end of the head", string(text("early").Bytes()), echoes(wire.Text, []byte("early"))),
		early("early-request", "a second request in the same segment as the end of the head", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", fails(1002)),
		early("early-ping", "a ping in the same segment as the end of the head", string(ping("early").Bytes()), pongs("early")),
		preface.add("h2-preface", "the preface of HTTP/2",
			func(s *session) { s.Connect(&s.Cfg.Target) },
			sendRaw([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")),
			answered(answer{want: []int{400, 405, 505, 426, 404}, upgrade: fail})),
		preface.add("tls", "a TLS ClientHello",
			func(s *session) { s.Connect(&s.Cfg.Target) },
			sendRaw([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n")),
			answered(answer{want: []int{400}, upgrade: fail})),
	}
}
