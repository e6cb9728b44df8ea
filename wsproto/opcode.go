package wsproto

import (
	"fmt"

	"github.com/gobwas/ws"
)

// Opcode says what a frame carries (RFC 6455 §5.2).
type Opcode uint8

// The opcodes that RFC 6455 §11.8 defines. 3 to 7 and 0xB to 0xF are reserved.
const (
	OpContinuation = Opcode(ws.OpContinuation)
	OpText         = Opcode(ws.OpText)
	OpBinary       = Opcode(ws.OpBinary)
	OpClose        = Opcode(ws.OpClose)
	OpPing         = Opcode(ws.OpPing)
	OpPong         = Opcode(ws.OpPong)
)

var opcodeNames = [16]string{
	OpContinuation: "continuation",
	OpText:         "text",
	OpBinary:       "binary",
	OpClose:        "close",
	OpPing:         "ping",
	OpPong:         "pong",
}

// String returns the name that RFC 6455 gives the opcode, as "text", or its number in hexadecimal
// if it is a reserved one.
func (o Opcode) String() string {
	if int(o) < len(opcodeNames) && opcodeNames[o] != "" {
		return opcodeNames[o]
	}
	return fmt.Sprintf("%#x", uint8(o))
}

// MarshalText implements encoding.TextMarshaler: logs and JSON show the name.
func (o Opcode) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// IsData reports whether frames with this opcode begin a data message (RFC 6455 §5.6).
func (o Opcode) IsData() bool { return o == OpText || o == OpBinary }

// IsControl reports whether o stands for a control frame (RFC 6455 §5.5), the reserved ones
// included.
func (o Opcode) IsControl() bool { return o&0x8 != 0 }

// IsReserved reports whether RFC 6455 gives o no meaning: a frame with it fails the connection
// (§5.2).
func (o Opcode) IsReserved() bool { return int(o) >= len(opcodeNames) || opcodeNames[o] == "" }
