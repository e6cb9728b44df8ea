package session

import (
	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// The types of wsproto and netpoll that this package's API uses have names here too, so that a
// program needs one import. They are the same types.
type (
	// ReactorConfig holds the settings of the reactor: loops, workers, sockets, outbound queues.
	ReactorConfig = netpoll.Config
	// SocketOptions are set on every client's socket.
	SocketOptions = netpoll.SocketOptions
	// ListenConfig says where and how to listen.
	ListenConfig = netpoll.ListenConfig
	// Histogram counts observations by their size, see Stats.
	Histogram = netpoll.Histogram
	// Policy says what happens to a message that does not fit into a client's outbound queue.
	Policy = netpoll.Policy

	// Request is the parsed head of a client's request.
	Request = wsproto.Request
	// Response is an HTTP response other than 101.
	Response = wsproto.Response
	// RequestError is an HTTP status that refuses a request. It is an error.
	RequestError = wsproto.RequestError
	// Field is a header field of a response.
	Field = wsproto.Field
	// HeadLimits bound a request head.
	HeadLimits = wsproto.HeadLimits
	// Opcode says whether a message is text or binary (RFC 6455 §5.2).
	Opcode = wsproto.Opcode
	// StatusCode says why a session is closed (RFC 6455 §7.4).
	StatusCode = wsproto.StatusCode
	// ProtocolError says what a client did wrong. Handler's OnError gets it.
	ProtocolError = wsproto.ProtocolError
)

// The opcodes of messages (RFC 6455 §5.6).
const (
	OpText   = wsproto.OpText
	OpBinary = wsproto.OpBinary
)

// The policies for clients that read more slowly than they are sent to, see Route.Outbound.
const (
	CloseSlow  = netpoll.CloseSlow
	DropOldest = netpoll.DropOldest
	DropNewest = netpoll.DropNewest
	KeepLatest = netpoll.KeepLatest
)

// The status codes of RFC 6455 §7.4.1 and of the IANA registry it set up. Codes from 4000 to 4999
// are free for applications.
const (
	StatusNormal             = wsproto.StatusNormal
	StatusGoingAway          = wsproto.StatusGoingAway
	StatusProtocolError      = wsproto.StatusProtocolError
	StatusUnsupportedData    = wsproto.StatusUnsupportedData
	StatusNoStatus           = wsproto.StatusNoStatus // never sent: the client's Close frame had no code
	StatusAbnormal           = wsproto.StatusAbnormal // never sent: there was no Close frame
	StatusInvalidPayload     = wsproto.StatusInvalidPayload
	StatusPolicyViolation    = wsproto.StatusPolicyViolation
	StatusTooBig             = wsproto.StatusTooBig
	StatusMandatoryExtension = wsproto.StatusMandatoryExtension
	StatusInternalError      = wsproto.StatusInternalError
	StatusServiceRestart     = wsproto.StatusServiceRestart
	StatusTryAgainLater      = wsproto.StatusTryAgainLater
	StatusBadGateway         = wsproto.StatusBadGateway
)

// The refusals that Route.OnUpgrade needs most. Refusal makes others.
var (
	ErrUnauthorized = wsproto.ErrUnauthorized // 401
	ErrForbidden    = wsproto.ErrForbidden    // 403
	ErrNotFound     = wsproto.ErrNotFound     // 404
	ErrTooMany      = wsproto.ErrTooMany      // 429
	ErrOverloaded   = wsproto.ErrOverloaded   // 503
)

// Errors of Server's methods that belong to the reactor.
var (
	// ErrStarted is returned by Start after Start.
	ErrStarted = netpoll.ErrStarted
	// ErrStopped is returned by methods that add listeners, after StopListening.
	ErrStopped = netpoll.ErrStopped
	// ErrReactorClosed is returned by methods that need a running server, after Close.
	ErrReactorClosed = netpoll.ErrReactorClosed
	// ErrFull is returned when the limit of open connections is reached.
	ErrFull = netpoll.ErrFull
)

// Refusal returns the error with which Route.OnUpgrade refuses a request: an HTTP status from 400
// to 599, and a short reason that is sent as the body.
func Refusal(status int, reason string) *RequestError { return wsproto.Refusal(status, reason) }
