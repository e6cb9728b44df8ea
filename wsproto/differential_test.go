package wsproto_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"wsgateway/wsproto"
)

// outcome is what a reader made of a client's bytes.
type outcome struct {
	events []string // as trace writes them, failures left out
	code   int      // of ours: the status code of its refusal, 0 for none
	where  string   // of ours: the section of RFC 6455
	err    error    // of the peer: its refusal
	cut    bool     // of the peer: the input ended inside a frame or message
}

// outcomeOf reads the text of trace.
func outcomeOf(text string) (o outcome) {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "fail "); ok {
			code, section, _ := strings.Cut(rest, " ")
			_, _ = fmt.Sscan(code, &o.code)
			o.where = section
			continue
		}
		o.events = append(o.events, line)
	}
	return o
}

var errPeerClosed = errors.New("close frame read")

// peer reads with wsutil.Reader, as strict as it can be made: UTF-8 is checked,
// and messages are bounded as ours are.
type peer struct {
	outcome
	r *wsutil.Reader
}

func runPeer(in []byte, lim wsproto.Limits) outcome {
	p := &peer{r: wsutil.NewServerSideReader(bytes.NewReader(in))}
	p.r.CheckUTF8, p.r.MaxMessageSize, p.r.OnIntermediate = true, lim.MaxMessage, p.control
	err := error(nil)
	for err == nil {
		err = p.next()
	}
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		p.cut = true
	case err != errPeerClosed:
		p.err = err
	}
	return p.outcome
}

// next reads a message, or a control frame between messages.
func (p *peer) next() error {
	h, err := p.r.NextFrame()
	if err != nil {
		return err
	}
	if h.OpCode.IsControl() {
		return p.control(h, p.r)
	}
	payload, err := io.ReadAll(p.r)
	if err != nil {
		return err
	}
	p.events = append(p.events, fmt.Sprintf("message %d %s", h.OpCode, quote(payload)))
	return nil
}

func (p *peer) control(h ws.Header, r io.Reader) error {
	payload, err := io.ReadAll(r)
	switch {
	case err != nil:
		return err
	case int64(len(payload)) < h.Length:
		return io.ErrUnexpectedEOF
	case h.OpCode == ws.OpPing:
		p.events = append(p.events, "ping "+quote(payload))
		return nil
	case h.OpCode == ws.OpPong:
		p.events = append(p.events, "pong "+quote(payload))
		return nil
	}
	code, reason := ws.StatusNoStatusRcvd, ""
	if len(payload) > 0 {
		code, reason = ws.ParseCloseFrameData(payload)
		if err := ws.CheckCloseFrameData(code, reason); err != nil {
			return err
		}
	}
	p.events = append(p.events, fmt.Sprintf("close %d %s", code, quote([]byte(reason))))
	return errPeerClosed
}

// span is a frame as it lies in the input.
type span struct {
	start, lengthEnd, payload int // offsets: of its header, behind its length, of its payload
	b0, form                  byte
	length                    uint64
}

// spans finds the frames of the input, and judges nothing. The last may be cut.
func spans(in []byte) (all []span) {
	for at := 0; at+2 <= len(in); {
		s := span{start: at, b0: in[at], form: in[at+1] & 0x7F, lengthEnd: at + 2}
		s.length = uint64(s.form)
		switch rest := in[at+2:]; {
		case s.form == 126 && len(rest) >= 2:
			s.length, s.lengthEnd = uint64(binary.BigEndian.Uint16(rest)), at+4
		case s.form == 127 && len(rest) >= 8:
			s.length, s.lengthEnd = binary.BigEndian.Uint64(rest), at+10
		case s.form >= 126:
			return append(all, s)
		}
		s.payload = s.lengthEnd
		if in[at+1]&0x80 != 0 {
			s.payload += 4
		}
		all = append(all, s)
		if s.payload > len(in) || s.length > uint64(len(in)-s.payload) {
			break
		}
		at = s.payload + int(s.length)
	}
	return all
}

// minimal reports whether the length has its shortest form.
func (s *span) minimal() bool {
	switch s.form {
	case 126:
		return s.length > 125
	case 127:
		return s.length > 0xFFFF
	}
	return true
}

// completeHeader completes a header at the end of the input that is cut off, with
// a mask of zeros: what we refuse by its first octets, the peer judges only once
// it has all of them.
func completeHeader(in []byte) []byte {
	at := 0
	if all := spans(in); len(all) > 0 {
		last := all[len(all)-1]
		if at = last.start; last.payload > 0 && last.payload <= len(in) {
			if last.length > uint64(len(in)-last.payload) {
				return in
			}
			at = last.payload + int(last.length)
		}
	}
	part := bytes.Clone(in[at:])
	if len(part) == 0 {
		return in
	}
	if len(part) == 1 {
		part = append(part, 0x80)
	}
	size := 2
	switch part[1] & 0x7F {
	case 126:
		size = 4
	case 127:
		size = 10
	}
	if part[1]&0x80 != 0 {
		size += 4
	}
	for len(part) < size {
		part = append(part, 0)
	}
	return append(bytes.Clone(in[:at]), part...)
}

// failsBehind returns behind how many bytes of the input we refuse it.
func failsBehind(t *testing.T, in []byte, lim wsproto.Limits) int {
	var d wsproto.Decoder
	bufs := newBuffers(t)
	defer d.Release(bufs)
	in = bytes.Clone(in)
	for i := range in {
		if _, _, err := d.Next(in[i:i+1], &lim, bufs); err != nil {
			return i + 1
		}
	}
	t.Fatal("not refused byte by byte")
	return 0
}

// The closed list of differences. In all else the two must agree. (What is
// stricter here is so on purpose; reserved bits and opcodes, masks, control frames,
// the order of fragments, UTF-8 and the size of messages are judged alike.)
const (
	sameVerdict    = "no difference"
	notShortest    = "we refuse a length that is not in its shortest form (RFC 6455 §5.2)"
	controlLong    = "we refuse a control frame with an extended length, even of a small number (RFC 6455 §5.5)"
	manyFragments  = "we bound the fragments of a message"
	registeredCode = "we accept 1012-1014, which IANA has registered since RFC 6455"
	highCode       = "gobwas/ws accepts status codes from 5000 on (RFC 6455 §7.4.2 knows none)"
)

// compare explains how the two outcomes differ. An empty text is a difference
// that is not on the list.
func compare(t *testing.T, in []byte, lim wsproto.Limits, ours, theirs outcome) string {
	n := min(len(ours.events), len(theirs.events))
	for i := range n {
		if ours.events[i] != theirs.events[i] {
			return ""
		}
	}
	switch {
	case ours.code != 0:
		return compareRefusal(t, in, lim, ours, theirs, n)
	case len(theirs.events) > n:
		return ""
	case len(ours.events) == n:
		if theirs.err == nil && (closed(ours.events) || allMinimal(in)) {
			return sameVerdict
		}
	case len(ours.events) == n+1 && theirs.err == ws.ErrProtocolStatusCodeUnknown:
		for _, code := range []string{"1012", "1013", "1014"} {
			if strings.HasPrefix(ours.events[n], "close "+code+" ") {
				return registeredCode
			}
		}
	}
	return ""
}

// closed reports whether a Close frame ended the events.
func closed(events []string) bool {
	return len(events) > 0 && strings.HasPrefix(events[len(events)-1], "close ")
}

// allMinimal reports whether every length in the input has its shortest form. The
// peer does not look at that.
func allMinimal(in []byte) bool {
	for _, s := range spans(in) {
		if s.payload > 0 && !s.minimal() {
			return false
		}
	}
	return true
}

// compareRefusal explains a refusal of ours behind n events that both found.
func compareRefusal(t *testing.T, in []byte, lim wsproto.Limits, ours, theirs outcome, n int) string {
	if len(ours.events) > n {
		return ""
	}
	// First what only we refuse, which is to be seen in the frame itself.
	at := failsBehind(t, in, lim)
	frames, f := 0, span{start: at - 1} // data frames of the message in front, and the frame refused
	for _, s := range spans(in) {
		if s.start >= at-1 {
			break
		}
		if f = s; f.payload == 0 || f.payload+int(min(f.length, 1<<30)) >= at {
			break // it is this one
		}
		if f.b0&0x08 == 0 {
			frames++
			if f.b0&fin != 0 {
				frames = 0
			}
		}
		f = span{start: at - 1}
	}
	switch {
	case ours.code == 1008 && ours.where == "":
		if f.start == at-1 && frames == lim.MaxFragments {
			return manyFragments
		}
		return ""
	case ours.code == 1002 && ours.where == "5.2" && at == f.lengthEnd && !f.minimal():
		return notShortest
	case ours.code == 1002 && ours.where == "5.5" && at == f.start+2 && f.form > 125:
		// With a large number, or before all of it has come, the peer refuses or waits.
		if f.payload == 0 || f.length <= 125 {
			return controlLong
		}
	case ours.code == 1002 && ours.where == "7.4" && len(theirs.events) == n+1:
		var code int
		if _, err := fmt.Sscanf(theirs.events[n], "close %d ", &code); err == nil && code >= 5000 {
			return highCode
		}
		return ""
	}
	if len(theirs.events) > n {
		return ""
	}
	if theirs.cut {
		theirs = runPeer(completeHeader(in), lim)
	}
	return compareReasons(ours, theirs, n)
}

// compareReasons compares the reasons of two refusals.
func compareReasons(ours, theirs outcome, n int) string {
	var protocol ws.ProtocolError
	want := 0
	switch {
	case len(theirs.events) > n:
	case theirs.err == wsutil.ErrInvalidUTF8:
		want = 1007
	case theirs.err == wsutil.ErrMessageTooLarge:
		want = 1009
	case theirs.err == ws.ErrProtocolInvalidUTF8:
		want = 1007
		if ours.where == "7.4" { // the code in front of the reason is bad as well
			want = 1002
		}
	case errors.As(theirs.err, &protocol), theirs.err == ws.ErrHeaderLengthMSB:
		want = 1002
		if theirs.err == ws.ErrProtocolStatusCodeUnknown && ours.where == "5.5.1" { // the reason is bad as well
			want = 1007
		}
	}
	if want == 0 || ours.code != want {
		return ""
	}
	return sameVerdict
}

// differentialLimits are small, so that inputs of a fuzzer reach them. A message
// may be as large as a control frame: the peer applies the limit to both.
func differentialLimits(seed uint64) wsproto.Limits {
	return wsproto.Limits{MaxMessage: 125 + int64(seed%1024), MaxFragments: 1 + int(seed/1024%16)}
}

// differential runs both and returns the difference.
func differential(t *testing.T, in []byte, seed uint64) string {
	lim := differentialLimits(seed)
	text := trace(t, [][]byte{in}, lim)
	for name, chunks := range splits(in, 2, rand.New(rand.NewPCG(seed, 6))) {
		if got := trace(t, chunks, lim); got != text {
			t.Fatalf("%s:\n%swhole:\n%s", name, got, text)
		}
	}
	ours, theirs := outcomeOf(text), runPeer(in, lim)
	found := compare(t, in, lim, ours, theirs)
	if found == "" {
		t.Fatalf("limits %+v, input % x\nours:   %q, status %d (§%s)\ntheirs: %q, %v, cut %v",
			lim, in, ours.events, ours.code, ours.where, theirs.events, theirs.err, theirs.cut)
	}
	return found
}

// seedOf returns a seed for the limits given.
func seedOf(maxMessage, maxFragments int) uint64 {
	return uint64(maxMessage-125) + 1024*uint64(maxFragments-1)
}

// longForm encodes a frame with a length in a form of that many octets.
func longForm(b0 byte, octets int, payload string) []byte {
	p := binary.BigEndian.AppendUint64(nil, uint64(len(payload)))[8-octets:]
	form := byte(126)
	if octets == 8 {
		form = 127
	}
	f := frame(b0, payload)
	body := f[len(f)-4-len(payload):]
	return cat([]byte{b0, 0x80 | form}, p, body)
}

var roomy = seedOf(1148, 16)

// differences shows each difference of the list, and what is close to it.
var differences = []struct {
	name string
	in   []byte
	seed uint64
	want string
}{
	{"empty_input", nil, roomy, sameVerdict},
	{"length_16_not_shortest", longForm(fin|opText, 2, "Hello"), roomy, notShortest},
	{"length_16_shortest", frame(fin|opText, long125), roomy, sameVerdict},
	{"length_64_not_shortest", longForm(fin|opBin, 8, long125), roomy, notShortest},
	{"length_64_not_shortest_and_cut", longForm(fin|opBin, 8, long125)[:10], roomy, notShortest},
	{"length_16_of_125", longForm(fin|opBin, 2, long125[:125]), roomy, notShortest},
	{"length_64_of_65535", longForm(fin|opBin, 8, strings.Repeat("x", 65535))[:10], roomy, notShortest},
	{"length_64_of_65536", longForm(fin|opBin, 8, strings.Repeat("x", 65536))[:10], roomy, sameVerdict},
	{"length_not_shortest_in_fragment", cat(frame(opText, "a"), longForm(fin|opCont, 2, "b")), roomy, notShortest},
	{"length_not_shortest_then_failure", cat(longForm(opText, 2, "a"), frame(fin|opText, "b")), roomy, notShortest},
	{"control_length_16", longForm(fin|opPing, 2, "p"), roomy, controlLong},
	{"control_length_64", longForm(fin|opPong, 8, ""), roomy, controlLong},
	{"control_length_16_cut", longForm(fin|opPing, 2, "p")[:2], roomy, controlLong},
	{"control_over_125", frame(fin|opPing, long125), roomy, sameVerdict},
	{"control_at_125", frame(fin|opPing, long125[:125]), roomy, sameVerdict},
	{"fragments_at_limit", inFragments(opText, "abc", 3), seedOf(1000, 3), sameVerdict},
	{"fragments_over_limit", inFragments(opText, "abcd", 4), seedOf(1000, 3), manyFragments},
	{"fragments_over_limit_first_octet", cat(inFragments(opBin, "abc", 3)[:2*7], frame(opCont, "c"), []byte{opCont}), seedOf(1000, 3), manyFragments},
	{"fragments_over_limit_then_failure", cat(frame(opText, "a"), frame(opCont, ""), frame(fin|opText, "b")), seedOf(1000, 2), sameVerdict},
	{"message_at_limit", inFragments(opText, long125[:125]+"x", 2), seedOf(126, 3), sameVerdict},
	{"message_over_limit", inFragments(opText, long125[:125]+"xy", 2), seedOf(126, 3), sameVerdict},
	{"message_over_limit_header_cut", head(fin|opBin, 1000)[:4], seedOf(999, 3), sameVerdict},
	{"message_of_63_bits", head(fin|opBin, 1<<63-1), roomy, sameVerdict},
	{"message_of_64_bits", head(fin|opBin, 1<<63), roomy, sameVerdict},
	{"close_999", frame(fin|opClose, closePayload(999, "")), roomy, sameVerdict},
	{"close_1004", frame(fin|opClose, closePayload(1004, "")), roomy, sameVerdict},
	{"close_1005", frame(fin|opClose, closePayload(1005, "")), roomy, sameVerdict},
	{"close_1006", frame(fin|opClose, closePayload(1006, "")), roomy, sameVerdict},
	{"close_empty", frame(fin|opClose, ""), roomy, sameVerdict},
	{"close_of_one_byte", frame(fin|opClose, "\x03"), roomy, sameVerdict},
	{"close_1011", frame(fin|opClose, closePayload(1011, "bye")), roomy, sameVerdict},
	{"close_1012", frame(fin|opClose, closePayload(1012, "bye")), roomy, registeredCode},
	{"close_1014", frame(fin|opClose, closePayload(1014, "")), roomy, registeredCode},
	{"close_1012_reason_not_UTF-8", frame(fin|opClose, closePayload(1012, "\xFF")), roomy, sameVerdict},
	{"close_1015", frame(fin|opClose, closePayload(1015, "")), roomy, sameVerdict},
	{"close_2999", frame(fin|opClose, closePayload(2999, "")), roomy, sameVerdict},
	{"close_3000", frame(fin|opClose, closePayload(3000, "")), roomy, sameVerdict},
	{"close_4999", frame(fin|opClose, closePayload(4999, "x")), roomy, sameVerdict},
	{"close_5000", frame(fin|opClose, closePayload(5000, "x")), roomy, highCode},
	{"close_65535", cat(frame(opText, "a"), frame(fin|opClose, closePayload(65535, "x"))), roomy, highCode},
	{"close_5000_reason_not_UTF-8", frame(fin|opClose, closePayload(5000, "\xFF")), roomy, sameVerdict},
	{"text_cut_inside_character", frame(fin|opText, "ab\xE2\x9C"), roomy, sameVerdict},
	{"text_bad_in_cut_frame", frame(fin|opText, "ab\xC0cdefgh")[:9], roomy, sameVerdict},
	{"text_bad_over_fragments", cat(frame(opText, "\xED"), frame(fin|opPing, "p"), frame(opCont, "\xA0"), []byte{fin | opCont}), roomy, sameVerdict},
	{"text_good_over_fragments", cat(frame(opText, "\xED"), frame(opCont, ""), frame(fin|opPing, "p"), frame(opCont, "\x9F"), frame(fin|opCont, "\xBF")), roomy, sameVerdict},
	{"first_octet_only", []byte{fin | rsv1 | opText}, roomy, sameVerdict},
	{"first_octet_of_continuation", []byte{opCont}, roomy, sameVerdict},
	{"unmasked", []byte{fin | opText, 5}, roomy, sameVerdict},
	{"unmasked_long_and_cut", []byte{fin | opText, 126}, roomy, sameVerdict},
}

func TestDifferential(t *testing.T) {
	shown := map[string]bool{}
	for _, d := range differences {
		t.Run(d.name, func(t *testing.T) {
			got := differential(t, d.in, d.seed)
			if shown[got] = true; got != d.want {
				t.Errorf("%s; want %s", got, d.want)
			}
		})
	}
	for _, d := range []string{notShortest, controlLong, manyFragments, registeredCode, highCode} {
		if !shown[d] {
			t.Errorf("no example: %s", d)
		}
	}
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) { differential(t, v.in, roomy) })
	}
}
