package wsproto

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

const (
	// segmentSize is the size in bytes of the pieces in which a message is inflated. One that
	// fits into the first needs no other memory.
	segmentSize = 64 << 10
	// maxStreams bounds the DEFLATE streams of one message (BFINAL set, RFC 7692 §7.2.3.4):
	// beginning one costs far more than the two bytes it may consist of.
	maxStreams = 128
	// maxBarren is how many bytes may come without a content that is half as long. Blocks without
	// any cost a hundred times what a byte of content does.
	maxBarren = 128 << 10
	// maxWindow is the distance in bytes that DEFLATE can refer back (RFC 1951 §2).
	maxWindow = 32 << 10
)

// Inflater decompresses messages, one at a time, each by itself. It accepts every size of window.
// It serves any number of connections, but one goroutine at a time.
type Inflater struct {
	src   source
	in    *bufio.Reader
	flate io.ReadCloser
	first []byte   // the first segment
	more  [][]byte // further ones, of the message under way
	dict  []byte
}

// NewInflater returns an Inflater. It takes some 110 KiB of memory.
func NewInflater() *Inflater {
	in := &Inflater{first: make([]byte, 0, segmentSize)}
	in.in = bufio.NewReader(&in.src)
	in.flate = flate.NewReader(in.in)
	return in
}

// source yields a payload, and then the end that the sender has left out, with a final block
// behind it that makes the reader of DEFLATE stop.
type source struct {
	payload []byte
	tail    string
	given   int64 // bytes of payload read
	content int64 // bytes of the message found
}

const inflateTail = deflateTail + "\x01\x00\x00\xff\xff"

// Read implements io.Reader.
func (s *source) Read(p []byte) (n int, err error) {
	if len(s.payload) > 0 {
		if s.given > 2*s.content+maxBarren {
			return 0, errBarren
		}
		n = copy(p, s.payload)
		s.payload = s.payload[n:]
		s.given += int64(n)
		return n, nil
	}
	if len(s.tail) == 0 {
		return 0, io.EOF
	}
	n = copy(p, s.tail)
	s.tail = s.tail[n:]
	return n, nil
}

// inflate decompresses a whole message. It stops as soon as there are more than limit bytes or,
// of a text, the first octet that cannot be UTF-8. The result is a view into the Inflater, valid
// until the next call, or, if owned, a buffer of bufs. While it works it holds, beside the
// Inflater's own memory, no more than the message found so far and one segment; a message longer
// than the first segment is then copied into one piece, which takes its size once more.
func (in *Inflater) inflate(p []byte, text bool, limit int64, bufs Buffers) (out []byte, owned bool, err error) {
	if len(p) == 0 { // strictly there is a block header at least; others send this too
		return nil, false, nil
	}
	in.src = source{payload: p, tail: inflateTail}
	in.in.Reset(&in.src)
	if err := in.flate.(flate.Resetter).Reset(in.in, nil); err != nil {
		return nil, false, errInflate
	}
	in.first = in.first[:0]
	in.free(bufs) // a panic may have left something behind
	total, err := in.segments(text, limit, bufs)
	in.src = source{}
	if err == nil && len(in.more) > 0 {
		out, err = bufs.Grow(nil, int(total))
		owned = err == nil
	} else {
		out = in.first
	}
	if owned {
		out = append(out, in.first...)
	}
	if owned {
		for _, seg := range in.more {
			out = append(out, seg...)
		}
	}
	in.free(bufs)
	if err != nil {
		return nil, false, err
	}
	return out, owned, nil
}

// free gives the further segments back.
func (in *Inflater) free(bufs Buffers) {
	for i, seg := range in.more {
		in.more[i] = nil
		bufs.Free(seg)
	}
	in.more = in.more[:0]
}

// segments fills segments until the message ends.
func (in *Inflater) segments(text bool, limit int64, bufs Buffers) (total int64, err error) {
	var state textState
	seg := &in.first
	for streams := 1; ; {
		if len(*seg) == cap(*seg) {
			next, err := bufs.Grow(nil, segmentSize)
			if err != nil {
				return total, err
			}
			in.more = append(in.more, next)
			seg = &in.more[len(in.more)-1]
		}
		have := len(*seg)
		n, err := in.flate.Read((*seg)[have:cap(*seg)])
		*seg = (*seg)[:have+n]
		total += int64(n)
		in.src.content = total
		switch {
		case total > limit:
			return total, errTooBig
		case text && !state.feed((*seg)[have:]):
			return total, errText
		case err == nil:
		case errors.Is(err, errBarren):
			return total, errBarren
		case err != io.EOF:
			return total, errInflate
		case in.in.Buffered()+len(in.src.payload)+len(in.src.tail) <= len(inflateTail):
			if !state.complete() {
				return total, errText
			}
			return total, nil
		case streams == maxStreams:
			return total, errStreams
		default: // a final block that was not the last one
			streams++
			if err := in.flate.(flate.Resetter).Reset(in.in, in.window()); err != nil {
				return total, errInflate
			}
		}
	}
}

// window returns what of the message found so far may still be referred to.
func (in *Inflater) window() []byte {
	in.dict = in.dict[:0]
	segs := in.more
	if len(segs) < 2 {
		in.dict = append(in.dict, last(in.first)...)
	} else {
		segs = segs[len(segs)-2:]
	}
	for _, seg := range segs {
		in.dict = append(in.dict, last(seg)...)
	}
	return last(in.dict)
}

// last returns the last bytes of p that are within a window.
func last(p []byte) []byte { return p[max(0, len(p)-maxWindow):] }
