package webpubsub

import (
	"bytes"
	"errors"
	"math"
)

type kind uint8

const (
	kindUnknown kind = iota
	kindJoin
	kindLeave
	kindSend
	kindEvent
	kindInvoke
	kindIgnored
	kindPing
)

func kindOf(name []byte) kind {
	switch string(name) {
	case "sendToGroup":
		return kindSend
	case "joinGroup":
		return kindJoin
	case "leaveGroup":
		return kindLeave
	case "event":
		return kindEvent
	case "invoke":
		return kindInvoke
	case "sequenceAck", "cancelInvocation", "streamData", "streamEnd":
		return kindIgnored
	case "ping":
		return kindPing
	}
	return kindUnknown
}

// request is a parsed message of a client. Its slices are views into the message or the names that
// parse was given. Strings are as written, without quotes, if nothing else is said.
type request struct {
	kind       kind
	ackID      uint64
	hasAck     bool
	noEcho     bool
	stream     bool   // asks for a stream of messages
	streamID   []byte // of it; nil: none
	group      []byte // unquoted; empty: none
	brokenName bool   // group has an escape that stands for no character
	dataType   []byte // unquoted, or as written where that has such an escape; nil: none
	data       []byte // a JSON value as written; nil: none
	invocation []byte // nil: none
}

var (
	errTwice  = errors.New("a member occurs twice")
	errType   = errors.New("no type")
	errAckID  = errors.New("ackId is not a whole number from 0 to 2^64-1")
	errString = errors.New("type, group, dataType or invocationId is not a string")
	errBool   = errors.New("noEcho is neither true nor false")
)

// The members that are used, a bit each.
const (
	memberType = 1 << iota
	memberGroup
	memberAckID
	memberDataType
	memberData
	memberNoEcho
	memberStream
	memberInvocation
)

func memberOf(name []byte) int {
	switch string(name) {
	case "type":
		return memberType
	case "group":
		return memberGroup
	case "ackId":
		return memberAckID
	case "dataType":
		return memberDataType
	case "data":
		return memberData
	case "noEcho":
		return memberNoEcho
	case "stream":
		return memberStream
	case "invocationId":
		return memberInvocation
	}
	return 0
}

// parse reads p, which is valid UTF-8, into r. names is memory for unquoted strings, and is returned as
// it has become. An error says that p is no request.
func parse(p, names []byte, r *request) ([]byte, error) {
	*r = request{}
	s := scanner{p: p}
	if !s.accept('{') {
		return names, errSyntax
	}
	seen := 0
	for more := !s.accept('}'); more; {
		key, err := s.str()
		if err != nil || !s.accept(':') {
			return names, errSyntax
		}
		names, key, _ = text(names, key)
		v, err := s.value(1)
		if err != nil {
			return names, err
		}
		m := memberOf(key)
		if seen&m != 0 {
			return names, errTwice
		}
		seen |= m
		if names, err = r.set(m, v, names); err != nil {
			return names, err
		}
		if more = s.accept(','); !more && !s.accept('}') {
			return names, errSyntax
		}
	}
	if s.peek(); s.i < len(p) {
		return names, errSyntax
	}
	if seen&memberType == 0 {
		return names, errType
	}
	return names, nil
}

// set takes one member, whose value is v.
func (r *request) set(m int, v, names []byte) ([]byte, error) {
	if m == memberData {
		r.data = v
		return names, nil
	}
	if m == 0 || v[0] == 'n' && m != memberType { // null
		return names, nil
	}
	switch m {
	case memberAckID:
		id, ok := number(v)
		if !ok {
			return names, errAckID
		}
		r.ackID, r.hasAck = id, true
		return names, nil
	case memberNoEcho:
		if v[0] != 't' && v[0] != 'f' {
			return names, errBool
		}
		r.noEcho = v[0] == 't'
		return names, nil
	case memberStream:
		r.stream = true
		names, r.streamID = streamID(v, names)
		return names, nil
	}
	if v[0] != '"' {
		return names, errString
	}
	v = v[1 : len(v)-1]
	if m == memberInvocation {
		r.invocation = v
		return names, nil
	}
	names, v, whole := text(names, v)
	switch m {
	case memberType:
		r.kind = kindOf(v)
	case memberGroup:
		r.group, r.brokenName = v, !whole
	case memberDataType:
		r.dataType = v
	}
	return names, nil
}

// text returns what a string that str has returned stands for. names is memory for it, and is returned as
// it has become. A string with an escape that stands for no character is returned as written, with false:
// its backslash tells it from every word that is known here.
func text(names, raw []byte) (_, s []byte, whole bool) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return names, raw, true
	}
	start := len(names)
	if names, whole = unquote(names, raw); !whole {
		return names[:start], raw, false
	}
	return names, names[start:len(names):len(names)], true
}

// number reads a JSON number that is a whole one from 0 to 2^64-1, without fraction and exponent.
func number(v []byte) (n uint64, ok bool) {
	for _, c := range v {
		if c < '0' || c > '9' || n > math.MaxUint64/10 {
			return 0, false
		}
		d := uint64(c - '0')
		if n = n * 10; n > math.MaxUint64-d {
			return 0, false
		}
		n += d
	}
	return n, true
}

// streamID returns the member streamId of v as written, the first string of that name, or nil if there is
// none. names is used and returned as by text.
func streamID(v, names []byte) (_, id []byte) {
	s := scanner{p: v} // is JSON
	if !s.accept('{') || s.accept('}') {
		return names, nil
	}
	for {
		key, _ := s.str()
		s.accept(':')
		names, key, _ = text(names, key)
		if string(key) == "streamId" && s.peek() == '"' {
			id, _ = s.str()
			return names, id
		}
		_, _ = s.value(0)
		if !s.accept(',') {
			return names, nil
		}
	}
}
