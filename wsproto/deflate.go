package wsproto

import "github.com/klauspost/compress/flate"

// deflateExtension is the name of permessage-deflate (RFC 7692 §7).
const deflateExtension = "permessage-deflate"

// What accepts an offer (RFC 7692 §7.1). Neither side carries a window from one message to the
// next: it would cost a connection hundreds of kilobytes. The second one answers an offer that
// names server_max_window_bits, which has to be answered (§7.1.2.1).
const (
	deflateAnswer       = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	deflateAnswerWindow = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15\r\n"
)

// OffersDeflate reports whether the client offers permessage-deflate on terms that can be met.
func (r *Request) OffersDeflate() bool { return r.deflateOffer() != "" }

// deflateOffer looks for the first offer of permessage-deflate that can be met, and returns the
// header line that accepts it, or "". An offer that breaks RFC 7692, or asks for what we
// cannot do, is declined by passing over it (§5.1, §7.1).
func (r *Request) deflateOffer() string {
	for v := range r.each(fieldExtensions) {
		for {
			var e []byte
			if e, v = nextExtension(v); len(e) == 0 {
				break
			}
			name, params := cutName(e)
			if string(name) != deflateExtension {
				continue
			}
			if answer := acceptDeflate(params); answer != "" {
				return answer
			}
		}
	}
	return ""
}

// The parameters of permessage-deflate.
const (
	serverNoTakeover = 1 << iota
	clientNoTakeover
	serverWindow
	clientWindow
)

// acceptDeflate judges the parameters of one offer. Its grammar has been checked.
func acceptDeflate(params []byte) string {
	seen := 0
	for len(params) > 0 {
		var name, value []byte
		var scratch [8]byte
		name, value, params = nextParam(params, scratch[:0])
		which, ok := 0, false
		switch string(name) {
		case "server_no_context_takeover":
			which, ok = serverNoTakeover, value == nil
		case "client_no_context_takeover":
			which, ok = clientNoTakeover, value == nil
		case "server_max_window_bits":
			// What klauspost/compress writes needs a window of 32 KiB.
			which, ok = serverWindow, windowBits(value) == 15
		case "client_max_window_bits":
			which, ok = clientWindow, value == nil || windowBits(value) > 0
		}
		if !ok || seen&which != 0 {
			return ""
		}
		seen |= which
	}
	if seen&serverWindow != 0 {
		return deflateAnswerWindow
	}
	return deflateAnswer
}

// windowBits returns the value of a parameter of that kind: 8 to 15, decimal, without leading
// zeros (RFC 7692 §7.1.2). It is 0 for anything else.
func windowBits(v []byte) int {
	switch {
	case len(v) == 1 && (v[0] == '8' || v[0] == '9'):
		return int(v[0] - '0')
	case len(v) == 2 && v[0] == '1' && '0' <= v[1] && v[1] <= '5':
		return 10 + int(v[1]-'0')
	}
	return 0
}

// Deflater lends compressors, which are large, to any goroutine, and bounds how many there are.
type Deflater struct {
	free  chan *Compressor // nil elements have not been made yet
	level int
}

// NewDeflater returns a Deflater of at most n compressors, n > 0. The level is that of
// klauspost/compress, 1 (fastest) to 9.
func NewDeflater(n, level int) *Deflater {
	d := &Deflater{free: make(chan *Compressor, n), level: level}
	for range n {
		d.free <- nil
	}
	return d
}

// Take returns a compressor, to be given back with Put, or nil when all are in use: then the
// message is better sent as it is, which RFC 7692 §6 allows for every message, than kept
// waiting.
func (d *Deflater) Take() *Compressor {
	select {
	case c := <-d.free:
		if c == nil {
			c = newCompressor(d.level)
		}
		return c
	default:
		return nil
	}
}

// Put gives a compressor back. What it returned last is not valid any more.
func (d *Deflater) Put(c *Compressor) {
	if cap(c.out) > keepScratch {
		c.out = nil
	}
	d.free <- c
}

// keepScratch is the size in bytes up to which buffers stay with their owner.
const keepScratch = 64 << 10

// Compressor compresses messages, one at a time, each for itself.
type Compressor struct {
	w     *flate.Writer
	out   []byte
	limit int
}

func newCompressor(level int) *Compressor {
	c := &Compressor{}
	w, err := flate.NewWriter(c, level)
	if err != nil {
		panic("wsproto: " + err.Error()) // the level is out of range
	}
	c.w = w
	return c
}

// Write implements io.Writer for the writer of DEFLATE.
func (c *Compressor) Write(p []byte) (int, error) {
	if len(c.out)+len(p) > c.limit {
		return 0, errNoGain
	}
	c.out = append(c.out, p...)
	return len(p), nil
}

type noGain struct{}

func (noGain) Error() string { return "wsproto: compression does not pay" }

var errNoGain error = noGain{}

// Compress returns the payload that carries p with RSV1 set (RFC 7692 §7.2.1): DEFLATE blocks,
// without the four octets of the empty block they end with. It is valid until the next call or
// Put. It is nil if the result would not be shorter than p: then p is to be sent as it is.
func (c *Compressor) Compress(p []byte) []byte {
	c.out, c.limit = c.out[:0], len(p)+len(deflateTail)-1
	c.w.Reset(c)
	if _, err := c.w.Write(p); err != nil {
		return nil
	}
	if err := c.w.Flush(); err != nil {
		return nil
	}
	return c.out[:len(c.out)-len(deflateTail)]
}

// deflateTail is the end of an empty stored block that is byte-aligned, without which compressed
// messages are sent (RFC 7692 §7.2.1).
const deflateTail = "\x00\x00\xff\xff"

// AppendDeflatedHeader appends the header of a message whose payload of n bytes was made by
// Compress, in one frame. It panics if n is negative or op is not that of a data message.
func AppendDeflatedHeader(dst []byte, op Opcode, n int) []byte {
	if op != OpText && op != OpBinary {
		panic("wsproto: illegal frame header")
	}
	at := len(dst)
	dst = AppendHeader(dst, true, op, n)
	dst[at] |= rsv1Bit
	return dst
}
