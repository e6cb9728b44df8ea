package wsproto_test

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"wsgateway/wsproto"
)

const answerPlain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// answerWindow is the answer to an offer that names server_max_window_bits.
func answerWindow(bits int) string { return fmt.Sprint(answerPlain, "; server_max_window_bits=", bits) }

var offers = []struct{ offer, want string }{ // several lines are parted by |
	{"permessage-deflate", answerPlain},
	{"permessage-deflate; client_max_window_bits", answerPlain},
	{"permessage-deflate;client_max_window_bits=8", answerPlain},
	{"permessage-deflate ; client_max_window_bits = 15", answerPlain},
	{`permessage-deflate; client_max_window_bits="10"`, answerPlain},
	{`permessage-deflate; client_max_window_bits="\1\0"`, answerPlain},
	{"permessage-deflate; server_no_context_takeover; client_no_context_takeover", answerPlain},
	{"permessage-deflate; server_max_window_bits=15", answerWindow(15)},
	{`permessage-deflate; server_max_window_bits="15"; client_max_window_bits`, answerWindow(15)},

	{"", ""},
	{"permessage-deflat", ""},
	{"permessage-deflate2", ""},
	{"x-webkit-deflate-frame", ""},
	{"permessage-deflate; unknown", ""},
	{"permessage-deflate; unknown=1", ""},
	{"permessage-deflate; client_no_context_takeover=1", ""},
	{"permessage-deflate; server_no_context_takeover=true", ""},
	{"permessage-deflate; server_max_window_bits", ""},
	{"permessage-deflate; server_max_window_bits=14", answerWindow(14)},
	{"permessage-deflate; server_max_window_bits=12; client_max_window_bits=9", answerWindow(12)},
	{`permessage-deflate; server_max_window_bits="\1\0"`, answerWindow(10)},
	{"permessage-deflate; server_max_window_bits=9; server_no_context_takeover", answerWindow(9)},
	{"permessage-deflate; server_max_window_bits=8", answerWindow(8)},
	{"permessage-deflate; server_max_window_bits=7", ""},
	{"permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", ""},
	{"permessage-deflate; server_max_window_bits=9; x", ""},
	{"permessage-deflate; server_max_window_bits=16", ""},
	{"permessage-deflate; server_max_window_bits=015", ""},
	{"permessage-deflate; client_max_window_bits=7", ""},
	{"permessage-deflate; client_max_window_bits=16", ""},
	{"permessage-deflate; client_max_window_bits=08", ""},
	{"permessage-deflate; client_max_window_bits=1", ""},
	{"permessage-deflate; client_max_window_bits=150", ""},
	{"permessage-deflate; client_max_window_bits=x", ""},
	{"permessage-deflate; client_max_window_bits; client_max_window_bits", ""},
	{"permessage-deflate; client_no_context_takeover; client_no_context_takeover", ""},
	{"permessage-deflate; server_no_context_takeover; server_no_context_takeover", ""},
	{"permessage-deflate; server_max_window_bits=15; server_max_window_bits=15", ""},

	// The first offer that can be met is taken, wherever it stands.
	{"permessage-deflate; server_max_window_bits=10, permessage-deflate", answerWindow(10)},
	{"permessage-deflate; server_max_window_bits=7, permessage-deflate", answerPlain},
	{"permessage-deflate; server_max_window_bits=10; x, permessage-deflate", answerPlain},
	{"permessage-deflate; server_max_window_bits=15, permessage-deflate", answerWindow(15)},
	{"foo, bar; x=\"y\", , permessage-deflate; client_max_window_bits, baz", answerPlain},
	{"permessage-deflate; unknown|permessage-deflate; server_max_window_bits=15", answerWindow(15)},
	{"foo|bar|permessage-deflate", answerPlain},
}

// windowOf returns the window bits of the server that an answer says.
func windowOf(answer string) int {
	if answer == "" {
		return 0
	}
	bits := 15
	if _, value, ok := strings.Cut(answer, "server_max_window_bits="); ok {
		bits, _ = strconv.Atoi(value)
	}
	return bits
}

func TestDeflateNegotiation(t *testing.T) {
	for _, c := range offers {
		var lines []string
		if c.offer != "" {
			for line := range strings.SplitSeq(c.offer, "|") {
				lines = append(lines, "Sec-WebSocket-Extensions: "+line)
			}
		}
		head := []byte(with("", lines...))
		for _, on := range []bool{true, false} {
			want := c.want
			if !on {
				want = ""
			}
			out, agreed, _, err := shake(t, bytes.Clone(head), &wsproto.Accept{Deflate: on})
			if err != nil {
				t.Errorf("%s: %v", c.offer, err)
				continue
			}
			got := parseResponse(t, string(out)).Header.Values("Sec-WebSocket-Extensions")
			if strings.Join(got, "|") != want || agreed.Deflate != (want != "") || agreed.WindowBits != windowOf(want) {
				t.Errorf("%s, deflate %v: answered %q, agreed on %+v, want %q", c.offer, on, got, agreed, want)
			}
		}
	}
}

// What a malformed list is refused for does not depend on whether compression is on.
func TestDeflateMalformedOffer(t *testing.T) {
	for _, offer := range []string{"permessage-deflate;", "permessage-deflate; =15", `permessage-deflate; server_max_window_bits="1 5"`, "permessage-deflate, ;", `permessage-deflate; a="`, "permessage-deflate foo"} {
		_, _, _, err := shake(t, []byte(with("", "Sec-WebSocket-Extensions: "+offer)), &wsproto.Accept{Deflate: true})
		var re *wsproto.RequestError
		if !errors.As(err, &re) || re.Status != 400 {
			t.Errorf("%s: %v", offer, err)
		}
	}
}

// referenceOffer judges one offer as RFC 7692 §7.1 is written, over strings.
func referenceOffer(e string) string {
	parts := strings.Split(e, ";")
	if strings.TrimSpace(parts[0]) != "permessage-deflate" {
		return ""
	}
	seen, answer := map[string]bool{}, answerPlain
	for _, p := range parts[1:] {
		name, value, has := strings.Cut(p, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if strings.HasPrefix(value, `"`) {
			value = strings.ReplaceAll(value[1:len(value)-1], `\`, "")
		}
		if seen[name] {
			return ""
		}
		seen[name] = true
		bits, err := strconv.Atoi(value)
		valid := err == nil && bits >= 8 && bits <= 15 && strconv.Itoa(bits) == value
		switch {
		case strings.HasSuffix(name, "_no_context_takeover") && (name[:6] == "client" || name[:6] == "server") && len(name) == 26:
			if has {
				return ""
			}
		case name == "client_max_window_bits":
			if has && !valid {
				return ""
			}
		case name == "server_max_window_bits":
			if !valid {
				return ""
			}
			answer = answerWindow(bits)
		default:
			return ""
		}
	}
	return answer
}

// Every offer is a 101 with the answer of the reference, or a 400 for what is no list.
func FuzzDeflateOffer(f *testing.F) {
	for _, c := range offers {
		f.Add(c.offer)
	}
	f.Add(`permessage-deflate; client_max_window_bits="1,0"`)
	f.Fuzz(func(t *testing.T, offer string) {
		if strings.ContainsAny(offer, "|\r\n") || len(offer) > 2000 || strings.Trim(offer, " \t") == "" {
			return
		}
		head := []byte(with("", "Sec-WebSocket-Extensions: "+offer))
		out, agreed, _, err := shake(t, head, &wsproto.Accept{Deflate: true})
		if err != nil {
			var re *wsproto.RequestError
			if !errors.As(err, &re) || re.Status != 400 {
				t.Fatal(err)
			}
			return
		}
		want := ""
		for e := range strings.SplitSeq(offer, ",") { // a token holds neither comma nor semicolon
			if want = referenceOffer(e); want != "" {
				break
			}
		}
		if got := parseResponse(t, string(out)).Header.Get("Sec-WebSocket-Extensions"); got != want || agreed.Deflate != (want != "") || agreed.WindowBits != windowOf(want) {
			t.Fatalf("%q: answered %q, agreed on %+v, want %q", offer, got, agreed, want)
		}
	})
}
