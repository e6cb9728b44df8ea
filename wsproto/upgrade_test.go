package wsproto_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wsgateway/wsproto"
)

const (
	sampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	sampleDate   = "Sun, 06 Nov 1994 08:49:37 GMT" // RFC 9110 §5.6.7
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

	// The example of RFC 6455 §1.3.
	sampleHead = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: " + sampleKey + "\r\nOrigin: http://example.com\r\n" +
		"Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n"

	browserHead = "GET /live?room=17 HTTP/1.1\r\nHost: gateway.example.com\r\nConnection: Upgrade\r\nPragma: no-cache\r\n" +
		"Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36\r\n" +
		"Upgrade: websocket\r\nOrigin: https://app.example.com\r\nSec-WebSocket-Version: 13\r\n" +
		"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\nCookie: sid=31d4d96e407aad42; theme=dark\r\n" +
		"Sec-WebSocket-Key: " + sampleKey + "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)

// with returns the sample handshake without the fields named, and with lines
// added.
func with(without string, lines ...string) string {
	var b strings.Builder
	for line := range strings.SplitAfterSeq(strings.TrimSuffix(sampleHead, "\r\n"), "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		if name == "" || without != "" && strings.Contains(" "+without+" ", " "+name+" ") {
			continue
		}
		b.WriteString(line)
	}
	for _, line := range lines {
		b.WriteString(line + "\r\n")
	}
	return b.String() + "\r\n"
}

func requestLine(line string) string {
	return line + strings.TrimPrefix(sampleHead, "GET /chat HTTP/1.1")
}

var upgradeVectors = []struct {
	name   string
	in     string
	status int // 0: accepted
}{
	{"RFC6455/1.3/sample", sampleHead, 0},
	{"browser", browserHead, 0},

	{"RFC6455/4.2.1/POST", requestLine("POST /chat HTTP/1.1"), 405},
	{"RFC6455/4.2.1/HEAD", requestLine("HEAD /chat HTTP/1.1"), 405},
	{"RFC6455/4.2.1/lower_case_get", requestLine("get /chat HTTP/1.1"), 405},
	{"RFC6455/4.2.1/HTTP_1.0", requestLine("GET /chat HTTP/1.0"), 505},
	{"RFC6455/4.2.1/HTTP_1.0_without_host", "GET / HTTP/1.0\r\n\r\n", 505},
	{"RFC9112/3.2/HTTP_1.0_with_two_hosts", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400},
	{"RFC6455/4.2.1/HTTP_0.9", requestLine("GET /chat HTTP/0.9"), 505},
	{"RFC6455/4.2.1/HTTP_1.2", requestLine("GET /chat HTTP/1.2"), 505},
	{"RFC6455/4.2.1/HTTP_2.0", requestLine("GET /chat HTTP/2.0"), 505},
	{"RFC9112/2.3/no_version", requestLine("GET /chat"), 400},
	{"RFC9112/2.3/empty_version", requestLine("GET /chat "), 400},
	{"RFC9112/2.3/lower_case", requestLine("GET /chat http/1.1"), 400},
	{"RFC9112/2.3/no_minor", requestLine("GET /chat HTTP/1."), 400},
	{"RFC9112/2.3/colon", requestLine("GET /chat HTTP/1.:"), 400},
	{"RFC9112/2.3/no_dot", requestLine("GET /chat HTTP/1:1"), 400},
	{"RFC9112/2.3/two_digits", requestLine("GET /chat HTTP/1.10"), 400},
	{"RFC9112/2.3/leading_zero", requestLine("GET /chat HTTP/01.1"), 400},
	{"RFC9112/2.3/trailing_space", requestLine("GET /chat HTTP/1.1 "), 400},
	{"RFC9112/3/two_spaces", requestLine("GET  /chat HTTP/1.1"), 400},
	{"RFC9112/3/tab", requestLine("GET\t/chat\tHTTP/1.1"), 400},
	{"RFC9112/3/method_is_no_token", requestLine("G(T /chat HTTP/1.1"), 400},
	{"RFC9112/3/no_method", requestLine(" /chat HTTP/1.1"), 400},
	{"RFC9112/3/no_target", requestLine("GET  HTTP/1.1"), 400},
	{"RFC9112/3.2/space_in_target", requestLine("GET /a b HTTP/1.1"), 400},
	{"RFC9112/3.2/relative", requestLine("GET chat HTTP/1.1"), 400},
	{"RFC9112/3.2/fragment", requestLine("GET /chat#x HTTP/1.1"), 400},
	{"RFC9112/3.2/asterisk", requestLine("GET * HTTP/1.1"), 400},
	{"RFC9112/3.2/authority", requestLine("GET example.com:80 HTTP/1.1"), 400},
	{"RFC9112/3.2/not_ASCII", requestLine("GET /\xC3\xA9 HTTP/1.1"), 400},
	{"RFC9112/3.2/control", requestLine("GET /\x01 HTTP/1.1"), 400},
	{"RFC9112/3.2.2/absolute", requestLine("GET http://other.example:8080/chat?a=b HTTP/1.1"), 0},
	{"RFC9112/3.2.2/absolute_ws", requestLine("GET WS://other.example HTTP/1.1"), 0},
	{"RFC9112/3.2.2/absolute_without_host", requestLine("GET http:///chat HTTP/1.1"), 400},
	{"RFC9112/3.2.2/absolute_with_user", requestLine("GET http://u:p@h/chat HTTP/1.1"), 400},
	{"RFC9112/3.2.2/other_scheme", requestLine("GET file://h/chat HTTP/1.1"), 400},
	{"RFC9112/2.2/empty_line_first", "\r\n" + sampleHead, 0},
	{"RFC9112/2.2/empty_lines_first", "\r\n\r\n\r\n\r\n" + with("Upgrade", "Upgrade: h2c, websocket"), 0},
	{"RFC9112/2.2/too_many_empty_lines_first", "\r\n\r\n\r\n\r\n\r\n" + sampleHead, 400},
	{"target_with_query_characters", requestLine("GET /a|b?q={1}^`\"<> HTTP/1.1"), 0},

	{"RFC9110/5.6.1/tab_in_list", with("Connection", "Connection: keep-alive,\tUpgrade"), 0},

	{"RFC9112/3.2/no_host", with("Host"), 400},
	{"RFC9112/3.2/two_hosts", with("", "Host: server.example.com"), 400},
	{"RFC9112/3.2/two_hosts_in_other_case", with("", "hOST: other.example.com"), 400},
	{"RFC9112/3.2/empty_host", with("Host", "Host:"), 400},
	{"RFC9112/3.2/host_list", with("Host", "Host: a, b"), 400},
	{"RFC9112/3.2/host_with_user", with("Host", "Host: u@a"), 400},
	{"RFC9112/3.2/host_with_path", with("Host", "Host: a/b"), 400},
	{"RFC9112/3.2/host_port_not_digits", with("Host", "Host: a:8x"), 400},
	{"RFC9112/3.2/host_bad_escape", with("Host", "Host: a%2"), 400},
	{"RFC9112/3.2/host_escape", with("Host", "Host: a%2Db"), 0},
	{"RFC9112/3.2/host_port", with("Host", "Host: 127.0.0.1:8080"), 0},
	{"RFC9112/3.2/host_empty_port", with("Host", "Host: a:"), 0},
	{"RFC9112/3.2/host_IPv6", with("Host", "Host: [2001:db8::1]:443"), 0},
	{"RFC9112/3.2/host_IPv6_open", with("Host", "Host: [::1"), 400},
	{"RFC9112/3.2/host_IPv6_trailing", with("Host", "Host: [::1]x"), 400},
	{"RFC9112/3.2/host_IPv6_zone", with("Host", "Host: [fe80::1%25eth0]"), 400},
	{"RFC9112/5.1/space_before_colon", with("", "X-A : b"), 400},
	{"RFC9112/5.1/space_before_colon_of_host", with("Host", "Host : a"), 400},
	{"RFC9112/5.1/empty_name", with("", ": b"), 400},
	{"RFC9112/5.1/no_colon", with("", "X-A"), 400},
	{"RFC9112/5.1/name_is_no_token", with("", "X(A): b"), 400},
	{"RFC9112/5.1/name_not_ASCII", with("", "X\xC3\xA9: b"), 400},
	{"RFC9112/5.1/empty_value", with("", "X-A:"), 0},
	{"RFC9112/5.1/blank_value", with("", "X-A: \t "), 0},
	{"RFC9112/5.1/no_space_after_colon", with("Host", "Host:a"), 0},
	{"RFC9112/5.2/folded_line", with("", "X-A: b", " c"), 400},
	{"RFC9112/5.2/folded_line_tab", with("", "X-A: b", "\tc"), 400},
	{"RFC9112/5.2/folded_first_line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
	{"RFC9110/5.5/NUL", with("", "X-A: \x00"), 400},
	{"RFC9110/5.5/ESC", with("", "X-A: \x1B"), 400},
	{"RFC9110/5.5/CR", with("", "X-A: a\rb"), 400},
	{"RFC9110/5.5/obs_text", with("", "X-A: \xFF\x80"), 0},
	{"RFC9112/6/transfer_encoding", with("", "Transfer-Encoding: chunked"), 400},
	{"RFC9112/6/transfer_encoding_identity", with("", "transfer-encoding: identity"), 400},
	{"RFC9112/6/content_length", with("", "Content-Length: 5"), 400},
	{"RFC9112/6/content_length_0", with("", "Content-Length: 0"), 0},
	{"RFC9112/6/content_length_0_twice", with("", "Content-Length: 0", "Content-Length: 0"), 400},
	{"RFC9112/6/content_length_list", with("", "Content-Length: 0, 0"), 400},
	{"RFC9112/6/content_length_empty", with("", "Content-Length:"), 400},
	{"RFC9112/6/content_length_plus", with("", "Content-Length: +0"), 400},

	{"RFC6455/4.2.1/no_upgrade", with("Upgrade"), 426},
	{"RFC6455/4.2.1/plain_request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 426},
	{"RFC6455/4.2.1/upgrade_h2c", with("Upgrade", "Upgrade: h2c"), 426},
	{"RFC6455/4.2.1/upgrade_empty", with("Upgrade", "Upgrade:"), 426},
	{"RFC6455/4.2.1/upgrade_longer_word", with("Upgrade", "Upgrade: websockets"), 426},
	{"RFC6455/4.2.1/upgrade_with_version", with("Upgrade", "Upgrade: websocket/13"), 426},
	{"RFC6455/4.2.1/upgrade_case", with("Upgrade", "Upgrade: WebSocket"), 0},
	{"RFC6455/4.2.1/upgrade_list", with("Upgrade", "Upgrade: h2c, websocket"), 0},
	{"RFC6455/4.2.1/upgrade_list_with_version", with("Upgrade", "Upgrade: HTTP/2.0,,websocket ,"), 0},
	{"RFC6455/4.2.1/upgrade_two_lines", with("Upgrade", "Upgrade: h2c", "Upgrade: websocket"), 0},
	{"RFC6455/4.2.1/upgrade_no_token", with("Upgrade", "Upgrade: websocket, a b"), 400},
	{"RFC6455/4.2.1/upgrade_trailing_slash", with("Upgrade", "Upgrade: websocket, a/"), 400},
	{"RFC6455/4.2.1/no_connection", with("Connection"), 400},
	{"RFC6455/4.2.1/connection_keep_alive", with("Connection", "Connection: keep-alive"), 400},
	{"RFC6455/4.2.1/connection_longer_word", with("Connection", "Connection: Upgradex"), 400},
	{"RFC6455/4.2.1/connection_quoted", with("Connection", "Connection: \"Upgrade\""), 400},
	{"RFC6455/4.2.1/connection_parameter", with("Connection", "Connection: Upgrade; x"), 400},
	{"RFC6455/4.2.1/connection_case", with("Connection", "connection: uPGRADE"), 0},
	{"RFC6455/4.2.1/connection_list", with("Connection", "Connection: keep-alive, Upgrade"), 0},
	{"RFC6455/4.2.1/connection_list_without_spaces", with("Connection", "Connection: keep-alive,Upgrade"), 0},
	{"RFC6455/4.2.1/connection_empty_elements", with("Connection", "Connection: ,, Upgrade,"), 0},
	{"RFC6455/4.2.1/connection_two_lines", with("Connection", "Connection: keep-alive", "Connection: Upgrade"), 0},
	{"RFC6455/4.2.1/connection_two_lines_reversed", with("Connection", "Connection: Upgrade", "Connection: keep-alive"), 0},
	{"RFC6455/4.2.1/connection_with_empty_line", with("Connection", "Connection: Upgrade", "Connection:"), 0},
	{"RFC6455/4.2.1/connection_names_headers", with("Connection", "Connection: Upgrade, X-Real-IP"), 0},

	{"RFC6455/4.2.1/no_key", with("Sec-WebSocket-Key"), 400},
	{"RFC6455/11.3.1/two_keys", with("", "Sec-WebSocket-Key: "+sampleKey), 400},
	{"RFC6455/4.2.1/empty_key", with("Sec-WebSocket-Key", "Sec-WebSocket-Key:"), 400},
	{"RFC6455/4.2.1/key_of_15_bytes", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"), 400},
	{"RFC6455/4.2.1/key_of_17_bytes", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWE="), 400},
	{"RFC6455/4.2.1/key_of_18_bytes", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWFi"), 400},
	{"RFC6455/4.2.1/key_without_padding", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"), 400},
	{"RFC6455/4.2.1/key_not_base64", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q=="), 400},
	{"RFC6455/4.2.1/key_URL_alphabet", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZS-_b25jZQ=="), 400},
	{"RFC6455/4.2.1/key_not_canonical", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR=="), 400},
	{"RFC6455/4.2.1/key_all_zero", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 0},

	{"RFC6455/4.2.2/no_version", with("Sec-WebSocket-Version"), 426},
	{"RFC6455/4.2.2/version_8", with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"), 426},
	{"RFC6455/4.2.2/version_14", with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 14"), 426},
	{"RFC6455/4.2.2/version_leading_zero", with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 013"), 426},
	{"RFC6455/4.2.2/version_list", with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13, 8"), 426},
	{"RFC6455/11.3.5/two_versions", with("", "Sec-WebSocket-Version: 13"), 426},

	{"RFC6455/11.3.4/no_subprotocol", with("Sec-WebSocket-Protocol"), 0},
	{"RFC6455/11.3.4/two_lines", with("", "Sec-WebSocket-Protocol: third"), 0},
	{"RFC6455/11.3.4/empty_elements", with("", "Sec-WebSocket-Protocol: ,a,,b ,"), 0},
	{"RFC6455/11.3.4/empty", with("Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol:"), 0},
	{"RFC6455/11.3.4/blank", with("Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: \t "), 0},
	{"RFC6455/11.3.4/empty_twice", with("Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol:", "Sec-WebSocket-Protocol: "), 0},
	{"RFC6455/11.3.4/empty_and_commas", with("Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol:", "Sec-WebSocket-Protocol: ,"), 400},
	{"RFC6455/11.3.4/empty_and_one", with("", "Sec-WebSocket-Protocol:"), 0},
	{"RFC6455/11.3.4/only_commas", with("Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: , ,"), 400},
	{"RFC6455/11.3.4/no_token", with("", "Sec-WebSocket-Protocol: a b"), 400},
	{"RFC6455/11.3.4/slash", with("", "Sec-WebSocket-Protocol: a/b"), 400},
	{"RFC6455/11.3.4/quoted", with("", "Sec-WebSocket-Protocol: \"a\""), 400},

	{"RFC6455/9.1/extension", with("", "Sec-WebSocket-Extensions: foo"), 0},
	{"RFC6455/9.1/parameters", with("", "Sec-WebSocket-Extensions: foo; a; b=c ;d = \"e\", bar,baz;x=1"), 0},
	{"RFC6455/9.1/lines_are_one_list", with("", "Sec-WebSocket-Extensions: foo", "Sec-WebSocket-Extensions:", "Sec-WebSocket-Extensions: bar; a=\"b\\c\""), 0},
	{"RFC6455/9.1/empty_elements", with("", "Sec-WebSocket-Extensions: , foo,, bar,"), 0},
	{"RFC6455/9.1/empty", with("", "Sec-WebSocket-Extensions:"), 0},
	{"RFC6455/9.1/blank", with("", "Sec-WebSocket-Extensions: \t "), 0},
	{"RFC6455/9.1/empty_twice", with("", "Sec-WebSocket-Extensions:", "Sec-WebSocket-Extensions: "), 0},
	{"RFC6455/9.1/empty_and_commas", with("", "Sec-WebSocket-Extensions:", "Sec-WebSocket-Extensions: ,"), 400},
	{"RFC6455/9.1/only_commas", with("", "Sec-WebSocket-Extensions: ,"), 400},
	{"RFC6455/9.1/no_name", with("", "Sec-WebSocket-Extensions: ; a"), 400},
	{"RFC6455/9.1/no_parameter", with("", "Sec-WebSocket-Extensions: foo;"), 400},
	{"RFC6455/9.1/no_parameter_name", with("", "Sec-WebSocket-Extensions: foo; =a"), 400},
	{"RFC6455/9.1/no_value", with("", "Sec-WebSocket-Extensions: foo; a="), 400},
	{"RFC6455/9.1/two_words", with("", "Sec-WebSocket-Extensions: foo bar"), 400},
	{"RFC6455/9.1/empty_quotes", with("", "Sec-WebSocket-Extensions: foo; a=\"\""), 400},
	{"RFC6455/9.1/open_quotes", with("", "Sec-WebSocket-Extensions: foo; a=\"b"), 400},
	{"RFC6455/9.1/open_escape", with("", "Sec-WebSocket-Extensions: foo; a=\"b\\"), 400},
	{"RFC6455/9.1/quoted_no_token", with("", "Sec-WebSocket-Extensions: foo; a=\"b c\""), 400},
	{"RFC6455/9.1/escaped_no_token", with("", "Sec-WebSocket-Extensions: foo; a=\"b\\\"c\""), 400},
	{"RFC6455/9.1/escaped_token", with("", "Sec-WebSocket-Extensions: foo; a=\"\\b\\c\""), 0},
	{"RFC6455/9.1/text_after_quotes", with("", "Sec-WebSocket-Extensions: foo; a=\"b\"c"), 400},
	{"RFC6455/9.1/malformed_second_line", with("", "Sec-WebSocket-Extensions: foo", "Sec-WebSocket-Extensions: a=b"), 400},

	{"RFC6455/10.2/two_origins", with("", "Origin: http://example.com"), 400},
	{"RFC6455/10.2/no_origin", with("Origin"), 0},
}

type response struct {
	*http.Response
	body string
}

// parseResponse parses with net/http, and checks that nothing is left over.
func parseResponse(t testing.TB, p string) response {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(p))
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, p)
	}
	var body []byte
	if res.StatusCode != http.StatusSwitchingProtocols {
		if body, err = io.ReadAll(res.Body); err != nil {
			t.Fatal(err)
		}
	}
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Fatalf("%q behind the response", rest)
	}
	return response{res, string(body)}
}

// shake takes a head through the whole opening handshake.
func shake(t testing.TB, head []byte, a *wsproto.Accept) (out []byte, agreed wsproto.Agreement, r *wsproto.Request, err error) {
	n, err := wsproto.HeadEnd(head, 0, nil)
	if err != nil {
		return nil, agreed, nil, err
	}
	if n != len(head) {
		t.Fatalf("head ends at %d of %d", n, len(head))
	}
	r = new(wsproto.Request)
	if err := wsproto.ParseRequest(head, nil, r); err != nil {
		return nil, agreed, nil, err
	}
	if err := r.CheckUpgrade(); err != nil {
		return nil, agreed, r, err
	}
	out, agreed, err = wsproto.NewUpgrader().Upgrade(nil, r, a)
	return out, agreed, r, err
}

func TestUpgrade(t *testing.T) {
	for _, v := range upgradeVectors {
		t.Run(v.name, func(t *testing.T) {
			head := []byte(v.in)
			out, _, _, err := shake(t, head, nil)
			if status(t, err) != v.status {
				t.Fatalf("%v, want %d", err, v.status)
			}
			// ParseRequest is strict by itself, without HeadEnd before it.
			var r wsproto.Request
			perr := wsproto.ParseRequest(head, nil, &r)
			if perr == nil {
				perr = r.CheckUpgrade()
			}
			if status(t, perr) != v.status {
				t.Errorf("without HeadEnd: %v, want %d", perr, v.status)
			}
			if string(head) != v.in {
				t.Error("the head was changed")
			}
			if v.status != 0 {
				return
			}
			res := parseResponse(t, string(out))
			want := http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Accept": {sampleAccept}}
			if strings.Contains(v.in, "AAAAAA==") {
				want.Set("Sec-WebSocket-Accept", "ICX+Yqv66kxgM0FcWaLWlFLwTAI=")
			}
			if res.StatusCode != 101 || !cmp.Equal(res.Header, want) {
				t.Errorf("%s", out)
			}
		})
	}
}

// Only what gobwas/ws would refuse goes to it as a copy.
func TestNormalised(t *testing.T) {
	for head, want := range map[string]bool{
		sampleHead:  false,
		browserHead: false,
		with("Connection", "Connection: keep-alive, upgrade"):                 false,
		with("Upgrade", "Upgrade: WEBSOCKET"):                                 false,
		with("Upgrade", "Upgrade: h2c, websocket"):                            true,
		with("Upgrade", "Upgrade: websocket", "Upgrade: h2c"):                 true,
		with("Connection", "Connection: Upgrade", "Connection: TE"):           true,
		with("Connection", "Connection: Upgrade,"):                            false,
		with("Connection", "Connection: ,Upgrade"):                            true,
		with("Connection", "Connection: keep-alive,\tUpgrade"):                true,
		with("Connection", "Connection: keep-alive\t,Upgrade"):                true,
		with("Connection", "Connection:\tUpgrade\t"):                          false,
		with("Upgrade Connection", "Upgrade:websocket", "connection:upgrade"): false,
	} {
		_, _, r, err := shake(t, []byte(head), nil)
		if err != nil || r.Normalised() != want {
			t.Errorf("%v, %v, want %v:\n%s", r.Normalised(), err, want, head)
		}
	}
}

func TestUpgradeSubprotocol(t *testing.T) {
	for _, c := range []struct {
		name, want string
		offers     []string // lines
		speaks     []string
	}{
		{"none_offered", "", nil, []string{"a"}},
		{"none_spoken", "", []string{"a, b"}, nil},
		{"none_common", "", []string{"a, b"}, []string{"c"}},
		{"common", "b", []string{"a, b"}, []string{"b"}},
		{"servers_preference", "b", []string{"a, b"}, []string{"c", "b", "a"}},
		{"over_lines", "c", []string{"a", "b,c", "d"}, []string{"c"}},
		{"on_last_line", "d", []string{"a", "b,c", "d"}, []string{"x", "d"}},
		{"case_matters", "", []string{"Chat"}, []string{"chat"}},
		{"whole_word", "", []string{"chatter, superchat"}, []string{"chat"}},
		{"empty_name_is_never_chosen", "", []string{",a"}, []string{""}},
		{"repeated_offer", "a", []string{"a, a"}, []string{"a"}},
	} {
		for _, connection := range []string{"Connection: Upgrade", "Connection: a\r\nConnection: Upgrade"} {
			t.Run("RFC6455/4.2.2/"+c.name, func(t *testing.T) {
				lines := []string{connection}
				for _, o := range c.offers {
					lines = append(lines, "Sec-WebSocket-Protocol: "+o)
				}
				head := with("Sec-WebSocket-Protocol Connection", lines...)
				out, agreed, _, err := shake(t, []byte(head), &wsproto.Accept{Subprotocols: c.speaks})
				if err != nil {
					t.Fatal(err)
				}
				res := parseResponse(t, string(out))
				if v, ok := res.Header["Sec-Websocket-Protocol"]; agreed.Subprotocol != c.want || ok != (c.want != "") || ok && v[0] != c.want {
					t.Errorf("agreed on %q:\n%s", agreed.Subprotocol, out)
				}
			})
		}
	}
}

func TestUpgradeHeader(t *testing.T) {
	long := strings.Repeat("v", 3000)
	out, _, _, err := shake(t, []byte(sampleHead), &wsproto.Accept{Header: []wsproto.Field{
		{"Set-Cookie", "a=b; Path=/"}, {"Set-Cookie", "c=d"}, {"X-Long", long}, {"X-Empty", ""}, {"X-Text", "\xFF\t"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	h := parseResponse(t, string(out)).Header
	if !cmp.Equal(h["Set-Cookie"], []string{"a=b; Path=/", "c=d"}) || h.Get("X-Long") != long || len(h["X-Empty"]) != 1 || h.Get("Sec-WebSocket-Accept") != sampleAccept {
		t.Errorf("%s", out)
	}
	for _, f := range []wsproto.Field{
		{"", "v"}, {"X Y", "v"}, {"X:", "v"}, {"X\r\nY", "v"}, {"X\x00", "v"}, {"é", "v"},
		{"X", "a\r\nb"}, {"X", "a\nb"}, {"X", "a\rb"}, {"X", "a\x00b"}, {"X", "\x1B"},
		{"Upgrade", "x"}, {"connection", "close"}, {"Sec-WebSocket-Accept", "x"}, {"sec-websocket-protocol", "x"},
		{"Sec-WebSocket-Extensions", "x"}, {"Content-Length", "0"}, {"Transfer-Encoding", "chunked"},
	} {
		a := &wsproto.Accept{Header: []wsproto.Field{{"X-Good", "v"}, f}}
		r := new(wsproto.Request)
		if err := wsproto.ParseRequest([]byte(sampleHead), nil, r); err != nil {
			t.Fatal(err)
		}
		out, _, err := wsproto.NewUpgrader().Upgrade([]byte("before"), r, a)
		if status(t, err) != 500 || string(out) != "before" {
			t.Errorf("%q: %v\n%s", f, err, out)
		}
	}
}

// One Upgrader and one Request serve many handshakes, and nothing of one gets
// into the next; a head up to the limit is longer than the reader of gobwas/ws.
func TestUpgraderReuse(t *testing.T) {
	u, r := wsproto.NewUpgrader(), new(wsproto.Request)
	big := with("", "Cookie: "+strings.Repeat("c", 5000), "X-More: "+strings.Repeat("m", 2000))
	bigList := with("Upgrade", "Upgrade: h2c, websocket", "Cookie: "+strings.Repeat("c", 5000), "X-More: "+strings.Repeat("m", 2000))
	small := with("Sec-WebSocket-Protocol Origin")
	accept := &wsproto.Accept{Subprotocols: []string{"superchat"}, Header: []wsproto.Field{{"X-A", "b"}}}
	dst := []byte("kept")
	for i, head := range []string{sampleHead, big, small, bigList, small, sampleHead} {
		if err := wsproto.ParseRequest([]byte(head), nil, r); err != nil {
			t.Fatal(err)
		}
		if err := r.CheckUpgrade(); err != nil {
			t.Fatal(err)
		}
		a := accept
		if i%2 == 1 {
			a = nil
		}
		before := len(dst)
		var agreed wsproto.Agreement
		var err error
		dst, agreed, err = u.Upgrade(dst, r, a)
		if err != nil {
			t.Fatal(err)
		}
		res := parseResponse(t, string(dst[before:]))
		want := ""
		if a != nil && head != small {
			want = "superchat"
		}
		if agreed.Subprotocol != want || res.Header.Get("Sec-WebSocket-Protocol") != want || (res.Header.Get("X-A") == "b") != (a != nil) {
			t.Errorf("%d: %q\n%s", i, agreed.Subprotocol, dst[before:])
		}
		if (r.Origin == nil) != (head == small) {
			t.Errorf("%d: origin %q", i, r.Origin)
		}
	}
	if !bytes.HasPrefix(dst, []byte("kept")) {
		t.Error("what was in dst is gone")
	}
}

// What reaches Upgrade without the checks is refused, not answered.
func TestUpgradeUnchecked(t *testing.T) {
	head := []byte(with("Sec-WebSocket-Key"))
	r := new(wsproto.Request)
	if err := wsproto.ParseRequest(head, nil, r); err != nil {
		t.Fatal(err)
	}
	out, _, err := wsproto.NewUpgrader().Upgrade([]byte("before"), r, nil)
	if status(t, err) != 400 || string(out) != "before" {
		t.Errorf("%v\n%s", err, out)
	}
}
