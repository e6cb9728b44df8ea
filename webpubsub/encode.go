package webpubsub

import "strconv"

const pong = `{"type":"pong"}`

func appendConnected(dst []byte, user, id string) []byte {
	dst = append(dst, `{"type":"system","event":"connected",`...)
	if user != "" {
		dst = quote(append(dst, `"userId":`...), user)
		dst = append(dst, ',')
	}
	dst = quote(append(dst, `"connectionId":`...), id)
	return append(dst, '}')
}

func appendDisconnected(dst []byte, why string) []byte {
	dst = quote(append(dst, `{"type":"system","event":"disconnected","message":`...), why)
	return append(dst, '}')
}

// appendAck appends the answer to a request: of success if name is "".
func appendAck(dst []byte, id uint64, name, text string) []byte {
	dst = strconv.AppendUint(append(dst, `{"type":"ack","ackId":`...), id, 10)
	if name == "" {
		return append(dst, `,"success":true}`...)
	}
	return appendError(append(dst, `,"success":false`...), name, text)
}

// appendRefusal appends the answer to what has another id than an ackId. It begins with head and id,
// a string as it was written, without its quotes.
func appendRefusal(dst []byte, head string, id []byte, name, text string) []byte {
	dst = append(append(dst, head...), id...)
	return appendError(append(dst, '"'), name, text)
}

// appendError appends the last member of an object, and its end.
func appendError(dst []byte, name, text string) []byte {
	dst = quote(append(dst, `,"error":{"name":`...), name)
	dst = quote(append(dst, `,"message":`...), text)
	return append(dst, `}}`...)
}

// appendMessage appends what the members of a group get. data is a JSON value as it was written.
func appendMessage(dst []byte, user, group string, dataType, data []byte) []byte {
	dst = append(dst, `{"type":"message","from":"group",`...)
	if user != "" {
		dst = quote(append(dst, `"fromUserId":`...), user)
		dst = append(dst, ',')
	}
	dst = quote(append(dst, `"group":`...), group)
	dst = append(dst, `,"dataType":"`...)
	dst = append(dst, dataType...)
	dst = append(dst, `","data":`...)
	dst = append(dst, data...)
	return append(dst, '}')
}
