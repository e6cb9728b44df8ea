package wsproto

import "strconv"

// ProtocolError says what the peer did wrong after the opening handshake. The caller must fail the
// connection with Code (RFC 6455 §7.1.7). The values that a Decoder returns are shared and must not
// be modified.
type ProtocolError struct {
	Code    StatusCode // for the Close frame
	Section string     // of RFC 6455, such as "5.4"; empty for a limit of ours
	Reason  string     // a fixed text without anything that the peer has sent; fits into a Close frame
}

// Error names the rule and the status code.
func (e *ProtocolError) Error() string {
	s := "wsproto: " + e.Reason
	if e.Section != "" {
		s += " (RFC 6455 §" + e.Section + ")"
	}
	return s + ", status " + strconv.Itoa(int(e.Code))
}

// What a Decoder answers. The values are declared once, so that an attack costs
// no allocation.
var (
	errReservedBit    = &ProtocolError{StatusProtocolError, "5.2", "reserved bit set"}
	errReservedOpcode = &ProtocolError{StatusProtocolError, "5.2", "reserved opcode"}
	errControlParted  = &ProtocolError{StatusProtocolError, "5.5", "fragmented control frame"}
	errControlLong    = &ProtocolError{StatusProtocolError, "5.5", "control frame over 125 bytes"}
	errUnmasked       = &ProtocolError{StatusProtocolError, "5.1", "unmasked frame"}
	errNotMinimal     = &ProtocolError{StatusProtocolError, "5.2", "length not in its shortest form"}
	errLengthSign     = &ProtocolError{StatusProtocolError, "5.2", "length over 63 bits"}
	errNoMessage      = &ProtocolError{StatusProtocolError, "5.4", "continuation without a message"}
	errInMessage      = &ProtocolError{StatusProtocolError, "5.4", "new message inside a fragmented one"}
	errCloseShort     = &ProtocolError{StatusProtocolError, "5.5.1", "close payload of one byte"}
	errCloseCode      = &ProtocolError{StatusProtocolError, "7.4", "invalid status code"}
	errCloseReason    = &ProtocolError{StatusInvalidPayload, "5.5.1", "close reason is not UTF-8"}
	errText           = &ProtocolError{StatusInvalidPayload, "8.1", "text is not UTF-8"}
	errTooBig         = &ProtocolError{StatusTooBig, "", "message too big"}
	errUnwanted       = &ProtocolError{StatusUnsupportedData, "5.6", "this type of message is not taken here"}
	errInflate        = &ProtocolError{StatusInvalidPayload, "", "corrupt compressed message"}
	errStreams        = &ProtocolError{StatusPolicyViolation, "", "too many streams in a compressed message"}
	errBarren         = &ProtocolError{StatusPolicyViolation, "", "compressed message without content"}
	errFragments      = &ProtocolError{StatusPolicyViolation, "", "too many fragments"}
)
