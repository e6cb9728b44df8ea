package webpubsub_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/webpubsub"
)

var open = webpubsub.Config{Open: true}

func TestConversation(t *testing.T) {
	target, srv, addr := start(t, open, session.Config{})
	a, b := dial(t, addr, ""), dial(t, addr, "")
	if a.id == b.id {
		t.Error("two clients have one id")
	}
	a.ask(`{"type":"joinGroup","group":"g","ackId":1}`, ok("1"))
	b.send(`{"type":"joinGroup","group":"g"}`)
	b.quiet()                                  // has no ack
	b.send(`{"type":"joinGroup","group":"g"}`) // twice does nothing

	message := func(dataType, data string) string {
		return `{"type":"message","from":"group","group":"g","dataType":"` + dataType + `","data":` + data + `}`
	}
	for i, tt := range []struct{ members, dataType, data string }{
		{`"dataType":"text","data":"hello"`, "text", `"hello"`},
		{`"dataType":"text","data":""`, "text", `""`},
		{`"data":"Grüße \ud83c\udf0d \"\\\/\n"`, "json", `"Grüße \ud83c\udf0d \"\\\/\n"`},
		{`"dataType":"text","data":"Grüße \ud83c\udf0d \"\\\/\n\u0000"`, "text", `"Grüße \ud83c\udf0d \"\\\/\n\u0000"`},
		{`"dataType":"json","data":{"a" : [1e400,-0.0,12345678901234567890123,1.10, {} , [ ]]}`, "json", `{"a" : [1e400,-0.0,12345678901234567890123,1.10, {} , [ ]]}`},
		{`"dataType":"json","data":null`, "json", `null`},
		{`"data":false,"dataType":null`, "json", `false`},
		{`"data":"\ud800"`, "json", `"\ud800"`}, // is JSON, and stays what it is
		{`"dataType":"binary","data":"AP\u002bA/w=="`, "binary", `"AP\u002bA/w=="`},
		{`"dataType":"binary","data":""`, "binary", `""`},
		{`"unknown":{"data":[]},"data":1,"unknown":2,"noEcho":null,"ackId":null`, "json", `1`},
		{`"d\u0061ta":7,"noEcho":false`, "json", `7`},
		{`"data":8,"data\ud800":[],"dataType\ud800":"binary","noEcho\ud800":true,"group\ud800":"evil","type\ud800":"ping"`, "json", `8`},
	} {
		a.send(`{"type":"sendToGroup","group":"g",` + tt.members + `}`)
		a.want(message(tt.dataType, tt.data))
		b.want(message(tt.dataType, tt.data))
		if n := target.Stats().Publishes; n != uint64(i+1) {
			t.Errorf("%s: %d publications counted", tt.members, n)
		}
	}

	a.ask(`{"type":"sendToGroup","group":"g","data":2,"noEcho":true,"ackId":2}`, ok("2"))
	b.want(message("json", "2"))
	a.quiet()

	a.ask(`{"type":"leaveGroup","group":"g","ackId":3}`, ok("3"))
	a.ask(`{"type":"leaveGroup","group":"g","ackId":4}`, ok("4")) // not a member any more
	a.ask(`{"type":"sendToGroup","group":"g","data":3,"ackId":5}`, ok("5"))
	b.want(message("json", "3"))
	a.quiet()
	a.ask(`{"type":"sendToGroup","group":"nobody","data":3,"ackId":6}`, ok("6"))
	a.send(`{"type":"sequenceAck","sequenceId":7}`)
	a.quiet()

	// In another group, with the message in a binary frame.
	a.ask(`{"type":"joinGroup","group":"\u0067\"1\\","ackId":18446744073709551615}`, ok("18446744073709551615"))
	a.Send(ws.NewBinaryFrame([]byte(`{"type":"sendToGroup","group":"g\"1\\","data":4,"ackId":0}`)))
	a.want(`{"type":"message","from":"group","group":"g\"1\\","dataType":"json","data":4}`)
	a.want(ok("0"))
	b.quiet()

	var names []string
	for name := range srv.Channels() {
		names = append(names, name)
	}
	if slices.Sort(names); !slices.Equal(names, []string{`group:g`, `group:g"1\`}) {
		t.Errorf("channels %q", names)
	}
	st := target.Stats()
	if st.Joins != 4 || st.Leaves != 2 || st.Publishes != 17 || st.Pings != 5 || st.Duplicates+st.Malformed+st.Unanswered != 0 {
		t.Errorf("counted %+v", st)
	}
}

// A request that cannot be served gets an error ack, or nothing if it has no ackId; it is not
// remembered, and the session stays.
func TestRefusals(t *testing.T) {
	target, _, addr := start(t, open, session.Config{SessionChannels: 1})
	c := dial(t, addr, "")
	c.ask(`{"type":"joinGroup","group":"taken","ackId":9}`, ok("9"))
	long := strings.Repeat("g", webpubsub.MaxGroup)
	want := map[string]uint64{}
	for _, tt := range []struct{ reason, members string }{
		{"group", `"type":"joinGroup"`},
		{"group", `"type":"joinGroup","group":null`},
		{"group", `"type":"joinGroup","group\ud800":"evil"`},
		{"group", `"type":"sendToGroup","group\udc00\ud800":"evil","data":1`},
		{"group", `"type":"joinGroup","group":""`},
		{"group", `"type":"leaveGroup","group":"a\u0000"`},
		{"group", `"type":"leaveGroup","group":"\u007f"`},
		{"group", `"type":"sendToGroup","group":"\ud800","data":1`},
		{"group", `"type":"sendToGroup","group":"\udc00\ud800","data":1`},
		{"group", `"type":"sendToGroup","group":"\ud800x","data":1`},
		{"group", `"type":"sendToGroup","group":"x\ud800","data":1`},
		{"group", `"type":"sendToGroup","group":"` + long + `g","data":1`},
		{"too_many_groups", `"type":"joinGroup","group":"` + long + `"`},
		{"data", `"type":"sendToGroup","group":"g"`},
		{"data", `"type":"sendToGroup","group":"g","dataType":"text"`},
		{"data", `"type":"sendToGroup","group":"g","dataType":"text","data":1`},
		{"data", `"type":"sendToGroup","group":"g","dataType":"text","data":null`},
		{"data", `"type":"sendToGroup","group":"g","dataType":"text","data":"a\ud800"`},
		{"data", `"type":"sendToGroup","group":"g","dataType":"text","data":"\udc00"`},
		{"data", `"type":"sendToGroup","group":"g","dataType":"text","data":"\ud800\u0041"`},
		{"data", `"type":"sendToGroup","group":"g","dataType":"binary","data":{}`},
		{"data", `"type":"sendToGroup","group":"g","dataType":"binary","data":"AAA"`},
		{"data", `"type":"sendToGroup","group":"g","dataType":"binary","data":"A==="`},
		{"data", `"type":"sendToGroup","group":"g","dataType":"binary","data":"A=AA"`},
		{"data", `"type":"sendToGroup","group":"g","dataType":"binary","data":"AA_-"`},
		{"data", `"type":"sendToGroup","group":"g","dataType":"binary","data":"AAAA\n"`},
		{"unsupported", `"type":"sendToGroup","group":"g","dataType":"protobuf","data":"AAAA"`},
		{"unsupported", `"type":"sendToGroup","group":"g","dataType":"TEXT","data":"AAAA"`},
		{"unsupported", `"type":"sendToGroup","group":"g","dataType":"text\ud800","data":"AAAA"`},
		{"unsupported", `"type":"sendToGroup","group":"g","dataType":"json\udc00\ud800","data":"AAAA"`},
		{"unsupported", `"type":"sendToGroup","group":"g","data":1,"stream":{"streamId":1}`},
		{"unsupported", `"type":"event","event":"e","data":1`},
		{"unsupported", `"type":"setGroupState","group":"g"`},
	} {
		c.refused(`{`+tt.members+`,"ackId":1}`, "BadRequest")
		want[tt.reason]++
		if strings.Contains(tt.members, "State") {
			continue
		}
		c.send(`{` + tt.members + `}`)
		c.quiet()
		want[tt.reason]++
	}
	c.ask(`{"type":"invoke","invocationId":"i\u0022","target":"event","event":"e"}`,
		`{"type":"invokeResponse","success":false,"invocationId":"i\u0022","error":{"name":"BadRequest","message":"there is no backend that handles events"}}`)
	c.ask(`{"type":"sendToGroup","group":"g","stream":{"x":[],"streamId":"s\u0022"}}`,
		`{"type":"streamClosed","streamId":"s\u0022","error":{"name":"BadRequest","message":"streams are not supported"}}`)
	for _, ignored := range []string{`"cancelInvocation","invocationId":"i"`, `"streamData","streamId":"s"`, `"streamEnd","streamId":"s"`} {
		c.send(`{"type":` + ignored + `}`)
		c.quiet()
	}
	want["unsupported"] += 2
	st := target.Stats()
	for _, reason := range []string{"group", "data", "unsupported", "too_many_groups", "forbidden", "busy", "old_ack_id"} {
		if n, counted := st.Refused[reason]; !counted || n != want[reason] {
			t.Errorf("%s: counted %d, want %d", reason, n, want[reason])
		}
	}
	if st.Unanswered != 32 || st.Publishes != 0 || st.Joins != 1 {
		t.Errorf("counted %+v", st)
	}
	c.ask(`{"type":"leaveGroup","group":"`+long+`","ackId":1}`, ok("1")) // none of them used the id up
}

// A group has up to MaxGroup bytes, with the longest prefix as well. A refusal says what is wrong.
func TestGroupNames(t *testing.T) {
	prefix := strings.Repeat("p", session.MaxChannelName-webpubsub.MaxGroup)
	_, srv, addr := start(t, webpubsub.Config{Open: true, Prefix: prefix}, session.Config{})
	c := dial(t, addr, "")
	for i, group := range []string{"g", " ", "\u00a0", "~", strings.Repeat("g", webpubsub.MaxGroup), strings.Repeat("ü", webpubsub.MaxGroup/2)} {
		id := fmt.Sprint(2 + i)
		c.ask(`{"type":"joinGroup","group":"`+group+`","ackId":`+id+`}`, ok(id))
		c.send(`{"type":"sendToGroup","group":"` + group + `","data":1}`)
		c.want(`{"type":"message","from":"group","group":"` + group + `","dataType":"json","data":1}`)
		if srv.MemberCount(prefix+group) != 1 {
			t.Errorf("%q: not in its channel", group)
		}
	}
	for member, text := range map[string]string{
		``:                             "group is missing or empty",
		`,"group":null`:                "group is missing or empty",
		`,"group":""`:                  "group is missing or empty",
		`,"group":"\ud800"`:            "group is not well-formed: it has half a surrogate",
		`,"group":"g\udc00"`:           "group is not well-formed: it has half a surrogate",
		`,"group":"\u0000"`:            "group has control characters",
		`,"group":"g\u001f"`:           "group has control characters",
		`,"group":"g\u007f"`:           "group has control characters",
		`,"group":"g\u0080"`:           "group has control characters",
		`,"group":"g` + "\u0085" + `"`: "group has control characters",
		`,"group":"\u009fg"`:           "group has control characters",
		`,"group":"` + strings.Repeat("g", webpubsub.MaxGroup+1) + `"`:  "group is longer than 200 bytes",
		`,"group":"` + strings.Repeat("ü", webpubsub.MaxGroup/2) + `g"`: "group is longer than 200 bytes",
	} {
		for _, kind := range []string{"joinGroup", "leaveGroup", "sendToGroup"} {
			c.ask(`{"type":"`+kind+`"`+member+`,"data":1,"ackId":1}`, `{"type":"ack","ackId":1,"success":false,"error":{"name":"BadRequest","message":"`+text+`"}}`)
		}
	}
}

// What is no request ends the session.
func TestMalformed(t *testing.T) {
	target, _, addr := start(t, open, session.Config{})
	deep := strings.Repeat("[", webpubsub.MaxDepth)
	list := []string{
		``, ` `, `{`, `}`, `{}`, `[]`, `"ping"`, `null`, `{"type":"ping"`, `{"type":"ping"}}`, `{"type":"ping"}{}`, `{"type":"ping",}`,
		`{,"type":"ping"}`, `{"type":"ping" "a":1}`, `{"type" "ping"}`, `{type:"ping"}`, `{"type":'ping'}`, "{\"type\":\"ping\n\"}",
		`{"type":"ping","a":01}`, `{"type":"ping","a":-}`, `{"type":"ping","a":-true}`, `{"type":"ping","a":1.}`, `{"type":"ping","a":1.true}`,
		`{"type":"ping","a":+1}`, `{"type":"ping","a":1e}`, `{"type":"ping","a":NaN}`, `{"type":"ping","a":[1,]}`, `{"type":"ping","a":[}`,
		`{"type":"ping","a":{"b":1]}`, `{"type":"ping","a":{1:2}}`, `{"type":"ping","a":"\x"}`, `{"type":"ping","a":"\u12g4"}`, `{"type":"ping","a":"\u12`,
		`{"a":1}`, `{"type":"nope"}`, `{"type":""}`, `{"Type":"ping"}`, `{"type":null}`, `{"type":1,"ackId":1}`, `{"type":["ping"]}`,
		`{"type":"ping","type":"ping"}`, `{"type":"ping","\u0074ype":"ping"}`, `{"type":"sendToGroup","group":"g","data":1,"data":2,"ackId":1}`,
		`{"type":"joinGroup","group":1,"ackId":1}`, `{"type":"joinGroup","group":"g","ackId":"1"}`, `{"type":"joinGroup","group":"g","ackId":-1}`,
		`{"type":"joinGroup","group":"g","ackId":1.0}`, `{"type":"joinGroup","group":"g","ackId":1e3}`, `{"type":"joinGroup","group":"g","ackId":18446744073709551616}`, `{"type":"joinGroup","group":"g","ackId":20496382304121724010}`, "{\"type\":\"ping\",\"a\":\"\x1f\"}",
		`{"type":"sendToGroup","group":"g","data":1,"noEcho":"true"}`, `{"type":"sendToGroup","group":"g","data":1,"dataType":1}`, `{"type":"invoke","invocationId":1}`,
		`{"type":"ping","a":` + deep + strings.Repeat("]", webpubsub.MaxDepth) + `}`,
		`{"type":"ping","a":` + strings.Repeat("[", 1<<20-64), `{"type":"ping","a":` + strings.Repeat(`{"":`, 1<<18-64),
	}
	for _, text := range list {
		c := dial(t, addr, "")
		c.send(text)
		c.declined(1008)
		if t.Failed() {
			t.Fatalf("the message was %.100q", text)
		}
	}
	c := dial(t, addr, "")
	c.Send(ws.NewBinaryFrame([]byte("{\"type\":\"ping\",\"a\":\"\xff\"}")))
	c.declined(1007)
	if n := target.Stats().Malformed; n != uint64(len(list)+1) {
		t.Errorf("%d counted, want %d", n, len(list)+1)
	}

	c = dial(t, addr, "")
	c.ask(`{"type":"ping","a":`+deep[1:]+strings.Repeat("]", webpubsub.MaxDepth-1)+`}`, `{"type":"pong"}`)
}

func TestSubprotocolIsDemanded(t *testing.T) {
	_, _, addr := start(t, open, session.Config{})
	for name, lines := range map[string][]string{"none": nil, "others": {"Sec-WebSocket-Protocol: json.reliable.webpubsub.azure.v1, chat"}} {
		answer := wstest.Answer(t, addr, wstest.Request("/channels", lines...))
		if !strings.HasPrefix(answer, "HTTP/1.1 400 ") || !strings.Contains(answer, webpubsub.Subprotocol) {
			t.Errorf("%s offered: answered with %q, want 400 and %s", name, answer, webpubsub.Subprotocol)
		}
	}
}

func TestNew(t *testing.T) {
	authorize := func(*session.Upgrade) (webpubsub.Permissions, error) { return webpubsub.Permissions{}, nil }
	for name, cfg := range map[string]webpubsub.Config{
		"open to some":     {Open: true, Authorize: authorize},
		"long prefix":      {Prefix: strings.Repeat("p", session.MaxChannelName-webpubsub.MaxGroup+1)},
		"control":          {Prefix: "a\x00"},
		"C1 control":       {Prefix: "a\u0080"},
		"prefix not UTF-8": {Prefix: "\xff"},
		"hint not UTF-8":   {Hint: "\xff"},
	} {
		if _, err := webpubsub.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	target, err := webpubsub.New(open)
	if err != nil {
		t.Fatal(err)
	}
	var h session.Handler = target
	if _, ok := h.(session.BinaryHandler); !ok || target.Routes("/x")[0].Path != "/x" || target.Routes("/x")[0].Only != session.Opcode(0) {
		t.Error("a target takes binary messages as well, at any path")
	}
}

// Memory per session is what the package comment says.
func TestClientSize(t *testing.T) {
	if webpubsub.ClientSize > 48 {
		t.Errorf("%d bytes", webpubsub.ClientSize)
	}
}

func TestDisconnectedSaysWhy(t *testing.T) {
	_, srv, addr := start(t, open, session.Config{})
	byUs, byShutdown := dial(t, addr, ""), dial(t, addr, "")
	s, ok := srv.Lookup(byUs.id)
	if !ok {
		t.Fatal("no session has the id of the first message")
	}
	if err := s.Close(4000, `a "reason"`); err != nil {
		t.Fatal(err)
	}
	byUs.want(`{"type":"system","event":"disconnected","message":"a \"reason\""}`)
	byUs.AnswerClose(4000)

	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(t.Context()) }()
	byShutdown.want(`{"type":"system","event":"disconnected","message":"going away"}`)
	byShutdown.AnswerClose(1001)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
