// Package echo is the target that sends every message back.
package echo

import (
	"context"

	"wsgateway/session"
	"wsgateway/target"
)

// Target sends every message back to its sender. The zero value is ready. It is both a
// target.Target and a session.Handler.
type Target struct{}

var _ target.Target = Target{}

// Routes implements target.Target.
func (t Target) Routes(path string) []session.Route {
	return []session.Route{{Path: path, Handler: t, Mode: session.OnLoop}}
}

// Counters implements target.Target: there are none beside the server's own.
func (Target) Counters() []target.Counter { return nil }

// Close implements target.Target.
func (Target) Close(context.Context) error { return nil }

// OnOpen implements session.Handler.
func (Target) OnOpen(session.Session, *session.Request) {}

// OnMessage implements session.Handler. It never blocks.
func (Target) OnMessage(s session.Session, m session.Message) {
	_ = s.Send(m.Opcode, m.Data) // a session that cannot be sent to ends by itself
}

// OnClose implements session.Handler.
func (Target) OnClose(session.Session, session.CloseInfo) {}
