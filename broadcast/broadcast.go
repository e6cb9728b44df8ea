// Package broadcast is the target that sends every message to all clients of its routes.
package broadcast

import (
	"context"
	"errors"
	"fmt"

	"wsgateway/session"
	"wsgateway/target"
)

// Target sends every message to all sessions of its routes, the sender included. The message is
// encoded once. The messages of one sender reach every receiver in their order. A client that does
// not read fast enough is closed and delays nobody, see session.Route.Outbound.
//
// Its sessions are members of one channel of package session: session.Server.Publish sends to all
// of them, session.Server.Members lists them. Create a Target with New. It implements session.Handler.
type Target struct{ channel string }

var _ target.Target = (*Target)(nil)

// New returns a Target whose sessions join a channel. Targets with the same channel share it, so
// each Target usually has a channel of its own. The channel counts as one of
// session.Config.SessionChannels.
//
// Errors: session.ErrChannelName.
func New(channel string) (*Target, error) {
	if !session.ValidChannelName(channel) {
		return nil, fmt.Errorf("broadcast: channel %.300q: %w", channel, session.ErrChannelName)
	}
	return &Target{channel}, nil
}

// Routes implements target.Target. Its calls never block.
func (t *Target) Routes(path string) []session.Route {
	return []session.Route{{Path: path, Handler: t, Mode: session.NeverBlocks}}
}

// Counters implements target.Target: there are none beside the server's own.
func (*Target) Counters() []target.Counter { return nil }

// Close implements target.Target.
func (*Target) Close(context.Context) error { return nil }

// OnOpen implements session.Handler.
func (t *Target) OnOpen(s session.Session, _ *session.Request) {
	_ = s.Join(t.channel) // fails for a session that has ended
}

// OnMessage implements session.Handler. A message that finds too many publications waiting reaches
// nobody. Its sender is closed with 1013, because nothing else would tell it. A message that comes while
// the server shuts down reaches nobody either: its sender gets 1001 as all others do.
func (t *Target) OnMessage(s session.Session, m session.Message) {
	_, err := s.Server().Publish(t.channel, session.Prepare(m.Opcode, m.Data))
	if errors.Is(err, session.ErrBusy) {
		_ = s.Close(session.StatusTryAgainLater, "too many messages")
	}
}

// OnClose implements session.Handler.
func (*Target) OnClose(session.Session, session.CloseInfo) {}
