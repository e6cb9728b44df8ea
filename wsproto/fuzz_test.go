package wsproto_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"wsgateway/wsproto"
)

// Any split of the input gives the same events; trace checks the rest: no panic,
// memory within the limit, every buffer given back, silence after the end.
func FuzzDecode(f *testing.F) {
	for i, v := range vectors {
		if len(v.in) < 1<<12 {
			f.Add(v.in, uint64(i), uint16(1000), uint8(8))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64, maxMessage uint16, maxFragments uint8) {
		lim := wsproto.Limits{MaxMessage: int64(maxMessage) + 1, MaxFragments: int(maxFragments) + 1}
		want := trace(t, [][]byte{in}, lim)
		for name, chunks := range splits(in, 2, rand.New(rand.NewPCG(seed, 2))) {
			if got := trace(t, chunks, lim); got != want {
				t.Fatalf("%s:\n%swhole:\n%s", name, got, want)
			}
		}
		checkAgainstReference(t, in, lim, want)
	})
}

// checkAgainstReference decodes the input, taken as whole frames, with gobwas/ws
// and expects no event that is not in it: the first message or control frame of
// both must be the same.
func checkAgainstReference(t *testing.T, in []byte, lim wsproto.Limits, got string) {
	fr, err := readFrame(bytes.NewReader(in))
	if err != nil || ws.CheckHeader(fr.Header, ws.StateServerSide) != nil || !fr.Header.Fin {
		return
	}
	size := 6 // of the header with a masking key, in its shortest form
	if fr.Header.Length > 125 {
		size = 8
	}
	if fr.Header.Length > 65535 {
		size = 14
	}
	if ws.HeaderSize(fr.Header) != size || !bytes.HasPrefix(in, head(in[0], uint64(fr.Header.Length))[:size-4]) {
		return
	}
	fr = ws.UnmaskFrameInPlace(fr)
	want := ""
	switch op := fr.Header.OpCode; {
	case op == ws.OpPing:
		want = "ping " + quote(fr.Payload)
	case op == ws.OpPong:
		want = "pong " + quote(fr.Payload)
	case op.IsData() && fr.Header.Length > lim.MaxMessage:
		want = "fail 1009"
	case op == ws.OpText && !utf8.Valid(fr.Payload):
		want = "fail 1007"
	case op.IsData():
		want = "message " + string('0'+byte(op)) + " " + quote(fr.Payload)
	}
	if !bytes.HasPrefix([]byte(got), []byte(want)) {
		t.Fatalf("%s\nreference: %s", got, want)
	}
}

func FuzzClose(f *testing.F) {
	for _, p := range []string{"", "\x03", "\x03\xE8", "\x03\xE8bye", "\x03\xEDx", "\x0B\xB8\xE2\x9C\x93", "\x13\x87\xFF", "\x13\x88"} {
		f.Add([]byte(p), uint16(1000), p)
	}
	f.Fuzz(func(t *testing.T, payload []byte, code uint16, reason string) {
		payload = payload[:min(len(payload), 125)]
		var d wsproto.Decoder
		ev, _, err := d.Next(frame(fin|opClose, string(payload)), &defaultLimits, newBuffers(t))
		switch {
		case len(payload) == 0:
			if err != nil || ev.Code != wsproto.StatusNoStatus || len(ev.Payload) > 0 {
				t.Fatalf("empty: %v, %v", ev, err)
			}
		case len(payload) == 1 || !onTheWire(int(binary.BigEndian.Uint16(payload))):
			var pe *wsproto.ProtocolError
			if !errors.As(err, &pe) || pe.Code != wsproto.StatusProtocolError {
				t.Fatalf("%q: %v, %v", payload, ev, err)
			}
		case !utf8.Valid(payload[2:]):
			var pe *wsproto.ProtocolError
			if !errors.As(err, &pe) || pe.Code != wsproto.StatusInvalidPayload {
				t.Fatalf("%q: %v, %v", payload, ev, err)
			}
		case err != nil || ev.Kind != wsproto.Close || !bytes.Equal(ev.Payload, payload[2:]):
			t.Fatalf("%q: %v, %v", payload, ev, err)
		}

		// What we send is a legal Close frame, and says what was asked for.
		out := wsproto.AppendClose(nil, wsproto.StatusCode(code), reason)
		fr, err := readFrame(bytes.NewReader(out))
		if err != nil || ws.CheckHeader(fr.Header, ws.StateClientSide) != nil || int(fr.Header.Length)+2 != len(out) {
			t.Fatalf("% x: %v", out, err)
		}
		if !onTheWire(int(code)) {
			if len(fr.Payload) > 0 {
				t.Fatalf("%d: % x", code, out)
			}
			return
		}
		sent := fr.Payload[2:]
		if binary.BigEndian.Uint16(fr.Payload) != code || !utf8.Valid(sent) {
			t.Fatalf("%d %q: % x", code, reason, out)
		}
		if want := []byte(string([]rune(reason))); !bytes.HasPrefix(want, sent) || len(want) <= 123 && len(sent) < len(want) || len(want) > 123 && len(sent) < 120 {
			t.Fatalf("%q became %q", reason, sent)
		}
	})
}

func FuzzUTF8(f *testing.F) {
	for _, s := range []string{"", "a", "κόσμε", "💩", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xC0\xAF", "ab\xE2\x9C", "\x80", "x\xF0\x9F"} {
		f.Add([]byte(s), uint64(3))
	}
	f.Fuzz(func(t *testing.T, p []byte, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		for range 4 {
			var s wsproto.TextState
			ok, fed := true, 0
			for _, c := range cutRandomly(p, rnd) {
				fed += len(c)
				if ok = s.Feed(c); ok != viable(p[:fed]) {
					t.Fatalf("%q of %q: %v", p[:fed], p, ok)
				}
				if !ok {
					break
				}
			}
			if valid := ok && s.Complete(); valid != utf8.Valid(p) {
				t.Fatalf("%q: %v", p, valid)
			}
		}
	})
}

// HeadEnd gives the same answer for any split, and ParseRequest accepts no head
// that HeadEnd refuses.
func FuzzRequest(f *testing.F) {
	for i, v := range headVectors {
		f.Add([]byte(v.in), uint64(i))
	}
	for i, v := range upgradeVectors {
		f.Add([]byte(v.in), uint64(i))
	}
	r := new(wsproto.Request)
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		for _, lim := range []*wsproto.HeadLimits{nil, &smallHead} {
			n, err := wsproto.HeadEnd(in, 0, lim)
			for name, chunks := range splits(in, 2, rand.New(rand.NewPCG(seed, 5))) {
				m, _, serr := feedHead(chunks, lim)
				if m != n || serr != err {
					t.Fatalf("%s: %d, %v; whole: %d, %v", name, m, serr, n, err)
				}
			}
			perr := wsproto.ParseRequest(in, lim, r)
			if perr == nil && (err != nil || n != len(in)) {
				t.Fatalf("parsed, but HeadEnd: %d, %v", n, err)
			}
			if perr != nil {
				status(t, perr)
				continue
			}
			checkRequest(t, in, r)
		}
	})
}

func checkRequest(t *testing.T, in []byte, r *wsproto.Request) {
	if len(r.Path) == 0 || r.Path[0] != '/' || bytes.ContainsAny(r.Path, "? #\r\n\x00") {
		t.Fatalf("path %q", r.Path)
	}
	hosts, total := 0, 0
	r.EachHeader(func(name, value []byte) bool {
		total++
		if len(name) == 0 || bytes.ContainsAny(name, " \t:\r\n\x00") || bytes.ContainsAny(value, "\r\n\x00") {
			t.Fatalf("field %q: %q", name, value)
		}
		if bytes.EqualFold(name, []byte("host")) {
			hosts++
		}
		return true
	})
	for bytes.HasPrefix(in, []byte("\r\n")) { // empty lines before the request line
		in = in[2:]
	}
	if hosts > 1 || total != bytes.Count(in, []byte("\r\n"))-2 {
		t.Fatalf("%d hosts, %d fields", hosts, total)
	}
	if again := r.CheckUpgrade(); again != nil {
		status(t, again)
	}
}

// Every head that passes the checks is answered by gobwas/ws with a 101 in which
// net/http finds what was agreed and nothing else; and heads that differ only in
// what gobwas/ws does not know are answered alike.
func FuzzUpgrade(f *testing.F) {
	for _, v := range upgradeVectors {
		f.Add([]byte(v.in), "chat", "X-A", "b")
	}
	f.Add([]byte(sampleHead), "superchat", "Set-Cookie", "a=b\r\nX: y")
	u, r := wsproto.NewUpgrader(), new(wsproto.Request)
	f.Fuzz(func(t *testing.T, in []byte, subprotocol, name, value string) {
		if n, err := wsproto.HeadEnd(in, 0, nil); err != nil || n != len(in) {
			return
		}
		if wsproto.ParseRequest(in, nil, r) != nil || r.CheckUpgrade() != nil {
			return
		}
		before := bytes.Clone(in)
		out, agreed, err := u.Upgrade(nil, r, &wsproto.Accept{Subprotocols: []string{subprotocol}})
		if err != nil {
			t.Fatalf("%v:\n%s", err, in)
		}
		res := parseResponse(t, string(out))
		if res.StatusCode != 101 || res.Header.Get("Sec-WebSocket-Protocol") != agreed.Subprotocol || res.Header.Get("Sec-WebSocket-Extensions") != "" {
			t.Fatalf("%s", out)
		}
		if agreed.Subprotocol != "" && (agreed.Subprotocol != subprotocol || !bytes.Contains(in, []byte(subprotocol))) {
			t.Fatalf("agreed on %q", agreed.Subprotocol)
		}
		if !bytes.Equal(in, before) {
			t.Fatal("the head was changed")
		}
		key, _ := r.Header("Sec-WebSocket-Key")
		if got := res.Header.Get("Sec-WebSocket-Accept"); got != acceptOf(key) {
			t.Fatalf("key %q answered by %q", key, got)
		}
		extra, _, err := u.Upgrade(nil, r, &wsproto.Accept{Header: []wsproto.Field{{Name: name, Value: value}}})
		if err != nil {
			if status(t, err) != 500 || len(extra) > 0 {
				t.Fatalf("%v: %q", err, extra)
			}
			return
		}
		if got, want := len(parseResponse(t, string(extra)).Header), 4; got != want {
			t.Fatalf("%d fields:\n%s", got, extra)
		}
	})
}
