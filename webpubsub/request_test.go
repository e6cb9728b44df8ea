package webpubsub_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"wsgateway/webpubsub"
)

// Half a surrogate makes another word of every name and of every value that is a word: none is taken for
// what stands in front of it, or behind it.
func TestHalfSurrogates(t *testing.T) {
	for _, half := range []string{`\ud800`, `\udfff`, `\udc00\ud800`, `\ud83c\u0041`, `\uD83C\ud83c`} {
		for _, word := range []func(string) string{
			func(s string) string { return s + half },
			func(s string) string { return half + s },
			func(s string) string { return s[:2] + half + s[2:] },
			func(s string) string { return `\u00` + fmt.Sprintf("%02x", s[0]) + s[1:] + half },
		} {
			all := ""
			for _, name := range memberNames {
				all += `,"` + word(name) + `":"evil"`
			}
			for p, want := range map[string]webpubsub.Request{
				`{"type":"ping"` + all + `}`: {Type: "ping"},
				`{"type":"invoke","ackId":1,"noEcho":true,"stream":{"` + word("streamId") + `":"evil"},"group":"g","dataType":"text","data":1,"invocationId":"i"` + all + `}`: {
					Type: "invoke", AckID: new(uint64(1)), NoEcho: true, Stream: true,
					Group: []byte("g"), DataType: []byte("text"), Data: []byte("1"), Invocation: []byte("i"),
				},
				`{"type":"` + word("ping") + `","invocationId":"` + word("id") + `","stream":{"streamId":"` + word("id") + `"}}`: {
					Stream: true, Invocation: []byte(word("id")), StreamID: []byte(word("id")),
				},
			} {
				if got, err := webpubsub.Parse([]byte(p)); err != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("%s is\n%s, %v, want\n%s", p, show(got), err, show(want))
				}
			}
			got, err := webpubsub.Parse([]byte(`{"type":"sendToGroup","group":"` + word("name") + `","dataType":"` + word("text") + `"}`))
			if known := []string{"json", "text", "binary"}; err != nil || !got.BrokenGroup || slices.Contains(known, string(got.DataType)) || got.DataType == nil {
				t.Fatalf("%s: %s, %v", half, show(got), err)
			}
			for _, dataType := range []string{"json", "text", "binary"} {
				list, err := webpubsub.Messages([]byte(`{"type":"sendToGroup","group":"g","dataType":"`+word(dataType)+`","data":"AAAA"}`), "")
				if err != nil || strings.Contains(string(list[0]), `"from":"group"`) {
					t.Fatalf("dataType %s: %s, %v", word(dataType), list[0], err)
				}
			}
		}
	}
}

// Messages of random members, with random escapes and half surrogates in their names and values, are
// understood as encoding/json does.
func TestParseAsEncodingJSON(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	taken := 0
	const messages = 50_000
	for range messages {
		if compare(t, []byte(g.message())) {
			taken++
		}
		if t.Failed() {
			return
		}
	}
	if taken < messages/10 || taken > messages*9/10 {
		t.Errorf("%d of %d messages are requests", taken, messages)
	}
}

var (
	memberNames = []string{"type", "group", "ackId", "dataType", "data", "noEcho", "stream", "invocationId"}
	typeNames   = []string{"joinGroup", "leaveGroup", "sendToGroup", "event", "invoke", "sequenceAck", "cancelInvocation", "streamData", "streamEnd", "ping"}
)

type generator struct{ *rand.Rand }

func (g generator) of(list ...string) string { return list[g.IntN(len(list))] }

// message returns an object with a few members.
func (g generator) message() string {
	var list []string
	if g.IntN(10) > 0 {
		list = append(list, g.quoted("type")+": "+g.quoted(g.of(typeNames...)))
	}
	for range g.IntN(6) {
		name := g.of(append(memberNames[1:], "x", "Group", "streamId", "")...)
		value := ""
		switch {
		case g.IntN(12) == 0:
			value = g.of("null", "1", "true", `"s"`, "[]", "{}")
		case name == "ackId":
			value = g.of("0", "7", "18446744073709551615", "18446744073709551616", "-1", "1.0", "1e3")
		case name == "noEcho":
			value = g.of("true", "false")
		case name == "stream":
			value = "{" + g.quoted(g.of("streamId", "x")) + ":" + g.of(g.quoted("s"), "1") + "," + g.quoted("streamId") + ":" + g.quoted("id") + "}"
		default:
			value = g.quoted(g.of("g", "text", "json", "binary", "\U0001f30d", "\\", "group", ""))
		}
		list = append(list, g.quoted(name)+":"+value)
	}
	g.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return "{" + strings.Join(list, ",") + "}"
}

// quoted returns s as a JSON string, some of it escaped, and rarely with half a surrogate in it.
func (g generator) quoted(s string) string {
	out, at := `"`, -1
	if g.IntN(8) == 0 {
		at = g.IntN(len(s) + 1)
	}
	half := func(i int) {
		if i == at {
			out += g.of(`\ud800`, `\uDFFF`, `\udc00\ud800`, `\ud83c\u0041`)
		}
	}
	escapes := g.IntN(4) == 0
	for i, c := range s {
		half(i)
		switch {
		case c > 0xffff && escapes:
			out += `\ud83c\udf0d`
		case c == '\\' || c < 0x80 && escapes && g.IntN(3) == 0:
			out += fmt.Sprintf(`\u%04x`, c)
		default:
			out += string(c)
		}
	}
	half(len(s))
	return out + `"`
}

// compare has encoding/json read p, which is valid UTF-8, and reports whether it is a request. It puts
// U+FFFD where half a surrogate stands, so that no such name equals a known one.
func compare(t *testing.T, p []byte) bool {
	t.Helper()
	if bytes.Count(p, []byte("["))+bytes.Count(p, []byte("{")) > webpubsub.MaxDepth {
		return false
	}
	got, err := webpubsub.Parse(p)
	want, ok := reference(p)
	if ok != (err == nil) {
		t.Errorf("%q: %v, want a request: %v", p, err, ok)
	}
	if err != nil || !ok {
		return false
	}
	if got.BrokenGroup && bytes.Contains(want.Group, []byte("\ufffd")) {
		got.Group, want.BrokenGroup = want.Group, true
	}
	if bytes.Contains(want.DataType, []byte("\ufffd")) && bytes.IndexByte(got.DataType, '\\') >= 0 {
		got.DataType = want.DataType // is as written
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q is\n%s, want\n%s", p, show(got), show(want))
	}
	return true
}

var wholeNumber = regexp.MustCompile(`^[0-9]+$`)

// reference is Parse by encoding/json. It reports false if p is no request.
func reference(p []byte) (r webpubsub.Request, ok bool) {
	members, ok := object(p)
	if !ok {
		return r, false
	}
	seen := make(map[string]bool)
	for _, m := range members {
		if !slices.Contains(memberNames, m.name) {
			continue
		}
		if seen[m.name] {
			return r, false
		}
		seen[m.name] = true
		if m.name == "data" {
			r.Data = m.value
			continue
		}
		if string(m.value) == "null" && m.name != "type" {
			continue
		}
		isText := m.value[0] == '"'
		text, raw := "", []byte(nil)
		if isText {
			if json.Unmarshal(m.value, &text) != nil {
				return r, false
			}
			raw = m.value[1 : len(m.value)-1]
		}
		switch m.name {
		case "type":
			if slices.Contains(typeNames, text) {
				r.Type = text
			}
			if i := slices.Index(typeNames, text); 5 <= i && i <= 8 {
				r.Type = "ignored"
			}
		case "group":
			r.Group = []byte(text)
		case "dataType":
			r.DataType = []byte(text)
		case "invocationId":
			r.Invocation = raw
		case "ackId":
			id, err := strconv.ParseUint(string(m.value), 10, 64)
			if err != nil || !wholeNumber.Match(m.value) {
				return r, false
			}
			r.AckID, isText = &id, true
		case "noEcho":
			if json.Unmarshal(m.value, &r.NoEcho) != nil {
				return r, false
			}
			isText = true
		case "stream":
			r.Stream, isText = true, true
			inner, _ := object(m.value)
			for _, m := range inner {
				if m.name == "streamId" && m.value[0] == '"' {
					r.StreamID = m.value[1 : len(m.value)-1]
					break
				}
			}
		}
		if !isText {
			return r, false
		}
	}
	return r, seen["type"]
}

type member struct {
	name  string
	value json.RawMessage
}

// object returns the members of an object in their order, and false if p is none.
func object(p []byte) (list []member, ok bool) {
	if p = bytes.Trim(p, " \t\r\n"); !json.Valid(p) || p[0] != '{' {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(p))
	_, _ = dec.Token() // {
	for dec.More() {
		name, _ := dec.Token()
		m := member{name: name.(string)}
		if dec.Decode(&m.value) != nil {
			return nil, false
		}
		list = append(list, m)
	}
	return list, true
}

func show(r webpubsub.Request) string {
	ack := "none"
	if r.AckID != nil {
		ack = fmt.Sprint(*r.AckID)
	}
	return fmt.Sprintf("type %q, ackId %s, noEcho %v, stream %v %q, group %q %v, dataType %q, data %q, invocationId %q",
		r.Type, ack, r.NoEcho, r.Stream, r.StreamID, r.Group, r.BrokenGroup, r.DataType, r.Data, r.Invocation)
}
