package wsproto

import "github.com/gobwas/ws"

// MaxControlPayload is the size in bytes of the largest payload of a control frame (RFC 6455 §5.5).
const MaxControlPayload = ws.MaxControlFramePayloadSize

// MaxCloseReason is the size in bytes of the longest reason that fits behind the status code of a
// Close frame.
const MaxCloseReason = MaxControlPayload - 2

// StatusCode says why a connection is closed (RFC 6455 §7.4).
type StatusCode uint16

// The status codes of RFC 6455 §7.4.1, and of the registry of IANA.
const (
	StatusNormal             StatusCode = 1000
	StatusGoingAway          StatusCode = 1001
	StatusProtocolError      StatusCode = 1002
	StatusUnsupportedData    StatusCode = 1003
	StatusNoStatus           StatusCode = 1005 // never on the wire: the Close frame was empty
	StatusAbnormal           StatusCode = 1006 // never on the wire: no Close frame came
	StatusInvalidPayload     StatusCode = 1007
	StatusPolicyViolation    StatusCode = 1008
	StatusTooBig             StatusCode = 1009
	StatusMandatoryExtension StatusCode = 1010
	StatusInternalError      StatusCode = 1011
	StatusServiceRestart     StatusCode = 1012
	StatusTryAgainLater      StatusCode = 1013
	StatusBadGateway         StatusCode = 1014
	StatusTLSHandshake       StatusCode = 1015 // never on the wire
)

// Sendable reports whether c may stand in a Close frame that we send.
func (c StatusCode) Sendable() bool { return c.wire() }

// Receivable reports whether c may stand in a Close frame from the peer.
func (c StatusCode) Receivable() bool { return c.wire() }

// wire holds the one rule for both directions. 1004 has no meaning yet; 1005,
// 1006 and 1015 exist for local use only (RFC 6455 §7.4.1); 1016-2999 are not
// assigned; 3000-3999 are for libraries and frameworks, 4000-4999 for private
// use (RFC 6455 §7.4.2).
func (c StatusCode) wire() bool {
	switch {
	case c < 1000:
		return false
	case c <= 1003:
		return true
	case c < 1007:
		return false
	case c <= 1014:
		return true
	default:
		return 3000 <= c && c <= 4999
	}
}

// statusNames is indexed by the code less 1000.
var statusNames = [...]string{
	0:  "normal closure",
	1:  "going away",
	2:  "protocol error",
	3:  "unsupported data",
	5:  "no status",
	6:  "abnormal closure",
	7:  "invalid payload",
	8:  "policy violation",
	9:  "message too big",
	10: "mandatory extension",
	11: "internal error",
	12: "service restart",
	13: "try again later",
	14: "bad gateway",
	15: "TLS handshake",
}

// Name returns a short text for c, which is never empty. There is a fixed number of names, so that
// a name can be the label of a metric.
func (c StatusCode) Name() string {
	switch {
	case 1000 <= c && int(c-1000) < len(statusNames) && statusNames[c-1000] != "":
		return statusNames[c-1000]
	case 3000 <= c && c <= 3999:
		return "registered"
	case 4000 <= c && c <= 4999:
		return "private"
	default:
		return "unassigned"
	}
}
