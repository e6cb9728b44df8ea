package webpubsub

import "unsafe"

// ClientSize is what a session costs here, in bytes.
const ClientSize = unsafe.Sizeof(client{})

// AckSet under test.
type AckSet struct{ a ackSet }

// Serve reports what is known of an id, and notes it if it is new.
func (s *AckSet) Serve(id uint64) string {
	state := s.State(id)
	if state == "new" {
		s.a.served(id)
	}
	return state
}

// State reports what is known of an id.
func (s *AckSet) State(id uint64) string {
	return [...]string{ackNew: "new", ackServed: "served", ackOld: "old"}[s.a.state(id)]
}

// Floor returns the lowest id that is known.
func (s *AckSet) Floor() uint64 { return s.a.floor }

// Next returns the id that needs no search.
func (s *AckSet) Next() uint64 { return s.a.list[s.a.last].to + 1 }

// Intervals returns how many there are, and how many the memory is for.
func (s *AckSet) Intervals() (n, room int) { return len(s.a.list), cap(s.a.list) }

// ValidJSON reports whether the scanner takes p for one value.
func ValidJSON(p []byte) bool {
	s := scanner{p: p}
	_, err := s.value(0)
	s.peek()
	return err == nil && s.i == len(p)
}

// Unquote returns what a JSON string stands for; false if that is no text.
func Unquote(p []byte) (string, bool) {
	s := scanner{p: p}
	raw, err := s.str()
	if err != nil {
		return "", false
	}
	text, ok := unquote(nil, raw)
	return string(text), ok
}

// Request is what parse makes of a message. Strings are unquoted, but for those of which that is not said;
// nil stands for none.
type Request struct {
	Type           string // "" if it is not known
	AckID          *uint64
	NoEcho, Stream bool
	Group          []byte
	BrokenGroup    bool // half a surrogate: Group means nothing
	DataType       []byte
	Data           []byte // as written
	Invocation     []byte // as written
	StreamID       []byte // as written
}

// Parse reads a message.
func Parse(p []byte) (Request, error) {
	var r request
	_, err := parse(p, nil, &r)
	q := Request{
		NoEcho: r.noEcho, Stream: r.stream, Group: r.group, BrokenGroup: r.brokenName,
		DataType: r.dataType, Data: r.data, Invocation: r.invocation, StreamID: r.streamID,
	}
	q.Type = map[kind]string{
		kindJoin: "joinGroup", kindLeave: "leaveGroup", kindSend: "sendToGroup", kindEvent: "event",
		kindInvoke: "invoke", kindIgnored: "ignored", kindPing: "ping",
	}[r.kind]
	if r.hasAck {
		q.AckID = &r.ackID
	}
	return q, err
}

// Messages returns what a request makes the target send, whatever it asks for: the message for the
// members of its group, if its data is valid, and the answers to the sender.
func Messages(p []byte, user string) (list [][]byte, err error) {
	w := new(scratch)
	r := &w.req
	if w.names, err = parse(p, nil, r); err != nil {
		return [][]byte{appendDisconnected(nil, err.Error())}, err
	}
	var why reason
	if w.names, why, _ = r.checkData(w.names); why == refusedNot && !r.brokenName {
		list = append(list, appendMessage(nil, user, string(r.group), r.dataType, r.data))
	}
	if r.invocation != nil {
		list = append(list, appendRefusal(nil, `{"id":"`, r.invocation, "BadRequest", "no"))
	}
	if r.streamID != nil {
		list = append(list, appendRefusal(nil, `{"id":"`, r.streamID, "BadRequest", "no"))
	}
	return append(list, appendAck(nil, r.ackID, "", ""), appendAck(nil, r.ackID, "Forbidden", "no: \"why\"\n\x1f")), nil
}

// Encode is what a publication costs without sending it.
func Encode(p []byte) int {
	w := scratches.Get().(*scratch)
	defer w.free()
	w.names, _ = parse(p, w.names[:0], &w.req)
	w.names, _, _ = w.req.checkData(w.names)
	w.out = appendMessage(w.out[:0], "", string(w.req.group), w.req.dataType, w.req.data)
	return len(w.out)
}
