package session

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"runtime"
	"time"

	"wsgateway/wsproto"
)

// Config holds the settings of a Server. The zero value of a field means its default;
// negative values are refused.
type Config struct {
	// Routes says which handler serves which path. At least one is required.
	Routes []Route

	// Reactor holds the settings of the reactor. The server itself sets Logger, NewLocal and
	// HandlerTimeout. WriteStall is by default PingInterval and PingTimeout together.
	Reactor ReactorConfig

	// Head bounds the head of a request. A zero field means its default, as in
	// wsproto.DefaultHeadLimits: 16 KiB, a target of 8 KiB, 100 fields.
	Head HeadLimits

	HandshakeTimeout time.Duration // from accept to the answer, an OnUpgrade that blocks included; default 5 s
	// StallTimeout is for how long a client may pause inside a message. A longer pause closes its
	// session with 1008. Default: PingInterval and PingTimeout together, because an idle client may
	// be silent for so long too. When InboundBytes are nearly used up, the time becomes shorter,
	// down to a sixteenth. A client that exceeds the shorter time is closed with 1013.
	StallTimeout time.Duration
	// MinRate is how many bytes a second a client has to send on average while it sends a message.
	// Each message has twice StallTimeout on top of that. Default 1024.
	MinRate int

	PingInterval time.Duration // silence after which a client is pinged, ±10 % per client; default DefaultPingInterval
	PingTimeout  time.Duration // silence after the ping that shows the client to be dead; default DefaultPingTimeout

	InboundBytes int64 // memory for incomplete messages of all clients; default 256 MiB

	// A client may send ControlRate pings and pongs a second in the long run, and ControlBurst of
	// them at once. Beyond that it is not read from until it is within its rate again. A client
	// that is beyond its rate for ControlPatience, without a break of a second, is closed with
	// 1008. Default 10, 200 and 10 s. Pongs to the pings of a handler (Session.SendPing) count too.
	// If handlers ping more often, raise the rate.
	ControlRate, ControlBurst int
	ControlPatience           time.Duration
	// FragmentRate is how many fragments of under wsproto.TinyFragment bytes a client may send a
	// second in the long run. At once it may send those of a second, or of two messages. A client
	// that sends more is closed with 1008. Default 10,000.
	FragmentRate int

	SessionChannels int // channels that one session may be in; Join and Leave look at each of them; default 128
	// Publications and PublicationBytes bound the publications to large channels that have not been
	// sent to all members yet. Default 4096, and 64 MiB.
	Publications     int
	PublicationBytes int64

	// BlockingCalls is how many calls that may block (Route.Mode, Route.UpgradeMode) run at the same
	// time for each route, unless Route.BlockingCalls says otherwise. Default 256.
	BlockingCalls int
	// HandlerTimeout is how long Close waits for calls of handlers to return. Default 10 s.
	HandlerTimeout time.Duration

	Deflate Deflate

	// OnMembership is called with the members that joined and left a channel. One goroutine makes
	// all calls: for each channel at most one in MembershipInterval (default 1 s), and one when the
	// server ends. OnMembership may block; changes are gathered meanwhile. It must not call Close
	// or Shutdown.
	OnMembership       func(MembershipChange)
	MembershipInterval time.Duration
	// OnFail is called for each handshake that did not lead to a session, and for each plain
	// request that was not answered with success. It must not block.
	OnFail func(Failure)

	// Logger is for what goes wrong inside the server. Its handler is called where it happens, on loops
	// and workers too, and must not block. Default slog.Default().
	Logger *slog.Logger
	// AccessLog gets a line for every handshake and every end of a session; nil for none. Its
	// handler must not block.
	AccessLog *slog.Logger
}

// Deflate bounds what compression (permessage-deflate, RFC 7692) costs. It is on where
// Route.Deflate says so.
type Deflate struct {
	// Sessions is how many open sessions may use compression. Further clients are served without
	// it. Default 10,000.
	Sessions int
	// Compressors is how many messages may be compressed at the same time. Each takes
	// 0.8 to 1.4 MB once it has been used. While all are in use, messages are sent uncompressed.
	// Default GOMAXPROCS.
	Compressors int
	// Level is the level of DEFLATE, from 1 (fastest) to 9 (smallest result). Default 1.
	Level int
}

// Route maps a path to a handler.
type Route struct {
	// Path is a pattern, with the syntax and the precedence of http.ServeMux:
	//
	//	/chat              this path
	//	/room/{id}         one segment; see Session.PathValue
	//	/files/{rest...}   the rest of the path, slashes included
	//	/files/            /files/ and all paths below it; "/" is every path
	//	/files/{$}         /files/ alone
	//	example.com/chat   on this host only, whatever the port; takes precedence over /chat
	//	GET /page          GET and HEAD only; other methods get 405, without a call of HTTP
	//
	// The most specific pattern wins. Escapes in a path are decoded before it is compared. Nothing
	// is redirected, because WebSocket clients do not follow redirects: a path with "//" or "/../"
	// gets 404, and so does /files where there is only /files/. Host names are compared in lower
	// case, and an IPv6 address stands in brackets. GET is the only method that a pattern may name.
	// Without it HTTP gets requests with any method.
	//
	// These patterns are errors: one that can never match, one that is given twice, and one that
	// conflicts with another.
	Path    string
	Handler Handler // nil for a route with HTTP only: a request for WebSocket gets 404
	// Mode says whether the handler's calls may block, and hence where they run. By default they may
	// (MayBlock). UpgradeMode says the same of OnUpgrade and HTTP. By default it follows Mode.
	Mode        Mode
	UpgradeMode UpgradeMode
	// BlockingCalls is how many calls of this route that may block run at the same time, each in a
	// goroutine of the route's own pool. Further ones wait. Default Config.BlockingCalls.
	BlockingCalls int

	Subprotocols []string // spoken here, in order of preference

	// Retain names the request header fields that Session.Header returns. They are kept for as long
	// as the session lives, and take memory for it. RetainQuery keeps the query.
	Retain      []string
	RetainQuery bool

	// Origins lists the origins of web pages that may connect (RFC 6455 §10.2). Others are refused
	// with 403. An element is an exact origin, such as "https://example.com:8443". The port is left
	// out if it is the default of the scheme. "*" admits all origins. "" admits clients that send
	// no Origin; browsers always send one. Nil admits everybody.
	//
	// "file://" admits pages that are read from files, as in apps built with Cordova. "null" admits
	// every page with an opaque origin. Any site can make one in a sandboxed frame, so "null" does
	// not tell your pages from others.
	Origins []string

	// Header is added to the answer of every accepted handshake.
	Header []Field
	// OnUpgrade, if not nil, decides about a correct handshake before it is answered. An error
	// refuses the handshake: a *RequestError with its status, the error of Upgrade.Respond with
	// that response, and any other error with 500. UpgradeMode says whether OnUpgrade may block.
	OnUpgrade func(*Upgrade) error
	// HTTP answers requests that do not ask for WebSocket, with any method. Requests with a body
	// are refused with 400. UpgradeMode says whether HTTP may block. The request is valid until
	// HTTP returns. The response's body may be shared. A nil response is sent as 404. If HTTP is
	// nil, these requests get 426.
	HTTP func(*Request) *Response

	// Deflate offers compression to clients that ask for it, in both directions, message by
	// message. Sessions that compress are never served on an event loop. Do not let a client choose
	// text that is compressed together with a secret: the size of the result reveals something
	// about the secret (CRIME, BREACH).
	Deflate bool
	// DeflateThreshold is the size in bytes below which messages are sent uncompressed. Default
	// 512.
	DeflateThreshold int

	Rate Rate // bounds what a client may send; default: no bound

	// Outbound says what happens if a client reads more slowly than it is sent to, and its queue is
	// full (Config.Reactor.QueueBytes, QueueMessages). CloseSlow, the default, closes the session.
	// DropOldest, DropNewest and KeepLatest drop data messages. A client that reads nothing for
	// Reactor.WriteStall is closed in any case.
	Outbound Policy
	// SlowCode is the status code with which a slow client's session is closed. Default 1013 (try
	// again later); 1008 (policy violation) is another choice.
	SlowCode StatusCode
	// Farewell, if not nil, returns the text of a last message, which is sent before the Close
	// frame with this code and reason. It is called when Session.Close, Server.Shutdown or the
	// panic of a handler ends the session. It is not called when the client breaks a rule, is too
	// slow or is gone. Nil means no message. Text that is not UTF-8, or does not fit into the
	// queue, is not sent. The goroutine that closes calls it, perhaps while a callback of the
	// session runs. It must not block. The bytes are copied. What other goroutines send at that
	// moment may come after it.
	Farewell func(s Session, code StatusCode, reason string) []byte

	Only         Opcode // OpText or OpBinary: the other is refused with 1003; zero takes both
	MaxMessage   int64  // bytes of one message, decompressed; default 1 MiB
	MaxFragments int    // frames of one message; default 1024
}

// The defaults of Config.PingInterval and Config.PingTimeout.
const (
	DefaultPingInterval = 27 * time.Second
	DefaultPingTimeout  = 20 * time.Second
)

// MaxSubprotocols bounds Route.Subprotocols.
const MaxSubprotocols = 255

const (
	maxPublications = 1 << 20
	maxCompressors  = 1 << 12

	// What is larger is cut to this: it means that there is no bound.
	maxCount    = 1 << 30
	maxDuration = 1 << 30 * time.Millisecond // 12 days; the gateway's time has 32 bits, see netpoll.Since
)

func (c Config) withDefaults() (Config, error) {
	var err error
	duration := func(name string, v *time.Duration, d time.Duration) {
		if *v < 0 && err == nil {
			err = fmt.Errorf("session: Config.%s is negative", name)
		}
		*v = min(*v, maxDuration)
		if *v == 0 {
			*v = d
		}
	}
	duration("HandshakeTimeout", &c.HandshakeTimeout, 5*time.Second)
	duration("PingInterval", &c.PingInterval, DefaultPingInterval)
	duration("PingTimeout", &c.PingTimeout, DefaultPingTimeout)
	duration("StallTimeout", &c.StallTimeout, min(c.PingInterval+c.PingTimeout, maxDuration))
	duration("ControlPatience", &c.ControlPatience, 10*time.Second)
	duration("MembershipInterval", &c.MembershipInterval, time.Second)
	duration("HandlerTimeout", &c.HandlerTimeout, 10*time.Second)
	if c.MinRate < 0 || c.InboundBytes < 0 {
		err = errors.Join(err, errors.New("session: Config.MinRate and InboundBytes must not be negative"))
	}
	if c.MinRate == 0 {
		c.MinRate = 1024
	}
	if c.InboundBytes == 0 {
		c.InboundBytes = 256 << 20
	}
	for _, v := range []struct {
		name string
		n    *int
		d    int
	}{
		{"ControlRate", &c.ControlRate, 10},
		{"ControlBurst", &c.ControlBurst, 200},
		{"FragmentRate", &c.FragmentRate, 10_000},
		{"SessionChannels", &c.SessionChannels, 128},
		{"Publications", &c.Publications, 4096},
		{"BlockingCalls", &c.BlockingCalls, 256},
		{"Deflate.Sessions", &c.Deflate.Sessions, 10_000},
		{"Deflate.Compressors", &c.Deflate.Compressors, runtime.GOMAXPROCS(0)},
		{"Deflate.Level", &c.Deflate.Level, 1},
		{"Head.MaxBytes", &c.Head.MaxBytes, wsproto.DefaultHeadLimits.MaxBytes},
		{"Head.MaxTarget", &c.Head.MaxTarget, wsproto.DefaultHeadLimits.MaxTarget},
		{"Head.MaxFields", &c.Head.MaxFields, wsproto.DefaultHeadLimits.MaxFields},
	} {
		switch {
		case *v.n < 0:
			err = errors.Join(err, fmt.Errorf("session: Config.%s is negative", v.name))
		case *v.n == 0:
			*v.n = v.d
		default:
			*v.n = min(*v.n, maxCount)
		}
	}
	if c.Publications > maxPublications || c.Deflate.Compressors > maxCompressors {
		err = errors.Join(err, fmt.Errorf("session: Config.Publications must not be more than %d, and Deflate.Compressors not more than %d: there is memory for each", maxPublications, maxCompressors))
	}
	if c.PublicationBytes < 0 {
		err = errors.Join(err, errors.New("session: Config.PublicationBytes is negative"))
	}
	if c.PublicationBytes == 0 {
		c.PublicationBytes = 64 << 20
	}
	if c.Deflate.Level > 9 {
		err = errors.Join(err, errors.New("session: Config.Deflate.Level is over 9"))
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, err
}

// ValidOrigin reports whether o may be an element of Route.Origins.
func ValidOrigin(o string) bool {
	switch o {
	case "", "*", "null", "file://":
		return true
	}
	u, err := url.Parse(o)
	return err == nil && u.Scheme != "" && u.Host != "" && o == u.Scheme+"://"+u.Host
}

// reactor returns the settings of the reactor, NewLocal excepted.
func (c *Config) reactor() ReactorConfig {
	r := c.Reactor
	r.Logger = c.Logger
	r.HandlerTimeout = c.HandlerTimeout
	if r.WriteStall == 0 {
		// A peer that reads a few kilobytes a second opens its window in steps that are many
		// seconds apart. It may be as silent as a client that is idle.
		r.WriteStall = c.PingInterval + c.PingTimeout
	}
	return r
}
