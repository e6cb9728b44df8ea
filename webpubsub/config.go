package webpubsub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"wsgateway/session"
	"wsgateway/target"
)

// Subprotocol is what a client has to offer in Sec-WebSocket-Protocol.
const Subprotocol = "json.webpubsub.azure.v1"

// DefaultPrefix is what Config.Prefix is by default.
const DefaultPrefix = "group:"

// MaxGroup is the longest name of a group in bytes, without the prefix.
const MaxGroup = 200

// maxPrefix leaves MaxGroup bytes of a channel's name to the group.
const maxPrefix = session.MaxChannelName - MaxGroup

// Config holds the settings of a Target. The zero value permits nothing to anybody.
type Config struct {
	// Authorize says who a client is and what it may do. An error refuses the handshake, see
	// Route.OnUpgrade of package session. Authorize must not block. It may change the Upgrade,
	// except for Subprotocol and Value. If it is nil, clients have no user id, and Open says what
	// they may do.
	Authorize func(*session.Upgrade) (Permissions, error)
	// Open permits everything to everybody. Open and Authorize exclude each other.
	Open bool
	// Hint is added to the text of every Forbidden. It says what to do about it. Default: no hint.
	Hint string
	// Prefix and the name of a group make the name of a channel. The prefix keeps clients away from
	// the other channels of the server. It is UTF-8 without control characters, and has at most
	// session.MaxChannelName less MaxGroup bytes. Default DefaultPrefix.
	Prefix string
}

// Target serves the clients of one route or of several, which then share their groups. It implements
// target.Target and session.Handler. Create it with New.
type Target struct {
	cfg       Config
	open      *Permissions // of clients without Authorize
	counts    counts
	forbidden string // what a Forbidden ends with
}

var _ target.Target = (*Target)(nil)

// New returns a Target, or an error that says what is wrong with cfg.
func New(cfg Config) (*Target, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if cfg.Open && cfg.Authorize != nil {
		return nil, errors.New("webpubsub: Config.Open and Authorize exclude each other")
	}
	if len(cfg.Prefix) > maxPrefix || !clean(cfg.Prefix) {
		return nil, fmt.Errorf("webpubsub: Config.Prefix is over %d bytes long, is not UTF-8, or has control characters", maxPrefix)
	}
	if !utf8.ValidString(cfg.Hint) {
		return nil, errors.New("webpubsub: Config.Hint is not UTF-8")
	}
	t := &Target{cfg: cfg, open: &Permissions{JoinAll: cfg.Open, SendAll: cfg.Open}}
	if cfg.Hint != "" {
		t.forbidden = ": " + cfg.Hint
	}
	return t, nil
}

// Routes implements target.Target. The target sets Handler, Subprotocols, OnUpgrade and Farewell. Only
// must stay zero: clients may send text and binary messages.
func (t *Target) Routes(path string) []session.Route {
	return []session.Route{{
		Path:         path,
		Mode:         session.NeverBlocks, // with an Authorize that keeps its promise
		Handler:      t,
		Subprotocols: []string{Subprotocol},
		OnUpgrade:    t.upgrade,
		Farewell:     farewell,
	}}
}

// Close implements target.Target. Nothing runs beside the calls of its handler.
func (*Target) Close(context.Context) error { return nil }

// farewell tells a client why it is about to be disconnected.
func farewell(_ session.Session, code session.StatusCode, reason string) []byte {
	if reason == "" {
		reason = code.Name()
	}
	return appendDisconnected(nil, reason)
}

var errSubprotocol = session.Refusal(http.StatusBadRequest, "this path speaks the subprotocol "+Subprotocol+" only: offer it in Sec-WebSocket-Protocol")

// upgrade decides about a handshake, and makes the client's state.
func (t *Target) upgrade(u *session.Upgrade) error {
	if u.Subprotocol != Subprotocol {
		return errSubprotocol
	}
	c := &client{may: t.open}
	if t.cfg.Authorize != nil {
		p, err := t.cfg.Authorize(u)
		if err != nil {
			return err
		}
		if len(p.UserID) > session.MaxChannelName || !clean(p.UserID) {
			return fmt.Errorf("webpubsub: Authorize returned a user id that is over %d bytes long, is not UTF-8, or has control characters", session.MaxChannelName)
		}
		c.may = &p
	}
	u.Subprotocol, u.Value = Subprotocol, c
	return nil
}

// clean reports whether s is UTF-8 without control characters: U+0000 to U+001F and U+007F to U+009F.
func clean(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
