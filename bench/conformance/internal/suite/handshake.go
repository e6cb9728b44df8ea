package suite

import (
	"fmt"
	"strings"

	"wsgateway/bench/conformance/internal/engine"
	"wsgateway/bench/conformance/internal/wire"
)

// headRow is a request and its answer.
type headRow struct {
	variant, title string
	edit           edit
	want           answer
}

func (f family) heads(rows ...headRow) (out []*testCase) {
	for _, r := range rows {
		out = append(out, f.add(r.variant, r.title, request(r.edit), answered(r.want)))
	}
	return out
}

func none() edit { return func(*head) {} }

// handshakeCases are those of RFC 6455 section 4.
func handshakeCases() []*testCase {
	var all []*testCase
	for _, f := range []func() []*testCase{
		methodCases, hostCases, upgradeCases, connectionCases, keyCases, versionCases,
		acceptCases, subprotocolCases, extensionCases, originCases,
	} {
		all = append(all, f()...)
	}
	return all
}

func methodCases() []*testCase {
	f := family{"H1", "RFC 6455 4.2.1", "A handshake is a GET request of HTTP/1.1 or higher; one that is not gets an HTTP error."}
	out := f.heads(
		headRow{"get", "a correct handshake", none(), upgrades()},
		headRow{"method-lower", "method get", method("get"), refuses(405, 501, 400)},
		headRow{"method-unknown", "unknown method", method("BREW"), refuses(405, 501, 400)},
		headRow{"method-getx", "a method that begins with GET", method("GETX"), refuses(405, 501, 400)},
		headRow{"http-1.0", "HTTP/1.0", version("HTTP/1.0"), refuses(505, 400, 426)},
		headRow{"http-0.9", "HTTP/0.9", version("HTTP/0.9"), refuses(505, 400)},
		headRow{"http-2.0", "HTTP/2.0 in the syntax of HTTP/1.1", version("HTTP/2.0"), mayUpgrade(505, 400)},
		headRow{"http-3.0", "HTTP/3.0", version("HTTP/3.0"), mayUpgrade(505, 400)},
	)
	for _, m := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD", "TRACE"} {
		out = append(out, f.heads(headRow{"method-" + strings.ToLower(m), "method " + m, method(m), refuses(405, 501, 400)})...)
	}
	higher := family{"H1", "RFC 9110 2.5", "A recipient of a higher minor version treats the message as the highest minor version it implements of that major version."}
	for _, v := range []string{"1.2", "1.9"} {
		out = append(out, higher.heads(headRow{"http-" + v, "HTTP/" + v, version("HTTP/" + v), either(505, 400)})...)
	}
	syntax := family{"H1", "RFC 9112 2.3", "HTTP-version is HTTP in upper case, a slash, a digit, a point and a digit; with an invalid request line the server should answer 400."}
	for _, v := range []struct{ variant, text string }{
		{"lower", "http/1.1"}, {"two-digits", "HTTP/1.10"}, {"no-minor", "HTTP/1"}, {"leading-zero", "HTTP/01.1"},
		{"garbage", "FTP/1.1"}, {"letters", "HTTP/a.b"}, {"empty", ""}, {"sign", "HTTP/+1.1"}, {"trailing", "HTTP/1.1x"},
	} {
		out = append(out, syntax.heads(headRow{"version-" + v.variant, fmt.Sprintf("version %q", v.text), version(v.text), refusesHTTP(400, 505)})...)
	}
	return out
}

func hostCases() []*testCase {
	f := family{"H2", "RFC 9112 3.2", "A request without a Host line, with several, or with an invalid one must be answered with 400."}
	return f.heads(
		headRow{"missing", "no Host", drop("Host"), refusesHTTP(400)},
		headRow{"twice-same", "two equal Host lines", func(h *head) { add("Host", h.value("Host"))(h) }, refusesHTTP(400)},
		headRow{"twice-other", "two different Host lines", add("Host", "other.example"), refusesHTTP(400)},
		headRow{"twice-case", "a second line, host in lower case", add("host", "other.example"), refusesHTTP(400)},
		headRow{"space", "a space inside", set("Host", "a b"), refusesHTTP(400)},
		headRow{"comma", "two hosts in one line", set("Host", "a.example, b.example"), mayUpgrade(400)},
		headRow{"path", "a path behind the host", set("Host", "a.example/x"), refusesHTTP(400)},
		headRow{"user", "user information", set("Host", "user@a.example"), mayUpgrade(400)},
		headRow{"port-letters", "a port that is no number", set("Host", "a.example:http"), mayUpgrade(400)},
		headRow{"bracket", "an IPv6 address without its end", set("Host", "[::1"), mayUpgrade(400)},
		headRow{"empty", "an empty Host", set("Host", ""), either(400)},
		headRow{"lower", "field name in lower case", func(h *head) { v := h.value("Host"); edits(drop("Host"), add("host", v))(h) }, upgrades()},
		headRow{"upper", "field name in upper case", func(h *head) { v := h.value("Host"); edits(drop("Host"), add("HOST", v))(h) }, upgrades()},
		headRow{"no-space", "no space behind the colon", func(h *head) { v := h.value("Host"); edits(drop("Host"), line("Host:"+v))(h) }, upgrades()},
		headRow{"tabs", "blanks and tabs around the value", func(h *head) { v := h.value("Host"); edits(drop("Host"), line("Host: \t "+v+" \t"))(h) }, upgrades()},
	)
}

func upgradeCases() []*testCase {
	f := family{"H3", "RFC 6455 4.2.1", "The Upgrade field contains the value websocket, in any case."}
	list := family{"H3", "RFC 9110 7.8, 5.6.1", listRule}
	return append(list.heads(
		headRow{"list-first", "first in a list", set("Upgrade", "websocket, h2c"), upgrades()},
		headRow{"list-last", "last in a list", set("Upgrade", "h2c,websocket"), upgrades()},
		headRow{"list-empty-elements", "a list with empty elements", set("Upgrade", ", websocket ,,"), upgrades()},
		headRow{"two-lines", "two lines", first("Upgrade: h2c"), upgrades()},
	), f.heads(
		headRow{"missing", "no Upgrade", drop("Upgrade"), refuses(426, 400)},
		headRow{"other", "Upgrade names another protocol", set("Upgrade", "h2c"), refuses(426, 400)},
		headRow{"longer", "websocketx", set("Upgrade", "websocketx"), refuses(426, 400)},
		headRow{"shorter", "websocke", set("Upgrade", "websocke"), refuses(426, 400)},
		headRow{"spaced", "web socket", set("Upgrade", "web socket"), refuses(400, 426)},
		headRow{"empty", "empty", set("Upgrade", ""), refuses(426, 400)},
		headRow{"only-commas", "an empty list", set("Upgrade", ", ,"), refuses(426, 400)},
		headRow{"quoted", "quoted", set("Upgrade", `"websocket"`), refuses(400, 426)},
		headRow{"case", "WebSocket", set("Upgrade", "WebSocket"), upgrades()},
		headRow{"upper", "WEBSOCKET", set("Upgrade", "WEBSOCKET"), upgrades()},
		headRow{"plain-get", "a plain GET, as from a browser", edits(drop("Upgrade"), drop("Connection"), drop("Sec-WebSocket-Key"), drop("Sec-WebSocket-Version")),
			answer{want: []int{426, 400, 404, 200, 403}, upgrade: fail, dropped: fail}},
		headRow{"h2c", "an upgrade to HTTP/2", edits(set("Upgrade", "h2c"), set("Connection", "Upgrade, HTTP2-Settings"), add("HTTP2-Settings", "AAMAAABkAAQAAP__"), drop("Sec-WebSocket-Key"), drop("Sec-WebSocket-Version")),
			answer{want: []int{426, 400, 404, 200, 403}, upgrade: fail, dropped: fail}},
	)...)
}

// listRule decides the cases of fields that are lists.
const listRule = "The field is a list: elements are separated by commas with optional blanks or tabs, empty elements are passed over, and several lines make one list."

func connectionCases() []*testCase {
	f := family{"H4", "RFC 6455 4.2.1", "The Connection field contains the token Upgrade, in any case."}
	list := family{"H4", "RFC 9110 7.6.1, 5.6.1", listRule}
	return append(f.heads(
		headRow{"missing", "no Connection", drop("Connection"), refuses(400, 426)},
		headRow{"close", "close", set("Connection", "close"), refuses(400, 426)},
		headRow{"keep-alive", "keep-alive", set("Connection", "keep-alive"), refuses(400, 426)},
		headRow{"longer", "Upgradex", set("Connection", "Upgradex"), refuses(400, 426)},
		headRow{"prefixed", "xUpgrade", set("Connection", "xUpgrade"), refuses(400, 426)},
		headRow{"hyphen", "Upgrade-Insecure", set("Connection", "Upgrade-Insecure"), refuses(400, 426)},
		headRow{"empty", "empty", set("Connection", ""), refuses(400, 426)},
		headRow{"no-comma", "keep-alive Upgrade without a comma", set("Connection", "keep-alive Upgrade"), refuses(400, 426)},
		headRow{"semicolon", "keep-alive; Upgrade", set("Connection", "keep-alive; Upgrade"), refuses(400, 426)},
		headRow{"lower", "upgrade", set("Connection", "upgrade"), upgrades()},
		headRow{"upper", "UPGRADE", set("Connection", "UPGRADE"), upgrades()},
	), list.heads(
		headRow{"list", "keep-alive, Upgrade", set("Connection", "keep-alive, Upgrade"), upgrades()},
		headRow{"list-first", "Upgrade, keep-alive", set("Connection", "Upgrade, keep-alive"), upgrades()},
		headRow{"list-tight", "keep-alive,Upgrade", set("Connection", "keep-alive,Upgrade"), upgrades()},
		headRow{"list-tabs", "a list with tabs", set("Connection", "keep-alive\t,\tUpgrade"), upgrades()},
		headRow{"list-empty-elements", "a list with empty elements", set("Connection", ",, Upgrade,"), upgrades()},
		headRow{"two-lines", "Upgrade on the second of two lines", first("Connection: keep-alive"), upgrades()},
		headRow{"two-lines-first", "Upgrade on the first of two lines", add("Connection", "keep-alive"), upgrades()},
		headRow{"hop-by-hop", "names other fields", edits(set("Connection", "Upgrade, X-Auth"), add("X-Auth", "yes")), upgrades()},
	)...)
}

func keyCases() []*testCase {
	f := family{"H5", "RFC 6455 4.2.1", "There is one Sec-WebSocket-Key, the base64 form of 16 bytes; a handshake that does not match gets an HTTP error."}
	key := func(v string) edit { return set("Sec-WebSocket-Key", v) }
	return f.heads(
		headRow{"missing", "no key", drop("Sec-WebSocket-Key"), refuses(400)},
		headRow{"empty", "an empty key", key(""), refuses(400)},
		headRow{"twice-same", "the same key twice", func(h *head) { add("Sec-WebSocket-Key", h.value("Sec-WebSocket-Key"))(h) }, refuses(400)},
		headRow{"twice-other", "two keys", add("Sec-WebSocket-Key", sampleKey), refuses(400)},
		headRow{"list", "two keys in one line", key(sampleKey + ", " + sampleKey), refuses(400)},
		headRow{"15-bytes", "15 bytes", key("AAECAwQFBgcICQoLDA0O"), refuses(400)},
		headRow{"17-bytes", "17 bytes, also 24 characters long", key("AAECAwQFBgcICQoLDA0ODxA="), refuses(400)},
		headRow{"18-bytes", "18 bytes, also 24 characters long", key("AAECAwQFBgcICQoLDA0ODxAR"), refuses(400)},
		headRow{"32-bytes", "32 bytes", key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), refuses(400)},
		headRow{"unpadded", "no padding", key("AAECAwQFBgcICQoLDA0ODw"), refuses(400)},
		headRow{"half-padded", "half the padding", key("AAECAwQFBgcICQoLDA0ODw="), refuses(400)},
		headRow{"over-padded", "too much padding", key("AAECAwQFBgcICQoLDA0ODw==="), refuses(400)},
		headRow{"padding-inside", "padding in the middle", key("AAECAwQFBg==CQoLDA0ODw=="), refuses(400)},
		headRow{"not-base64", "24 characters that are not base64", key("!!!!!!!!!!!!!!!!!!!!!!=="), refuses(400)},
		headRow{"url-alphabet", "the URL alphabet of base64", key("__8CAwQFBgcICQoLDA0O-w=="), refuses(400)},
		headRow{"space-inside", "a space inside", key("AAECAwQFBgc ICQoLDA0ODw=="), refuses(400)},
		headRow{"trailing-bits", "bits set behind the 16 bytes (RFC 4648 3.5: decoders may reject)", key("AAECAwQFBgcICQoLDA0ODx=="), mayUpgrade(400)},
		headRow{"spaces-around", "blanks around the value", key("  AAECAwQFBgcICQoLDA0ODw==  "), upgrades()},
		headRow{"all-zero", "16 zero bytes", key("AAAAAAAAAAAAAAAAAAAAAA=="), upgrades()},
		headRow{"all-ones", "16 bytes FF, + and / in the text", key("/////////////////////w=="), upgrades()},
		headRow{"name-case", "the field name in lower case", func(h *head) { drop("Sec-WebSocket-Key")(h); add("sec-websocket-key", sampleKey)(h) }, upgrades()},
	)
}

func versionCases() []*testCase {
	f := family{"H6", "RFC 6455 4.2.2", "The version is 13, once; with another the server answers with an error such as 426 and a Sec-WebSocket-Version field that names the versions it speaks."}
	ver := func(v string) edit { return set("Sec-WebSocket-Version", v) }
	out := f.heads(
		headRow{"missing", "no version", drop("Sec-WebSocket-Version"), refuses(400, 426)},
		headRow{"spaces", "blanks around 13", ver("  13 "), upgrades()},
	)
	for _, v := range []struct{ variant, value string }{
		{"0", "0"}, {"8", "8"}, {"12", "12"}, {"14", "14"}, {"255", "255"}, {"256", "256"}, {"13-twice-in-line", "13, 13"}, {"list", "13, 8"},
		{"leading-zero", "013"}, {"sign", "+13"}, {"decimal", "13.0"}, {"letters", "x"}, {"empty", ""}, {"negative", "-13"}, {"huge", "99999999999999999999"},
	} {
		out = append(out, f.heads(headRow{v.variant, fmt.Sprintf("version %q", v.value), ver(v.value), refuses(426, 400)})...)
	}
	out = append(out, f.heads(
		headRow{"twice", "two lines with 13", add("Sec-WebSocket-Version", "13"), refuses(400, 426)},
		headRow{"two-lines", "13 and 8 on two lines", add("Sec-WebSocket-Version", "8"), refuses(400, 426)},
	)...)
	for _, v := range []string{"8", "14"} {
		out = append(out, f.add("field-"+v, "the refusal of version "+v+" names version 13",
			request(ver(v)), refusal(func(s *session, r *wire.Response) {
				if !r.HasToken("Sec-WebSocket-Version", "13") {
					s.Judge(fail, "Sec-WebSocket-Version: 13")
				}
			})))
	}
	return out
}

func acceptCases() []*testCase {
	f := family{"H7", "RFC 6455 4.2.2", "Sec-WebSocket-Accept is the base64 form of the SHA-1 of the key and the GUID."}
	sample := f.add("sample", "the example of RFC 6455 1.3", request(set("Sec-WebSocket-Key", sampleKey)),
		present("Sec-WebSocket-Accept", func(*config) string { return sampleAccept }))
	out := []*testCase{sample, f.add("no-body", "nothing follows the 101 by itself", request(), upgraded(func(*session, *wire.Response) {}), quiet(100e6))}
	for i := range 5 {
		out = append(out, f.add(fmt.Sprintf("random-%d", i), "a random key", request(), answered(upgrades())))
	}
	return out
}

func subprotocolCases() []*testCase {
	const field = "Sec-WebSocket-Protocol"
	f := family{"H8", "RFC 6455 4.2.2", "The server names one of the subprotocols offered, or leaves the field out; it never names one that was not offered."}
	needs := func(c *config) string {
		if c.Subprotocol == "" {
			return "needs -subprotocol"
		}
		return ""
	}
	offer := func(make func(name string) []string) step {
		return func(s *session) {
			var lines []edit
			for _, v := range make(s.Cfg.Subprotocol) {
				lines = append(lines, add(field, v))
			}
			request(lines...)(s)
		}
	}
	name := func(c *config) string { return c.Subprotocol }
	var out []*testCase
	for _, r := range []struct {
		variant, title string
		offer          func(name string) []string
	}{
		{"chosen", "the one it speaks", func(n string) []string { return []string{n} }},
		{"chosen-second", "second in the list", func(n string) []string { return []string{"x-unknown.example, " + n} }},
		{"chosen-tight", "a list without blanks", func(n string) []string { return []string{"x-unknown.example," + n + ",y"} }},
		{"chosen-two-lines", "on the second of two lines", func(n string) []string { return []string{"x-unknown.example", n} }},
		{"chosen-empty-elements", "among empty elements", func(n string) []string { return []string{", ," + n + ","} }},
	} {
		c := f.add(r.variant, r.title, offer(r.offer), present(field, name))
		c.Skip = needs
		out = append(out, c)
	}
	other := f.add("case", "another case of letters is another name",
		offer(func(n string) []string { return []string{swapCase(n)} }), absent(field))
	other.Skip = needs
	out = append(out, other,
		f.add("none-offered", "none offered", request(), absent(field)),
		f.add("unknown", "an unknown one", request(add(field, "x-unknown.example")), absent(field)),
		f.add("unknown-list", "unknown ones", request(add(field, "x-a.example, x-b.example")), absent(field)),
		f.add("unknown-two-lines", "unknown ones on two lines", request(add(field, "x-a.example"), add(field, "x-b.example")), absent(field)),
		f.add("unknown-empty-elements", "empty list elements are passed over", request(add(field, ",x-a.example, ,")), absent(field)),
		f.add("token-chars", "every character a token may have", request(add(field, "x!#$%&'*+-.^_`|~09AZaz")), absent(field)),
	)
	bad := family{"H8", "RFC 6455 4.2.1, 4.3", "The field is a list of at least one token; a handshake that violates the grammar gets an HTTP error."}
	for _, r := range []struct{ variant, value string }{
		{"space", "a b"}, {"quoted", `"chat"`}, {"slash", "a/b"}, {"at", "a@b"}, {"colon", "a:b"}, {"semicolon", "chat; v=1"},
		{"equals", "a=b"}, {"parens", "(a)"}, {"brackets", "a[1]"}, {"braces", "{a}"}, {"angle", "<a>"}, {"backslash", `a\b`},
		{"question", "a?"}, {"non-ascii", "caf\xc3\xa9"}, {"second", "chat, a b"}, {"only-commas", ", ,"},
	} {
		out = append(out, bad.heads(headRow{"bad-" + r.variant, fmt.Sprintf("value %q", r.value), add(field, r.value), refuses(400)})...)
	}
	return append(out, blankCases("H8", field)...)
}

// blankCases send a field without a value, as React Native does on Android when no subprotocol or
// extension is asked for.
func blankCases(id, field string) []*testCase {
	f := family{id, "good practice", "A field without a value counts as absent: React Native sends one."}
	return []*testCase{
		f.add("blank", "no value", request(line(field+":")), absentIfUpgraded(field)),
		f.add("blank-space", "blanks in place of a value", request(line(field+": \t ")), absentIfUpgraded(field)),
		f.add("blank-twice", "two lines without a value", request(line(field+":"), line(field+":")), absentIfUpgraded(field)),
	}
}

// absentIfUpgraded is absent for a handshake that no MUST demands to accept.
func absentIfUpgraded(name string) step {
	return func(s *session) {
		r, e := s.Response(s.Cfg.Timeout)
		switch {
		case e != nil && !e.Ended():
			s.Judge(fail, "101")
		case e != nil || r.Status != 101:
			s.Judge(nonStrict, "101")
		case len(r.Values(name)) > 0:
			s.Judge(fail, "101 without "+name)
		default:
			checkUpgrade(s, r)
		}
	}
}

func swapCase(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z':
			return c - 32
		case c >= 'A' && c <= 'Z':
			return c + 32
		}
		return c
	}, s)
}

func extensionCases() []*testCase {
	const field = "Sec-WebSocket-Extensions"
	bad := family{"H9", "RFC 6455 9.1", "An extension field that does not conform to the grammar must fail the connection."}
	var out []*testCase
	for _, r := range []struct{ variant, value string }{
		{"only-commas", ", ,"}, {"space", "a b"}, {"no-name", "; x=1"}, {"no-param", "x-a;"}, {"no-param-between", "x-a; ; b"},
		{"no-value", "x-a; b="}, {"no-key", "x-a; =1"}, {"quote-open", `x-a; b="1`}, {"quote-empty", `x-a; b=""`},
		{"quote-space", `x-a; b="1 2"`}, {"quote-tail", `x-a; b="1"2`}, {"slash", "x/a"}, {"two-equals", "x-a; b==1"}, {"non-ascii", "x-\xe9"},
		{"value-separator", "x-a; b=(1)"}, {"deflate-no-param", "permessage-deflate;"}, {"second-bad", "x-a, x b"}, {"name-quoted", `"x-a"`},
	} {
		out = append(out, bad.heads(headRow{"bad-" + r.variant, fmt.Sprintf("value %q", r.value), add(field, r.value), refuses(400)})...)
	}
	second := bad.heads(headRow{"bad-line", "malformed on the second of two lines", edits(add(field, "x-a"), add(field, "x b")), refuses(400)})
	out = append(out, second...)
	good := family{"H10", "RFC 6455 9.1", "The server names only extensions that were offered; unknown ones are not an error."}
	out = append(out, good.add("none", "none offered", request(), absent(field)))
	for _, r := range []struct{ variant, value string }{
		{"unknown", "x-unknown"}, {"unknown-param", "x-unknown; a=1; b"}, {"unknown-quoted", `x-unknown; a="1"`}, {"unknown-escaped", `x-unknown; a="\1"`},
		{"unknown-list", "x-a, x-b; c"}, {"unknown-tight", "x-a;b=1,x-c"}, {"unknown-spaces", "x-a ; b ; c=1 , x-d"}, {"unknown-empty-elements", ",x-a, ,"},
		{"webkit", "x-webkit-deflate-frame"}, {"mux", "mux; max-channels=4; flow-control"},
	} {
		out = append(out, good.add(r.variant, fmt.Sprintf("value %q", r.value), request(add(field, r.value)), absent(field)))
	}
	out = append(out, good.add("unknown-two-lines", "two lines", request(add(field, "x-a"), add(field, "x-b")), absent(field)))
	return append(out, blankCases("H9", field)...)
}

func originCases() []*testCase {
	f := family{"H11", "RFC 6455 4.2.2, 10.2", "The server may judge the Origin, and refuses with an error such as 403."}
	out := f.heads(
		headRow{"same", "the server's own", func(h *head) { add("Origin", "http://"+h.value("Host"))(h) }, either(403)},
		headRow{"foreign", "another site", add("Origin", "https://foreign.example"), either(403)},
		headRow{"null", "null", add("Origin", "null"), either(403)},
		headRow{"garbage", "not an origin", add("Origin", "::not-an-origin::"), either(400, 403)},
		headRow{"twice", "two lines", edits(add("Origin", "https://a.example"), add("Origin", "https://b.example")), either(400, 403)},
		headRow{"old-name", "Sec-WebSocket-Origin, of older versions", add("Sec-WebSocket-Origin", "https://foreign.example"), upgrades()},
	)
	return out
}

// refusal reads an answer that is no upgrade, and gives it to check.
func refusal(check func(*session, *wire.Response)) step {
	return func(s *session) {
		r, e := s.Response(s.Cfg.Timeout)
		switch {
		case e != nil && e.Kind != engine.Timeout:
			s.Judge(nonStrict, "a refusal")
			s.Stop()
		case e != nil, r.Status < 400:
			s.Judge(fail, "a refusal")
		default:
			check(s, r)
		}
	}
}
