package wsproto

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Limits bounds what a peer may send, and says what it has agreed on with the server.
type Limits struct {
	MaxMessage int64 // payload bytes of one message, after decompression; greater than zero
	// MaxFragments is how many frames one message may have, empty ones included; greater than zero.
	// A compressed message may have one more for every 64 bytes: some libraries send each piece
	// that their compressor yields in a frame of its own.
	MaxFragments int
	// Only is OpText or OpBinary if no other type of message is accepted. The zero value accepts
	// both.
	Only Opcode
	// Inflater decompresses messages. It is nil unless permessage-deflate has been agreed on. The
	// caller of Next lends it for the call, and may lend another one for the next.
	Inflater *Inflater
}

// maxWire returns how many payload bytes a message may have on the wire. What does not compress
// grows: in the worst case, with a small window and fixed codes, by an eighth and some bytes.
func (l *Limits) maxWire(deflated bool) int64 {
	if !deflated {
		return l.MaxMessage
	}
	return l.MaxMessage + min(l.MaxMessage/8+64, math.MaxInt64-l.MaxMessage)
}

// Kind says what an Event is.
type Kind uint8

// The kinds of events.
const (
	NeedMore Kind = iota // no event: Next has consumed all bytes, and needs more
	Message              // a whole data message
	Ping
	Pong
	Close // the peer's Close frame: the last event of a connection
)

// Event is what Decoder.Next found.
type Event struct {
	Kind   Kind
	Opcode Opcode     // of a Message: OpText or OpBinary
	Code   StatusCode // of a Close: the peer's code, StatusNoStatus if the frame was empty

	// Deflated is the number of payload bytes on the wire if a Message was compressed, else 0.
	Deflated int

	// Payload is the message or the payload of a control frame, unmasked. Of a Close it is the
	// reason. It is a view into the bytes given to Next, or into memory of the decoder or its
	// Inflater. It is valid until the next call of Next or Release, or until another decoder uses
	// the Inflater.
	Payload []byte
}

// Buffers lends memory for incomplete messages, and may refuse. A Decoder has one buffer at a time,
// and more only while it decompresses a message.
type Buffers interface {
	// Grow returns a buffer with the content and the length of b, and with capacity for at least n
	// more bytes. It takes ownership of b, which may be nil. The decoder owns what Grow returns.
	//
	// An error means that the memory budget is spent. Grow then returns b itself, which the decoder
	// gives to Free, or nil if it has freed b.
	Grow(b []byte, n int) ([]byte, error)
	// Free takes back a buffer that Grow returned.
	Free(b []byte)
}

// Decoder turns the bytes of a client into messages and control frames. The zero value is at rest:
// at the boundary of a frame, with no message begun. One goroutine at a time may use a Decoder.
//
// A Decoder judges as early as the bytes allow. It judges a frame by its header, before its payload
// has come, and text at the first octet that cannot be UTF-8.
//
// A Decoder holds at most an incomplete header, the payload of one control frame, and the message
// under way. The message is in a buffer that grows with the bytes received, not with the length
// that a header declares. A frame that lies complete in the input is not copied, and costs no
// allocation.
type Decoder struct {
	buf  []byte // payload of the message under way, or of the one just delivered
	left int64  // payload bytes of the frame under way that have not come

	frames int       // of the message under way
	text   textState // of the message under way
	op     Opcode    // of the message under way; OpContinuation is none

	deflated bool // the message under way is compressed

	frameOp Opcode  // of the frame under way
	fin     bool    // of the frame under way
	mask    [4]byte // of the frame under way
	maskPos uint8   // of its next payload byte

	inFrame   bool // a header is complete and its payload is not
	delivered bool // buf is an event's payload, to be freed at the next call
	done      bool // a Close frame or an error was reported

	progress Progress

	nhead, nctl uint8
	head        [maxHeader]byte
	ctl         [MaxControlPayload]byte
}

// Progress counts what a Decoder has begun and taken since it was the zero value. The counts wrap
// around. Compare two of them to see whether something has happened in between.
type Progress struct {
	Frames   uint32 // frames of which at least a byte has come
	Messages uint32 // data messages whose first header came without its whole payload
	Tiny     uint32 // fragments of less than TinyFragment bytes; not all of those of compressed messages
	Bytes    uint64 // payload bytes taken into the decoder's own memory
}

// TinyFragment is the size in bytes below which the payload of a fragment is tiny. Such fragments
// cost the receiver more than the sender.
const TinyFragment = 128

// Progress returns the counts.
func (d *Decoder) Progress() Progress { return d.progress }

// Next consumes bytes from the front of p, and may overwrite them: it unmasks in place. It returns
// the first event and how many bytes it has consumed. With NeedMore these are all. An error is a
// *ProtocolError, or the error of Buffers.Grow unchanged.
//
// Call Next with the bytes that it has not consumed until it returns NeedMore. An empty p is
// allowed. It frees the buffer of the message that was returned before.
//
// After an error or a Close the decoder is done. RFC 6455 forbids to process what follows (§7.1.7,
// §5.5.1): Next consumes all bytes and returns NeedMore.
func (d *Decoder) Next(p []byte, lim *Limits, bufs Buffers) (Event, int, error) {
	if d.done {
		return Event{}, len(p), nil
	}
	if d.delivered {
		d.freeBuffer(bufs)
	}
	n := 0
	for {
		if !d.inFrame {
			h, size, err := d.header(p[n:], lim)
			if err != nil {
				return d.fail(err, len(p), bufs)
			}
			n += size
			if h.size == 0 {
				return Event{}, n, nil
			}
			if h.whole(p[n:]) && (h.op.IsControl() || h.fin && len(d.buf) == 0) {
				payload := p[n : n+int(h.length) : n+int(h.length)]
				n += len(payload)
				ws.Cipher(payload, h.mask, 0)
				return d.finishInPlace(&h, payload, n, len(p), lim, bufs)
			}
			d.begin(&h)
		}

		chunk := p[n:]
		if int64(len(chunk)) > d.left {
			chunk = chunk[:d.left]
		}
		n += len(chunk)
		if err := d.take(chunk, lim, bufs); err != nil {
			return d.fail(err, len(p), bufs)
		}
		if d.left > 0 {
			return Event{}, n, nil
		}
		d.inFrame = false
		switch {
		case d.frameOp.IsControl():
			return d.control(d.frameOp, d.ctl[:d.nctl], n, len(p), bufs)
		case !d.fin:
			continue
		case !d.text.complete():
			return d.fail(errText, len(p), bufs)
		}
		ev := Event{Kind: Message, Opcode: d.op, Payload: d.buf}
		if d.deflated {
			wire := d.buf
			if err := d.inflate(&ev, wire, lim, bufs); err != nil {
				return d.fail(err, len(p), bufs)
			}
		}
		d.endMessage()
		d.delivered = d.buf != nil
		return ev, n, nil
	}
}

// inflate replaces the payload of a compressed message. The buffer that held it is given back.
func (d *Decoder) inflate(ev *Event, wire []byte, lim *Limits, bufs Buffers) error {
	out, owned, err := lim.Inflater.inflate(wire, ev.Opcode == OpText, lim.MaxMessage, bufs)
	if err != nil {
		return err
	}
	d.freeBuffer(bufs)
	ev.Payload, ev.Deflated = out, len(wire)
	if owned {
		d.buf, d.delivered = out, true
	}
	return nil
}

// begin keeps the header of a frame whose payload goes into our own memory.
func (d *Decoder) begin(h *header) {
	d.inFrame = true
	d.frameOp, d.fin, d.mask, d.maskPos = h.op, h.fin, h.mask, 0
	d.left = h.length
	if h.op.IsControl() {
		d.nctl = 0
		return
	}
	d.frames++
	d.countTiny(h)
	if h.op != OpContinuation {
		d.op, d.deflated = h.op, h.rsv1
		d.progress.Messages++
	}
}

// countTiny counts a tiny part of a fragmented message. Those of a compressed one may be tiny,
// see Limits.MaxFragments, as long as there are larger ones between them.
func (d *Decoder) countTiny(h *header) {
	if h.length >= TinyFragment || h.fin && h.op != OpContinuation {
		return
	}
	if (h.rsv1 || d.deflated) && h.length > 0 && d.frames <= 8+len(d.buf)/64 {
		return
	}
	d.progress.Tiny++
}

// take unmasks a part of the payload of the frame under way and keeps it.
func (d *Decoder) take(chunk []byte, lim *Limits, bufs Buffers) error {
	if len(chunk) == 0 {
		return nil
	}
	ws.Cipher(chunk, d.mask, int(d.maskPos))
	d.maskPos = uint8((int(d.maskPos) + len(chunk)) & 3)
	left := d.left
	d.left -= int64(len(chunk))
	d.progress.Bytes += uint64(len(chunk))
	if d.frameOp.IsControl() {
		d.nctl += uint8(copy(d.ctl[d.nctl:], chunk))
		return nil
	}
	if d.op == OpText && !d.deflated && !d.text.feed(chunk) {
		return errText
	}
	if cap(d.buf)-len(d.buf) < len(chunk) {
		// Doubling keeps the sum of all copies linear in the size of the
		// message; there is no reason to go beyond what may still come.
		rest := left
		if !d.fin {
			rest = lim.maxWire(d.deflated) - int64(len(d.buf))
		}
		room := max(int64(len(chunk)), min(int64(len(d.buf)), rest))
		var err error
		if d.buf, err = bufs.Grow(d.buf, int(room)); err != nil {
			return err
		}
	}
	d.buf = append(d.buf, chunk...)
	return nil
}

// finishInPlace ends a frame whose payload lies complete in the input: a control
// frame, or a final frame with no payload byte of its message before it.
func (d *Decoder) finishInPlace(h *header, payload []byte, n, all int, lim *Limits, bufs Buffers) (Event, int, error) {
	op, deflated := h.op, h.rsv1
	if op.IsControl() {
		return d.control(op, payload, n, all, bufs)
	}
	d.countTiny(h)
	if op == OpContinuation {
		op, deflated = d.op, d.deflated
	}
	ev := Event{Kind: Message, Opcode: op, Payload: payload}
	if deflated {
		if err := d.inflate(&ev, payload, lim, bufs); err != nil {
			return d.fail(err, all, bufs)
		}
	} else if op == OpText && !utf8.Valid(payload) {
		return d.fail(errText, all, bufs)
	}
	d.endMessage()
	return ev, n, nil
}

// control turns a complete control frame into an event.
func (d *Decoder) control(op Opcode, payload []byte, n, all int, bufs Buffers) (Event, int, error) {
	switch op {
	case OpPing:
		return Event{Kind: Ping, Payload: payload}, n, nil
	case OpPong:
		return Event{Kind: Pong, Payload: payload}, n, nil
	}
	code, reason, err := parseClose(payload)
	if err != nil {
		return d.fail(err, all, bufs)
	}
	d.finish(bufs)
	return Event{Kind: Close, Code: code, Payload: reason}, n, nil
}

// parseClose splits the payload of a Close frame (RFC 6455 §5.5.1).
func parseClose(payload []byte) (code StatusCode, reason []byte, err error) {
	switch len(payload) {
	case 0:
		return StatusNoStatus, nil, nil
	case 1:
		return 0, nil, errCloseShort
	}
	code, reason = StatusCode(binary.BigEndian.Uint16(payload)), payload[2:]
	if !code.Receivable() {
		return 0, nil, errCloseCode
	}
	if !utf8.Valid(reason) {
		return 0, nil, errCloseReason
	}
	return code, reason, nil
}

// fail ends the decoder with an error and discards the rest of the input.
func (d *Decoder) fail(err error, all int, bufs Buffers) (Event, int, error) {
	d.finish(bufs)
	return Event{}, all, err
}

// finish gives up the message under way. Payloads in d.ctl stay readable.
func (d *Decoder) finish(bufs Buffers) {
	d.freeBuffer(bufs)
	d.endMessage()
	d.done, d.inFrame, d.left, d.nhead = true, false, 0, 0
}

// endMessage forgets the message under way, but for its buffer.
func (d *Decoder) endMessage() {
	d.frames, d.op, d.deflated, d.text = 0, OpContinuation, false, textState{}
}

func (d *Decoder) freeBuffer(bufs Buffers) {
	if d.buf != nil {
		bufs.Free(d.buf)
		d.buf = nil
	}
	d.delivered = false
}

// AtRest reports whether the decoder holds nothing. The caller may then drop it, and use the zero
// value when bytes arrive. AtRest is false once the decoder is done.
func (d *Decoder) AtRest() bool {
	return !d.done && d.buf == nil && !d.MidFrame() && !d.MidMessage()
}

// MidFrame reports whether a frame has begun and is not complete.
func (d *Decoder) MidFrame() bool { return d.inFrame || d.nhead > 0 }

// MidMessage reports whether a data message has begun and is not complete. It has begun when the
// header of its first frame is complete.
func (d *Decoder) MidMessage() bool { return d.op != OpContinuation }

// Release frees what the decoder holds and makes it the zero value.
func (d *Decoder) Release(bufs Buffers) {
	d.freeBuffer(bufs)
	*d = Decoder{}
}
