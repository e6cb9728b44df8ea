package wsproto_test

import (
	"encoding/json"
	"testing"

	"wsgateway/wsproto"
)

func TestOpcodeNames(t *testing.T) {
	for op, want := range map[wsproto.Opcode]string{
		wsproto.OpContinuation: "continuation",
		wsproto.OpText:         "text",
		wsproto.OpBinary:       "binary",
		wsproto.OpClose:        "close",
		wsproto.OpPing:         "ping",
		wsproto.OpPong:         "pong",
		3:                      "0x3",
		0xF:                    "0xf",
		0x10:                   "0x10",
	} {
		if got := op.String(); got != want {
			t.Errorf("String of opcode %d is %q, want %q", uint8(op), got, want)
		}
		text, err := json.Marshal(op)
		if err != nil || string(text) != `"`+want+`"` {
			t.Errorf("opcode %d in JSON is %s (%v), want %q", uint8(op), text, err, want)
		}
	}
}

func TestOpcodeKinds(t *testing.T) {
	for op := range wsproto.Opcode(16) {
		defined := op <= wsproto.OpBinary || wsproto.OpClose <= op && op <= wsproto.OpPong
		if op.IsReserved() == defined {
			t.Errorf("IsReserved of %v is %v, want %v (RFC 6455 §11.8)", op, op.IsReserved(), !defined)
		}
		if data := op == wsproto.OpText || op == wsproto.OpBinary; op.IsData() != data {
			t.Errorf("IsData of %v is %v, want %v", op, op.IsData(), data)
		}
		if control := op >= 8; op.IsControl() != control {
			t.Errorf("IsControl of %v is %v, want %v", op, op.IsControl(), control)
		}
	}
}
