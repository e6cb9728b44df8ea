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
	// Routes says who serves which path. At least one.
	Routes []Route

	Reactor ReactorConfig // Logger, NewLocal and HandlerTimeout are the server's to set

	// Head bounds the head of a request. A field that is zero has the value that
	// wsproto.DefaultHeadLimits has: 16 KiB, a target of 8 KiB, 100 fields.
	Head HeadLimits

	HandshakeTimeout time.Duration // from accept to the answer, an OnUpgrade that blocks included; default 5 s
	// StallTimeout is for how long a client may send nothing of a message that it has begun. Default:
	// PingInterval and PingTimeout together, for which an idle client may be silent too. Beyond that the
	// client is closed with 1008. When InboundBytes are nearly used up the time is shortened, to a
	// sixteenth at last, and those that exceed it are closed with 1013.
	StallTimeout time.Duration
	// MinRate is how many bytes a second a client has to send of a message on the average. A message
	// may take StallTimeout twice beside that. Default 1024.
	MinRate int

	PingInterval time.Duration // silence after which a client is pinged, ±10 % per client; default DefaultPingInterval
	PingTimeout  time.Duration // silence after the ping that shows the client to be dead; default DefaultPingTimeout

	InboundBytes int64 // memory for incomplete messages of all clients; default 256 MiB

	// A client may send ControlRate pings and pongs a second for long, and ControlBurst of them
	// at once. Who sends more is not read from until it is within its rate again, and who does so
	// for ControlPatience without a second's break is closed with 1008. Default 10, 200 and 10 s.
	// Answers to the pings of a handler (Session.SendPing) count too: one that pings more often
	// needs more.
	ControlRate, ControlBurst int
	ControlPatience           time.Duration
	// FragmentRate is how many fragments of under wsproto.TinyFragment bytes a client may send
	// a second for long; a second's worth, or those of two messages, at once. Who sends more
	// is closed with 1008. Default 10,000.
	FragmentRate int

	SessionChannels int // channels that one session may be in, each of which Join and Leave look at; default 128
	// Publications and PublicationBytes bound what has been published to large channels and not
	// been sent to all members yet. Default 4096, and 64 MiB.
	Publications     int
	PublicationBytes int64

	// BlockingCalls is how many calls that may block (Route.Mode, Route.UpgradeMode) run at the same
	// time for each route, unless Route.BlockingCalls says otherwise. Default 256.
	BlockingCalls int
	// HandlerTimeout is how long Close waits for calls of handlers to return. Default 10 s.
	HandlerTimeout time.Duration

	Deflate Deflate

	// OnMembership is told who has joined and left channels, by one goroutine, one channel after the
	// other, at most once in MembershipInterval (default 1 s) for each, and when the server ends. It
	// may block: what happens meanwhile is gathered. It must not call Close or Shutdown.
	OnMembership       func(MembershipChange)
	MembershipInterval time.Duration
	// OnFail is told of handshakes that did not lead to a session, and of plain requests that were not
	// answered with success. It must not block.
	OnFail func(Failure)

	Logger *slog.Logger // default slog.Default()
	// AccessLog gets a line for every handshake and every end of a session; nil for none. Its
	// handler must not block.
	AccessLog *slog.Logger
}

// Deflate bounds what compression (permessage-deflate, RFC 7692) costs. It is on where
// Route.Deflate says so.
type Deflate struct {
	// Sessions is how many sessions may have agreed on compression at once. To further clients
	// it is declined, and they are served without. Default 10,000.
	Sessions int
	// Compressors is how many messages may be compressed at the same time. Each takes
	// 0.8 to 1.4 MB once it has been used. When all are in use a message is sent as it is.
	// Default GOMAXPROCS.
	Compressors int
	// Level is that of DEFLATE, 1 to 9: fastest to smallest. Default 1.
	Level int
}

// Route maps a path to a handler.
type Route struct {
	// Path is a pattern, with the syntax and the precedence of http.ServeMux:
	//
	//	/chat              this path
	//	/room/{id}         one segment; see Session.PathValue
	//	/files/{rest...}   all that is left, with slashes
	//	/files/            all paths below /files/, and that itself; "/" is every path
	//	/files/{$}         /files/ alone
	//	example.com/chat   on this host only, whatever the port; such a route takes precedence
	//	GET /page          GET and HEAD only; HTTP is not asked about other methods, which get 405
	//
	// The most specific pattern wins. Escapes in a path are decoded before it is compared. Nothing
	// is redirected, because WebSocket clients do not follow redirects: a path with "//" or "/../"
	// gets 404, and so does /files where there is only /files/. Host names are compared in lower
	// case, and an IPv6 address stands in brackets. Methods other than GET are not possible: without
	// a method HTTP is asked about all of them.
	//
	// A pattern that can never match, that stands twice or that conflicts with another one is an
	// error.
	Path    string
	Handler Handler // nil where there is only HTTP: who asks for WebSocket gets 404
	// Mode says whether the handler's calls may block, and hence where they run. By default they may
	// (MayBlock). UpgradeMode says the same of OnUpgrade and HTTP; by default it is as Mode.
	Mode        Mode
	UpgradeMode UpgradeMode
	// BlockingCalls is how many calls of this route that may block run at the same time, each in a
	// goroutine of the route's own pool. Further ones wait. Default Config.BlockingCalls.
	BlockingCalls int

	Subprotocols []string // spoken here, in order of preference

	// Retain names the request header fields that Session.Header knows for as long as the session
	// lives; a session takes as much memory as they are long. RetainQuery keeps the query.
	Retain      []string
	RetainQuery bool

	// Origins is who may connect from a browser (RFC 6455 §10.2): exact origins, such as
	// "https://example.com:8443", without the port where it is the scheme's own; "*" for
	// all of them; "" for clients that send no Origin, which browsers always do. Others are
	// refused with 403. Nil takes everybody.
	//
	// "file://" stands for pages that a browser, or an app such as one built with Cordova, reads from
	// a file. "null" stands for every page with an opaque origin: any site can make one in a sandboxed
	// frame, so "null" does not tell a page of yours from another.
	Origins []string

	// Header is added to the answer of every accepted handshake.
	Header []Field
	// OnUpgrade, if not nil, decides about a handshake that is correct, before it is answered.
	// Its error refuses it: a *RequestError is the answer, what Upgrade.Respond returns is the
	// response that it was given, and any other error is 500. UpgradeMode says whether it may block.
	OnUpgrade func(*Upgrade) error
	// HTTP answers requests that do not ask for WebSocket, with any method; those with a body
	// are refused with 400. UpgradeMode says whether it may block. The request is valid
	// until it returns; the response's body may be shared. A nil response is 404. Without HTTP
	// such requests get 426.
	HTTP func(*Request) *Response

	// Deflate offers compression: to clients that ask for it, in both directions, message by
	// message. Turns of such sessions never run on an event loop. Do not let a client choose
	// text that is compressed together with a secret: the size of the result tells
	// about it (CRIME, BREACH).
	Deflate bool
	// DeflateThreshold is the size in bytes below which messages are sent as they are. Default
	// 512.
	DeflateThreshold int

	Rate Rate // bounds what a client may send; default: no bound

	// Outbound says what happens to messages for a client that does not read them as fast as they
	// are sent: close the session (CloseSlow, the default), DropOldest, DropNewest, or KeepLatest
	// of each key. It holds for data messages, beyond the bounds of Config.Reactor.QueueBytes and
	// QueueMessages. A client that reads nothing for Reactor.WriteStall is closed in any case.
	Outbound Policy
	// SlowCode is the status code that ends such a session. Default 1013 (try again later); 1008
	// (policy violation) is another choice.
	SlowCode StatusCode
	// Farewell, if not nil, returns the text of a last message that a session gets before the Close
	// frame with this code and reason: where Session.Close, Server.Shutdown or the panic of a handler
	// ends it, and not where a client breaks a rule, is too slow or is gone. Nil for none; text that is
	// no UTF-8, or that there is no room for in the queue, is not sent. It is called by whoever closes,
	// perhaps beside a callback of that session, must not block, and the bytes are copied. What others
	// send at the same moment may come behind it.
	Farewell func(s Session, code StatusCode, reason string) []byte

	Only         Opcode // OpText or OpBinary: the other is refused with 1003; zero takes both
	MaxMessage   int64  // bytes of one message, decompressed; default 1 MiB
	MaxFragments int    // frames of one message; default 1024
}

// Defaults of a Config.
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
