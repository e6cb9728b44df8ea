package webpubsub_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"wsgateway/webpubsub"
)

// Whatever a client sends, the target sends valid JSON; and what encoding/json does not take for JSON
// is no request. What it takes for one has the members that encoding/json finds in it.
func FuzzMessage(f *testing.F) {
	for _, seed := range []string{
		`{"type":"ping"}`,
		`{"type":"joinGroup","group":"g\ud83c\udf0d","ackId":18446744073709551615}`,
		`{"type":"sendToGroup","group":"\"\\\u0000","dataType":"text","data":"a\ud800\n","noEcho":true}`,
		`{"type":"sendToGroup","group":"g","dataType":"binary","data":"AP\u002bA/w=="}`,
		` { "type" : "sendToGroup" , "group":"g","data":[1e400,-0.10E+2,{"a":{},"b":[ ],"c":[[],{"d":null}]},true,false]} `,
		`{"type":"sendToGroup","group":"g","stream":{"a":{"streamId":1},"streamId":"\"\\\u0000"}}`,
		`{"type":"invoke","invocationId":"\u0041\/\b\f\r\t","data":{"":1}}`,
		`{"\u0074ype":"event","x":` + strings.Repeat("[", 62) + strings.Repeat("]", 62) + `}`,
		`{"type":"joinGroup","group\ud800":"evil","group":"g","dataType":"text\udc00","stream":{"stream\u0049d":"s"}}`,
		`{"type\ud83c\u0041":1,"type":"ping\ud800","ackId":1,"ackId\udfff":2,"invocationId":"\ud800"}`,
		`{"type":"ping","a":-true}`, `{"type":"ping","a":01}`, `{"type":"ping",}`, `{}`, `{"a":{"b":1]}`,
	} {
		f.Add([]byte(seed), "user\"\\")
	}
	f.Fuzz(func(t *testing.T, p []byte, user string) {
		if !utf8.Valid(p) || !utf8.ValidString(user) {
			return // see OnBinary and Config.Authorize
		}
		list, err := webpubsub.Messages(p, user)
		for _, m := range list {
			if !json.Valid(m) || !utf8.Valid(m) {
				t.Errorf("%q makes %q", p, m)
			}
		}
		if err == nil && !json.Valid(p) {
			t.Errorf("%q is taken for a request", p)
		}
		compare(t, p)
	})
}

// FuzzJSON compares the scanner with encoding/json.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`1`, `-0.5e-7`, `"\ud800\u00e9é"`, `"\"\\\/\b\f\n\r\t\uD83C\udf0d"`, `"\ud83cx\udf0d"`, `"\ufffd"`, `[[],{},[{"a":[1,2]}]]`, `{"a":[true,null]}`, `01`, `-`, `1.`, `"`, `[1,]`, `{"a"}`, `[}`, `nul`, "\"\x00\"", ``, ` `, `1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if !utf8.Valid(p) || bytes.Count(p, []byte("["))+bytes.Count(p, []byte("{")) > webpubsub.MaxDepth {
			return
		}
		if got, want := webpubsub.ValidJSON(p), json.Valid(p); got != want {
			t.Errorf("%q: valid %v, want %v", p, got, want)
		}
		var want string
		if json.Unmarshal(p, &want) != nil || bytes.Equal(bytes.TrimSpace(p), []byte("null")) {
			return
		}
		// encoding/json puts U+FFFD where half a surrogate stands.
		if got, ok := webpubsub.Unquote(p); ok && got != want || !ok && !strings.Contains(want, "\ufffd") {
			t.Errorf("%q stands for %q, %v, want %q", p, got, ok, want)
		}
	})
}
