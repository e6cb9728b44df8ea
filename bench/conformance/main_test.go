package main

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestWrongServers proves that the runner finds what it is for.
func TestWrongServers(t *testing.T) {
	bad := func(frames ...[]byte) []byte {
		var all []byte
		for _, f := range frames {
			all = append(all, f...)
		}
		return all
	}
	closeFrame := func(code int, reason string) []byte {
		return serverFrame(8, append([]byte{byte(code >> 8), byte(code)}, reason...))
	}
	refuse := func(status, fields, body string) func(net.Conn, string) bool {
		return answers("HTTP/1.1 " + status + "\r\n" + fields + "\r\n" + body)
	}
	mute := func(c net.Conn, _ string) bool { _, _ = io.Copy(io.Discard, c); return false }
	rows := []struct {
		name    string
		server  mini
		id      string
		verdict string
		seen    string // in what was observed
	}{
		{"correct handshake", mini{}, "H1.get", "PASS", "101"},
		{"correct echo", mini{}, "F9.text-65536", "PASS", "echo text 65536 bytes"},
		{"correct ping", mini{}, "F10.ping-125", "PASS", "pong 125 bytes"},
		{"correct close", mini{}, "F13.normal", "PASS", `Close(1000 "")`},
		{"correct failure", mini{onBad: closeFrame(1002, "no")}, "F3.3", "PASS", `Close(1002 "no"), then EOF`},

		{"never answers", mini{head: mute}, "H1.get", "FAIL", "timeout after 1s"},
		{"closes at once", mini{head: func(net.Conn, string) bool { return false }}, "H1.get", "FAIL", "EOF"},
		{"not HTTP", mini{head: answers("SSH-2.0-x\r\n\r\n")}, "H1.get", "FAIL", "not allowed"},
		{"another status", mini{head: refuse("200 OK", "Content-Length: 0\r\n", "")}, "H1.get", "FAIL", "200"},
		{"wrong accept", mini{head: func(c net.Conn, head string) bool { return upgrade(c, strings.ToLower(head)) }}, "H7.sample", "FAIL", "Sec-WebSocket-Accept"},
		{"accepts without key", mini{}, "H5.missing", "FAIL", "101"},
		{"refuses with 400", mini{head: refuse("400 Bad Request", "Content-Length: 2\r\n", "no")}, "H5.missing", "PASS", "400"},
		{"refuses with 404", mini{head: refuse("404 Not Found", "Content-Length: 2\r\n", "no")}, "H5.missing", "NON-STRICT", "404"},
		{"refuses without an answer", mini{head: func(net.Conn, string) bool { return false }}, "H5.missing", "FAIL", "EOF"},
		{"accepts a folded line", mini{}, "H12.fold-space", "NON-STRICT", "101"},
		{"body cut short", mini{head: refuse("400 Bad Request", "Content-Length: 20\r\n", "no")}, "H5.missing", "FAIL", "shorter"},
		{"body too long", mini{head: refuse("400 Bad Request", "Content-Length: 1\r\n", "no")}, "H16.length-key", "FAIL", "400"},
		{"refusal stays open", mini{linger: true, head: refuse("400 Bad Request", "Connection: close\r\nContent-Length: 2\r\n", "no")}, "H16.close-key", "FAIL", "timeout"},
		{"refusal without close", mini{head: refuse("400 Bad Request", "Content-Length: 2\r\n", "no")}, "H16.close-key", "NON-STRICT", "no Connection"},
		{"426 without Upgrade", mini{head: refuse("426 Upgrade Required", "Content-Length: 0\r\n", "")}, "H15.upgrade-field", "NON-STRICT", "no Upgrade"},
		{"version refused without field", mini{head: refuse("426 Upgrade Required", "Content-Length: 0\r\n", "")}, "H6.field-8", "FAIL", "426"},
		{"canary in the body", mini{head: func(c net.Conn, head string) bool {
			return refuse("400 Bad Request", "Connection: close\r\n", head)(c, head)
		}}, "H16.canary-key", "NON-STRICT", "400"},
		{"subprotocol nobody offered", mini{head: refuse("101 Switching Protocols", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: x\r\n", "")}, "H8.none-offered", "FAIL", "101"},

		{"masked frames", mini{frame: func(_ net.Conn, f clientFrame) []byte {
			return append([]byte{0x80 | f.op, 0x80 | byte(len(f.payload)), 0, 0, 0, 0}, f.payload...)
		}}, "F9.text-5", "FAIL", "masked"},
		{"long length form", mini{frame: func(_ net.Conn, f clientFrame) []byte {
			return append([]byte{0x80 | f.op, 126, 0, byte(len(f.payload))}, f.payload...)
		}}, "F9.text-5", "FAIL", "shortest"},
		{"wrong echo", mini{frame: func(net.Conn, clientFrame) []byte { return serverFrame(1, []byte("wrong")) }}, "F9.text-5", "FAIL", "echo text 5 bytes"},
		{"wrong type", mini{frame: func(_ net.Conn, f clientFrame) []byte { return serverFrame(3-f.op, f.payload) }}, "F9.text-5", "FAIL", "echo binary"},
		{"reserved bits", mini{frame: func(_ net.Conn, f clientFrame) []byte {
			out := serverFrame(f.op, f.payload)
			out[0] |= 0x40
			return out
		}}, "F9.text-5", "FAIL", "reserved bits"},
		{"silent", mini{frame: func(net.Conn, clientFrame) []byte { return nil }}, "F9.text-5", "FAIL", "timeout"},
		{"late pong", mini{frame: func(net.Conn, clientFrame) []byte { return serverFrame(10, []byte("other")) }}, "F10.ping-5", "FAIL", "pong"},
		{"takes reserved opcodes", mini{}, "F3.3", "FAIL", "not allowed"},
		{"ends without Close", mini{onBad: []byte{}}, "F3.3", "NON-STRICT", "EOF"},
		{"another code", mini{onBad: closeFrame(1011, "")}, "F3.3", "NON-STRICT", "Close(1011"},
		{"forbidden code", mini{onBad: closeFrame(1005, "")}, "F3.3", "FAIL", "1005"},
		{"reason not UTF-8", mini{onBad: closeFrame(1002, "\xff")}, "F3.3", "FAIL", "not UTF-8"},
		{"data behind Close", mini{onBad: bad(closeFrame(1002, ""), serverFrame(1, []byte("x")))}, "F3.3", "FAIL", "after the Close frame"},
		{"two Close frames", mini{onBad: bad(closeFrame(1002, ""), closeFrame(1002, ""))}, "F3.3", "FAIL", "after the Close frame"},
		{"echoes, then fails", mini{onBad: bad(serverFrame(1, []byte("x")), closeFrame(1002, ""))}, "F3.3", "FAIL", "echo"},
		{"stays open", mini{linger: true, onBad: closeFrame(1002, "")}, "F3.3", "FAIL", "timeout after 1s"},
		{"no answer to Close", mini{frame: func(net.Conn, clientFrame) []byte { return nil }}, "F13.normal", "FAIL", "EOF"},
		{"code made up", mini{frame: func(net.Conn, clientFrame) []byte { return closeFrame(1000, "") }}, "F11.empty", "NON-STRICT", "Close(1000"},
	}
	outcomes := make([]outcome, len(rows))
	together(len(rows), func(i int) { outcomes[i] = judgeMini(t, &rows[i].server, rows[i].id, rows[i].seen) })
	for i, tc := range rows {
		t.Run(tc.name, func(t *testing.T) {
			status, rep := outcomes[i].status, outcomes[i].rep
			if rep == nil {
				t.Fatal(outcomes[i].text)
			}
			if len(rep.Cases) != 1 || len(rep.Cases[0].Splits) != 5 {
				t.Fatalf("%d cases", len(rep.Cases))
			}
			c := rep.Cases[0]
			if c.Verdict != tc.verdict {
				t.Errorf("%s: %s, want %s: %+v", c.ID, c.Verdict, tc.verdict, c.Splits)
			}
			found := false
			for _, s := range c.Splits {
				found = found || strings.Contains(s.Observed, tc.seen)
			}
			if !found {
				t.Errorf("%q not observed: %+v", tc.seen, c.Splits)
			}
			if want := map[string]int{"FAIL": 1}[tc.verdict]; status != want {
				t.Errorf("status %d, want %d", status, want)
			}
		})
	}
}

// TestWorstSplit proves that a fault which shows in some splits only is found.
func TestWorstSplit(t *testing.T) {
	m := mini{hasty: true}
	status, rep := verdicts(t, m.start(t), "F9.text-5()", "-seed", "7")
	c := rep.Cases[0]
	if status != 1 || c.Verdict != "FAIL" || c.Splits[0].Verdict != "PASS" || c.Splits[1].Verdict != "FAIL" {
		t.Errorf("status %d, %+v", status, c)
	}
	if rep.Seed != 7 || rep.Total.Fail != 1 || rep.Total.Runs != 5 {
		t.Errorf("seed %d, total %+v", rep.Seed, rep.Total)
	}
}

func TestRelayBetween(t *testing.T) {
	m := mini{}
	begin := time.Now()
	status, rep := verdicts(t, m.start(t), "F10.ping-sequence", "-delay", "5ms")
	if took := time.Since(begin); status != 0 || rep.Total.Pass != 1 || took < 10*11*time.Millisecond {
		t.Errorf("status %d after %v: %+v", status, took, rep)
	}
}

func TestStatus(t *testing.T) {
	m := mini{}
	url := m.start(t)
	for _, tc := range []struct {
		args   []string
		status int
		out    string
	}{
		{[]string{}, 2, "-url is required"},
		{[]string{"-url", "http://127.0.0.1/"}, 2, "not of the form"},
		{[]string{"-url", "ws:///x"}, 2, "not of the form"},
		{[]string{"-url", url, "-run", "Z9"}, 2, "matches no case"},
		{[]string{"-url", url, "-run", "F(9"}, 2, "missing closing"},
		{[]string{"-url", url, "-parallel", "0"}, 2, "-parallel"},
		{[]string{"-url", url, "-text-url", "x"}, 2, "-text-url"},
		{[]string{"-url", url, "extra"}, 2, "unexpected argument"},
		{[]string{"-nonsense"}, 2, "nonsense"},
		{[]string{"-url", "ws://127.0.0.1:1/"}, 2, "cannot connect"},
		{[]string{"-url", url, "-compress"}, 2, "permessage-deflate"},
		{[]string{"-help"}, 0, "usage"},
		{[]string{"-list", "-run", "F6.ping"}, 0, "F6.ping-126"},
		{[]string{"-url", url, "-run", "F10.ping-125", "-v"}, 0, "PASS"},
		{[]string{"-url", url, "-run", "F10.ping-125", "-seed", "5"}, 0, "-seed 5"},
		{[]string{"-url", url, "-run", "F25.max-text", "-max-message", "0"}, 0, "skipped 1: needs -max-message"},
		{[]string{"-url", url, "-run", "F24"}, 0, "skipped 4: needs -text-url"},
		{[]string{"-url", url, "-run", "H8.chosen"}, 0, "skipped 5: needs -subprotocol"},
		{[]string{"-url", url, "-run", "D7"}, 0, "the server declines permessage-deflate"},
		{[]string{"-url", url, "-run", "H5.empty"}, 1, "expected: 400"},
	} {
		status, out, errs := runner(t, tc.args...)
		if status != tc.status || !strings.Contains(out+errs, tc.out) {
			t.Errorf("%v: status %d, want %d and %q: %s%s", tc.args, status, tc.status, tc.out, out, errs)
		}
	}
}

func TestInterrupt(t *testing.T) {
	seen := make(chan struct{}, 100)
	m := mini{head: func(c net.Conn, _ string) bool {
		seen <- struct{}{}
		_, _ = io.Copy(io.Discard, c)
		return false
	}}
	url := m.start(t)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-seen; cancel() }()
	var out, errs strings.Builder
	begin := time.Now()
	status := run(ctx, []string{"-url", url, "-run", "H1.get()", "-timeout", "1m"}, &out, &errs)
	if took := time.Since(begin); status != 130 || took > 10*time.Second || !strings.Contains(out.String(), "interrupted") {
		t.Errorf("status %d after %v: %s%s", status, took, &out, &errs)
	}
}

func TestSelector(t *testing.T) {
	for _, tc := range []struct {
		run, id string
		want    bool
	}{
		{"", "F2.x", true}, {"F2", "F2.x", true}, {"F2", "F20.x", false}, {"F2", "F26.x", false}, {"F", "F20.x", true}, {"F2.", "F2.x", true},
		{"F2.rsv", "F2.rsv2-text", true}, {"F2.rsv2", "F2.rsv2-text", true}, {"F2.rsv2", "F2.rsv24", false}, {"F2.rsv2-text", "F2.rsv2-text", true},
		{"f2", "F2.x", false}, {"2", "F2.x", false}, {"F2|F3", "F2.x", false}, {"F[23]\\..*", "F2.x", true}, {"F[23]\\..*", "F20.x", false},
		{".*-ping", "F4.len16-for-5-ping", true}, {".*ping", "F10.ping-5", false},
	} {
		match, err := selector(tc.run)
		if err != nil {
			t.Fatal(err)
		}
		if got := match(tc.id); got != tc.want {
			t.Errorf("-run %q selects %s: %v", tc.run, tc.id, got)
		}
	}
}

// TestRoutes covers the cases that need a route or a name to be told.
func TestRoutes(t *testing.T) {
	plain := mini{}
	textOnly := mini{frame: func(_ net.Conn, f clientFrame) []byte {
		if f.op == 2 {
			return serverFrame(8, []byte{3, 0xEB})
		}
		return answerFrame(nil, f)
	}}
	chooses := mini{head: func(c net.Conn, head string) bool {
		return upgradeWith(c, head, "Sec-WebSocket-Protocol: chat\r\n")
	}}
	for _, tc := range []struct {
		url, cases string
		args       []string
		verdict    string
	}{
		{plain.start(t), "F24.text-then-binary()", []string{"-text-url", plain.start(t)}, "FAIL"},
		{plain.start(t), "F24.binary()", []string{"-text-url", plain.start(t)}, "FAIL"},
		{chooses.start(t), "H8.chosen()", []string{"-subprotocol", "chat"}, "PASS"},
		{chooses.start(t), "H8.case()", []string{"-subprotocol", "chat"}, "FAIL"},
		{chooses.start(t), "H8.chosen()", []string{"-subprotocol", "other"}, "FAIL"},
		{plain.start(t), "H8.chosen()", []string{"-subprotocol", "chat"}, "FAIL"},
	} {
		_, rep := verdicts(t, tc.url, tc.cases, tc.args...)
		if rep.Cases[0].Verdict != tc.verdict {
			t.Errorf("%s %v: %+v, want %s", tc.cases, tc.args, rep.Cases[0], tc.verdict)
		}
	}
	// A server that goes on after its Close frame fails; one that ends passes.
	textOnly.frame = endAfterClose(textOnly.frame)
	if _, rep := verdicts(t, plain.start(t), "F24.binary()", "-text-url", textOnly.start(t)); rep.Cases[0].Verdict != "PASS" {
		t.Errorf("%+v", rep.Cases[0])
	}
}

// endAfterClose closes the connection behind a Close frame.
func endAfterClose(frame func(net.Conn, clientFrame) []byte) func(net.Conn, clientFrame) []byte {
	return func(c net.Conn, f clientFrame) []byte {
		out := frame(c, f)
		if len(out) > 0 && out[0] == 0x88 {
			_, _ = c.Write(out)
			_ = c.(*net.TCPConn).CloseWrite()
			return nil
		}
		return out
	}
}

// TestDeflate judges compression by servers that get it wrong.
func TestDeflate(t *testing.T) {
	const deflate = "Sec-WebSocket-Extensions: permessage-deflate"
	agree := func(params string) func(net.Conn, string) bool {
		return func(c net.Conn, head string) bool { return upgradeWith(c, head, deflate+params+"\r\n") }
	}
	// packedEcho sends messages back as they came, with RSV1.
	packedEcho := func(_ net.Conn, f clientFrame) []byte {
		out := answerFrame(nil, f)
		if f.op == 1 || f.op == 2 {
			out[0] |= 0x40
		}
		return out
	}
	rows := []struct {
		name    string
		server  mini
		id      string
		verdict string
	}{
		{"agrees", mini{head: agree(""), frame: packedEcho}, "D2.plain", "PASS"},
		{"takes what it must decline", mini{head: agree("")}, "D2.bad-unknown", "FAIL"},
		{"unknown parameter", mini{head: agree("; x")}, "D2.plain", "FAIL"},
		{"client bits not offered", mini{head: agree("; client_max_window_bits=15")}, "D5.not-offered", "FAIL"},
		{"client bits too many", mini{head: agree("; client_max_window_bits=12")}, "D5.bits-9", "FAIL"},
		{"server bits too many", mini{head: agree("; server_max_window_bits=15")}, "D4.bits-10", "FAIL"},
		{"server bits ignored", mini{head: agree("")}, "D4.bits-10", "FAIL"},
		{"context kept in silence", mini{head: agree("")}, "D3.server", "FAIL"},
		{"context kept against the agreement", mini{head: agree("; server_no_context_takeover"), frame: packedEcho}, "D3.server", "FAIL"},
		{"context given up", mini{head: agree("; server_no_context_takeover; client_no_context_takeover"), frame: packedEcho}, "D3.server", "PASS"},
		{"does not inflate", mini{head: agree("")}, "D7.text-5", "FAIL"},
		{"takes corrupt data", mini{head: agree(""), frame: packedEcho}, "D8.corrupt-block-type", "FAIL"},
		{"extension nobody offered", mini{head: agree("")}, "H10.none", "FAIL"},
		{"declines everything", mini{}, "D7.text-5", "SKIP"},
		{"declines a bad offer", mini{}, "D2.bad-unknown", "PASS"},
	}
	outcomes := make([]outcome, len(rows))
	together(len(rows), func(i int) { outcomes[i] = judgeMini(t, &rows[i].server, rows[i].id, "") })
	for i, tc := range rows {
		rep := outcomes[i].rep
		if rep == nil || rep.Cases[0].Verdict != tc.verdict {
			t.Errorf("%s: want %s: %s", tc.name, tc.verdict, outcomes[i].text)
		}
	}
}
