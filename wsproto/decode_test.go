package wsproto_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"wsgateway/wsproto"
)

const (
	opCont, opText, opBin    = 0x0, 0x1, 0x2
	opClose, opPing, opPong  = 0x8, 0x9, 0xA
	hello                    = "message 1 \"Hello\"\n"
	long125                  = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
	fail1002, fail52, fail54 = "fail 1002 ", "fail 1002 5.2\n", "fail 1002 5.4\n"
)

// vectors are byte streams of a client and what has to become of them. A valid
// message behind each failure must not be delivered.
var vectors = []struct {
	name string
	in   []byte
	want string
}{
	// The examples of RFC 6455 §5.7, as a client sends them.
	{"RFC6455/5.7/masked_text", []byte{0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58}, hello},
	{"RFC6455/5.7/fragmented_text", cat(frame(opText, "Hel"), frame(fin|opCont, "lo")), hello},
	{"RFC6455/5.7/ping", frame(fin|opPing, "Hello"), "ping \"Hello\"\n"},
	{"RFC6455/5.7/pong", frame(fin|opPong, "Hello"), "pong \"Hello\"\n"},
	{"RFC6455/5.7/binary_256", frame(fin|opBin, strings.Repeat("x", 256)), "message 2 " + quote([]byte(strings.Repeat("x", 256))) + "\n"},
	{"RFC6455/5.7/binary_64KiB", frame(fin|opBin, strings.Repeat("y", 65536)), "message 2 " + quote([]byte(strings.Repeat("y", 65536))) + "\n"},

	{"RFC6455/5.1/unmasked", []byte{0x81, 0x05, 'H', 'e', 'l', 'l', 'o'}, "fail 1002 5.1\n"},
	{"RFC6455/5.1/unmasked_empty", []byte{0x81, 0x00}, "fail 1002 5.1\n"},
	{"RFC6455/5.1/unmasked_ping", []byte{0x89, 0x00}, "fail 1002 5.1\n"},

	{"RFC6455/5.2/rsv1", frame(fin|rsv1|opText, "Hello"), fail52},
	{"RFC6455/5.2/rsv2", frame(fin|rsv2|opText, "Hello"), fail52},
	{"RFC6455/5.2/rsv3", frame(fin|rsv3|opBin, "Hello"), fail52},
	{"RFC6455/5.2/rsv_on_ping", frame(fin|rsv1|opPing, ""), fail52},
	{"RFC6455/5.2/rsv_on_continuation", cat(frame(opText, "a"), frame(fin|rsv1|opCont, "b")), fail52},
	{"RFC6455/5.2/reserved_data_opcode", frame(fin|0x3, ""), fail52},
	{"RFC6455/5.2/reserved_control_opcode", frame(fin|0xB, ""), fail52},
	{"RFC6455/5.2/reserved_opcode_inside_message", cat(frame(opText, "a"), frame(fin|0x5, "")), fail52},
	{"RFC6455/5.2/length_16_not_minimal", []byte{0x82, 0xFE, 0, 125}, fail52},
	{"RFC6455/5.2/length_16_zero", []byte{0x82, 0xFE, 0, 0}, fail52},
	{"RFC6455/5.2/length_64_not_minimal", []byte{0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF}, fail52},
	{"RFC6455/5.2/length_64_zero", []byte{0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0}, fail52},
	{"RFC6455/5.2/length_64_top_bit", []byte{0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0}, fail52},

	{"RFC6455/5.4/continuation_without_message", frame(fin|opCont, "x"), fail54},
	{"RFC6455/5.4/continuation_after_message", cat(frame(fin|opText, "Hello"), frame(fin|opCont, "x")), hello + fail54},
	{"RFC6455/5.4/continuation_after_fragmented_message", cat(frame(opText, "Hel"), frame(fin|opCont, "lo"), frame(opCont, "x")), hello + fail54},
	{"RFC6455/5.4/text_inside_message", cat(frame(opText, "a"), frame(fin|opText, "b")), fail54},
	{"RFC6455/5.4/binary_inside_message", cat(frame(opText, "a"), frame(opBin, "b")), fail54},
	{"RFC6455/5.4/fragmented_control_frame", frame(opPing, "x"), "fail 1002 5.5\n"},
	{"RFC6455/5.4/control_between_fragments", cat(frame(opText, "Hel"), frame(fin|opPing, "p"), frame(opCont, ""), frame(fin|opPong, long125[:125]), frame(fin|opCont, "lo")),
		"ping \"p\"\npong \"" + long125[:125] + "\"\n" + hello},
	{"RFC6455/5.4/close_between_fragments", cat(frame(opText, "Hel"), frame(fin|opClose, closePayload(1000, "")), frame(fin|opCont, "lo")), "close 1000 \"\"\n"},
	{"RFC6455/5.4/empty_message", frame(fin|opText, ""), "message 1 \"\"\n"},
	{"RFC6455/5.4/empty_binary", frame(fin|opBin, ""), "message 2 \"\"\n"},
	{"RFC6455/5.4/empty_fragments", cat(frame(opText, ""), frame(opCont, ""), frame(fin|opCont, "")), "message 1 \"\"\n"},
	{"RFC6455/5.4/empty_first_fragment", cat(frame(opText, ""), frame(fin|opCont, "Hello")), hello},
	{"RFC6455/5.4/empty_final_fragment", cat(frame(opText, "Hello"), frame(fin|opCont, "")), hello},
	{"RFC6455/5.4/byte_fragments", cat(frame(opText, "H"), frame(opCont, "e"), frame(opCont, "l"), frame(opCont, "l"), frame(fin|opCont, "o")), hello},
	{"RFC6455/5.4/several_messages", cat(frame(fin|opText, "a"), frame(opBin, "b"), frame(fin|opCont, "c"), frame(fin|opText, "d"), frame(opText, "e"), frame(fin|opCont, "f")),
		"message 1 \"a\"\nmessage 2 \"bc\"\nmessage 1 \"d\"\nmessage 1 \"ef\"\n"},

	{"RFC6455/5.5/control_126_bytes", frame(fin|opPing, long125[:126]), "fail 1002 5.5\n"},
	{"RFC6455/5.5/control_length_64", []byte{0x89, 0xFF}, "fail 1002 5.5\n"},
	{"RFC6455/5.5/close_126_bytes", frame(fin|opClose, closePayload(1000, long125[:124])), "fail 1002 5.5\n"},
	{"RFC6455/5.5/control_not_final", []byte{0x09}, "fail 1002 5.5\n"},
	{"RFC6455/5.5.2/ping_empty", frame(fin|opPing, ""), "ping \"\"\n"},
	{"RFC6455/5.5.2/ping_1", frame(fin|opPing, "\x00"), "ping \"\\x00\"\n"},
	{"RFC6455/5.5.2/ping_125", frame(fin|opPing, long125[:125]), "ping \"" + long125[:125] + "\"\n"},
	{"RFC6455/5.5.2/ping_not_utf8", frame(fin|opPing, "\xFF\xFE"), "ping \"\\xff\\xfe\"\n"},
	{"RFC6455/5.5.2/two_pings", cat(frame(fin|opPing, "long one"), frame(fin|opPing, "b")), "ping \"long one\"\nping \"b\"\n"},
	{"RFC6455/5.5.3/unsolicited_pong", frame(fin|opPong, "x"), "pong \"x\"\n"},

	{"RFC6455/5.5.1/empty", frame(fin|opClose, ""), "close 1005 \"\"\n"},
	{"RFC6455/5.5.1/code_only", frame(fin|opClose, closePayload(1001, "")), "close 1001 \"\"\n"},
	{"RFC6455/5.5.1/reason", frame(fin|opClose, closePayload(1000, "bye ✓")), "close 1000 \"bye ✓\"\n"},
	{"RFC6455/5.5.1/reason_123_bytes", frame(fin|opClose, closePayload(4000, long125[:123])), "close 4000 \"" + long125[:123] + "\"\n"},
	{"RFC6455/5.5.1/one_byte", frame(fin|opClose, "\x03"), "fail 1002 5.5.1\n"},
	{"RFC6455/5.5.1/reason_not_utf8", frame(fin|opClose, closePayload(1000, "\xC3\x28")), "fail 1007 5.5.1\n"},
	{"RFC6455/5.5.1/reason_cut_code_point", frame(fin|opClose, closePayload(1000, "\xE2\x9C")), "fail 1007 5.5.1\n"},
	{"RFC6455/5.5.1/data_after_close", cat(frame(fin|opClose, closePayload(1000, "")), frame(fin|opText, "x"), frame(fin|opClose, "")), "close 1000 \"\"\n"},
	{"RFC6455/7.4.1/code_1005", frame(fin|opClose, closePayload(1005, "")), "fail 1002 7.4\n"},
	{"RFC6455/7.4.2/code_0", frame(fin|opClose, closePayload(0, "")), "fail 1002 7.4\n"},
	{"RFC6455/7.4.2/code_and_reason_both_bad", frame(fin|opClose, closePayload(999, "\xFF")), "fail 1002 7.4\n"},

	{"RFC6455/8.1/text", frame(fin|opText, "κόσμε"), "message 1 \"κόσμε\"\n"},
	{"RFC6455/8.1/code_point_over_fragments", cat(frame(opText, "a\xF0"), frame(opCont, "\x9F\x92"), frame(opCont, ""), frame(fin|opCont, "\xA9b")), "message 1 \"a💩b\"\n"},
	{"RFC6455/8.1/code_point_over_ping", cat(frame(opText, "\xE2\x9C"), frame(fin|opPing, "\xFF"), frame(fin|opCont, "\x93")), "ping \"\\xff\"\nmessage 1 \"✓\"\n"},
	{"RFC6455/8.1/binary_is_not_judged", frame(fin|opBin, "\xFF\xC0"), "message 2 \"\\xff\\xc0\"\n"},
	{"RFC6455/8.1/fragmented_binary_is_not_judged", cat(frame(opBin, "\xFF"), frame(fin|opCont, "\xC0")), "message 2 \"\\xff\\xc0\"\n"},
	{"RFC6455/8.1/overlong", frame(fin|opText, "\xC0\x80"), "fail 1007 8.1\n"},
	{"RFC6455/8.1/surrogate", frame(fin|opText, "\xED\xA0\x80"), "fail 1007 8.1\n"},
	{"RFC6455/8.1/above_10FFFF", frame(fin|opText, "\xF4\x90\x80\x80"), "fail 1007 8.1\n"},
	{"RFC6455/8.1/cut_at_end", frame(fin|opText, "ab\xE2\x9C"), "fail 1007 8.1\n"},
	{"RFC6455/8.1/cut_at_end_of_fragments", cat(frame(opText, "ab\xE2"), frame(fin|opCont, "\x9C")), "fail 1007 8.1\n"},
	{"RFC6455/8.1/cut_at_empty_final_fragment", cat(frame(opText, "ab\xE2"), frame(fin|opCont, "")), "fail 1007 8.1\n"},
	{"RFC6455/8.1/lone_continuation_in_fragment", cat(frame(opText, ""), frame(fin|opCont, "\x80")), "fail 1007 8.1\n"},
	{"RFC6455/8.1/state_ends_with_the_message", cat(frame(opText, "\xC3"), frame(fin|opCont, "\xA9"), frame(opText, "é"), frame(fin|opCont, "")), "message 1 \"é\"\nmessage 1 \"é\"\n"},

	{"RFC6455/7.1.7/close_after_failure", cat([]byte{0x81, 0x00}, frame(fin|opClose, "")), "fail 1002 5.1\n"},
}

func TestDecode(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			checkTrace(t, v.in, defaultLimits, v.want)
			if strings.Contains(v.want, "fail") || strings.Contains(v.want, "close") {
				checkTrace(t, cat(v.in, frame(fin|opText, "more")), defaultLimits, v.want)
			} else {
				checkTrace(t, cat(v.in, frame(fin|opText, "more")), defaultLimits, v.want+"message 1 \"more\"\n")
			}
		})
	}
}

// Every first two octets of a frame, at rest and inside a message, against the
// rules written down anew and against those of gobwas/ws.
func TestTwoByteHeaders(t *testing.T) {
	for _, inside := range []bool{false, true} {
		for h := range 1 << 16 {
			b0, b1 := byte(h>>8), byte(h)
			op, n := b0&0xF, b1&0x7F
			control := op >= 8
			good := b0&0x70 == 0 && b1&0x80 != 0
			switch op {
			case opCont:
				good = good && inside
			case opText, opBin:
				good = good && !inside
			case opClose, opPing, opPong:
				good = good && b0&fin != 0 && n <= 125
			default:
				good = false
			}
			var d wsproto.Decoder
			bufs := newBuffers(t)
			if inside {
				if _, _, err := d.Next(frame(opBin, ""), &defaultLimits, bufs); err != nil {
					t.Fatal(err)
				}
			}
			ev, _, err := d.Next([]byte{b0, b1}, &defaultLimits, bufs)
			if (err == nil) != good || ev.Kind != wsproto.NeedMore {
				t.Fatalf("%08b %08b inside=%v: %v", b0, b1, inside, err)
			}
			var pe *wsproto.ProtocolError
			if err != nil && (!errors.As(err, &pe) || pe.Code != wsproto.StatusProtocolError) {
				t.Fatalf("%08b %08b inside=%v: %v", b0, b1, inside, err)
			}
			state := ws.StateServerSide
			if inside {
				state |= ws.StateFragmented
			}
			theirs := ws.CheckHeader(ws.Header{
				Fin: b0&fin != 0, Rsv: b0 & 0x70 >> 4, OpCode: ws.OpCode(op), Masked: b1&0x80 != 0, Length: int64(n),
			}, state)
			if (theirs == nil) != good && !(control && n > 125) {
				t.Fatalf("%08b %08b inside=%v: ours %v, theirs %v", b0, b1, inside, err, theirs)
			}
		}
	}
}

// A header is judged by the octets there are, before the next one comes.
func TestEarlyJudgement(t *testing.T) {
	for _, c := range []struct {
		name  string
		in    []byte
		octet int // the one that decides, from 1
	}{
		{"RFC6455/5.2/reserved_bit", frame(fin|rsv2|opText, "x"), 1},
		{"RFC6455/5.2/reserved_opcode", frame(fin|0xC, "x"), 1},
		{"RFC6455/5.4/continuation", frame(fin|opCont, "x"), 1},
		{"RFC6455/5.5/fragmented_control", frame(opPing, "x"), 1},
		{"RFC6455/5.5/long_control", frame(fin|opPing, long125[:126]), 2},
		{"RFC6455/5.1/unmasked", []byte{0x82, 0x7F}, 2},
		{"RFC6455/5.2/length_16", []byte{0x82, 0xFE, 0, 0x7D, 1, 2, 3, 4}, 4},
		{"RFC6455/5.2/length_64", []byte{0x82, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, 10},
		{"RFC6455/10.4/too_big", head(fin|opBin, 1<<20+1), 10},
		{"RFC6455/8.1/second_octet", frame(fin|opText, "ab\xE0\x80xxxxxx"), 6 + 4},
		{"RFC6455/8.1/fourth_octet", frame(opText, "\xF4\x8F\xBF\x7Fxxxxxx"), 6 + 4},
		{"RFC6455/8.1/first_octet", frame(opText, "\xF5xxxxxx"), 6 + 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d wsproto.Decoder
			bufs := newBuffers(t)
			for i := range c.in {
				_, _, err := d.Next([]byte{c.in[i]}, &defaultLimits, bufs)
				if (err != nil) != (i+1 == c.octet) {
					t.Fatalf("octet %d: %v", i+1, err)
				}
				if err != nil {
					break
				}
			}
			// The same in one call that ends with the octet that decides.
			d.Release(bufs)
			if _, _, err := d.Next(c.in[:c.octet], &defaultLimits, bufs); err == nil {
				t.Error("not refused as a whole")
			}
		})
	}
}

func TestDecoderStates(t *testing.T) {
	var d wsproto.Decoder
	bufs := newBuffers(t)
	step := func(in []byte, kind wsproto.Kind, rest, frame, message bool) {
		t.Helper()
		ev, _, err := d.Next(in, &defaultLimits, bufs)
		if err != nil || ev.Kind != kind {
			t.Fatalf("kind %d, error %v", ev.Kind, err)
		}
		if d.AtRest() != rest || d.MidFrame() != frame || d.MidMessage() != message {
			t.Fatalf("rest %v, frame %v, message %v", d.AtRest(), d.MidFrame(), d.MidMessage())
		}
	}
	whole := frame(fin|opText, "whole")
	step(nil, wsproto.NeedMore, true, false, false)
	step(whole, wsproto.Message, true, false, false)
	step(frame(fin|opText, "whole")[:1], wsproto.NeedMore, false, true, false)
	step(frame(fin|opText, "whole")[1:8], wsproto.NeedMore, false, true, true)
	step(frame(fin|opText, "whole")[8:], wsproto.Message, false, false, false)
	if d.Held() == 0 {
		t.Error("the payload of the event is gone")
	}
	step(nil, wsproto.NeedMore, true, false, false)
	step(frame(opText, "a"), wsproto.NeedMore, false, false, true)
	step(frame(fin|opPing, "ping")[:3], wsproto.NeedMore, false, true, true)
	step(frame(fin|opPing, "ping")[3:], wsproto.Ping, false, false, true)
	step(frame(fin|opCont, "b"), wsproto.Message, false, false, false)
	step(frame(fin|opText, "next"), wsproto.Message, true, false, false)
	step(frame(fin|opClose, ""), wsproto.Close, false, false, false)
	step(frame(fin|opText, "late"), wsproto.NeedMore, false, false, false)
	if len(bufs.live) > 0 {
		t.Errorf("%d buffers lent", len(bufs.live))
	}
}

// The payload of a frame that lies complete in the input is a view of it.
func TestZeroCopy(t *testing.T) {
	for _, first := range [][]byte{nil, frame(opText, "")} {
		var d wsproto.Decoder
		in := cat(first, frame(fin|opCont, "payload"))
		if first == nil {
			in = frame(fin|opText, "payload")
		}
		ev, n, err := d.Next(in, &defaultLimits, nil) // nil: no buffer may be asked for
		if err != nil || n != len(in) || string(ev.Payload) != "payload" {
			t.Fatalf("%q, %d, %v", ev.Payload, n, err)
		}
		if &ev.Payload[0] != &in[len(in)-7] {
			t.Error("payload was copied")
		}
		if cap(ev.Payload) != len(ev.Payload) {
			t.Error("appending to the payload would overwrite the input")
		}
	}
}

func TestBudgetRefused(t *testing.T) {
	in := cat(frame(opBin, strings.Repeat("a", 500)), frame(opCont, strings.Repeat("b", 500)), frame(fin|opText, "x"))
	for name, chunks := range splits(in, 3, newRand(t)) {
		var d wsproto.Decoder
		bufs := newBuffers(t)
		bufs.refuse = 600
		var failed error
		for _, c := range chunks {
			for {
				ev, n, err := d.Next(c, &defaultLimits, bufs)
				if ev.Kind != wsproto.NeedMore {
					t.Fatalf("%s: event %v", name, ev)
				}
				if err != nil && failed != nil {
					t.Fatalf("%s: second error %v", name, err)
				}
				if err != nil {
					failed = err
				}
				if c = c[n:]; len(c) == 0 {
					break
				}
			}
		}
		if failed != errBudget {
			t.Errorf("%s: %v is not the error of Grow", name, failed)
		}
		if len(bufs.live) > 0 || d.AtRest() {
			t.Errorf("%s: %d buffers lent, at rest %v", name, len(bufs.live), d.AtRest())
		}
	}
}

// handsBack frees the buffer itself when it refuses.
type handsBack struct{ *buffers }

func (m handsBack) Grow(b []byte, n int) ([]byte, error) {
	nb, err := m.buffers.Grow(b, n)
	if err != nil && b != nil {
		m.Free(b)
		nb = nil
	}
	return nb, err
}

func TestBudgetRefusedByFreeing(t *testing.T) {
	var d wsproto.Decoder
	bufs := newBuffers(t)
	bufs.refuse = 100
	if _, _, err := d.Next(frame(opBin, strings.Repeat("a", 90)), &defaultLimits, handsBack{bufs}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Next(frame(opCont, strings.Repeat("a", 90)), &defaultLimits, handsBack{bufs}); err != errBudget {
		t.Fatal(err)
	}
	if d.Release(handsBack{bufs}); len(bufs.live) > 0 {
		t.Errorf("%d buffers lent", len(bufs.live))
	}
}
