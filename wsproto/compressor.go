package wsproto

import (
	"sync"

	"github.com/klauspost/compress/flate"
)

// keepScratch is the size in bytes up to which buffers stay with their owner.
const keepScratch = 64 << 10

// staleTakes is after how many calls of Take a compressor counts as out of use. Another one, with
// another window, may then take its place. Making one costs as much as compressing some ten
// messages, so clients that ask for different windows must not replace each other's compressors
// with every message.
const staleTakes = 16

// Deflater lends compressors, which are large, and bounds how many there are. All methods may be
// called from any goroutine.
type Deflater struct {
	level int
	limit int

	mu    sync.Mutex
	made  int
	takes uint64
	idle  [MaxWindowBits + 1][]*Compressor // by the size of their window
}

// NewDeflater returns a Deflater of at most n compressors, for windows of all sizes together; n >
// 0. Each takes about a megabyte. The level is that of klauspost/compress, from 1 (fastest) to 9.
// It applies to the largest window. Smaller windows have one level only.
func NewDeflater(n, level int) *Deflater { return &Deflater{limit: n, level: level} }

// Take returns a compressor whose window has 1<<windowBits bytes or fewer. The caller gives it back
// with Put. Take returns nil if no such compressor is free. The caller then sends the message
// uncompressed, which RFC 7692 §6 allows for every message.
func (d *Deflater) Take(windowBits int) *Compressor {
	c, create := d.take(windowBits)
	if create {
		return newCompressor(d.level, windowBits) // without the lock: it clears a megabyte
	}
	return c
}

// take returns an idle compressor, or whether a new one is to be made, or neither.
func (d *Deflater) take(windowBits int) (c *Compressor, create bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.takes++
	if c = d.pop(windowBits); c != nil {
		c.used = d.takes
		return c, false
	}
	if d.made < d.limit {
		d.made++
		return nil, true
	}
	if bits := d.stalest(); bits > 0 {
		d.idle[bits] = dropFirst(d.idle[bits])
		return nil, true
	}
	// What refers back less far suits a larger window too.
	for bits := windowBits - 1; bits >= MinWindowBits; bits-- {
		if c = d.pop(bits); c != nil {
			return c, false
		}
	}
	return nil, false
}

// pop returns the idle compressor of that size that was used last, or nil.
func (d *Deflater) pop(bits int) *Compressor {
	idle := d.idle[bits]
	if len(idle) == 0 {
		return nil
	}
	c := idle[len(idle)-1]
	idle[len(idle)-1] = nil
	d.idle[bits] = idle[:len(idle)-1]
	return c
}

// stalest returns the size of the window whose first idle compressor has been out of use for the
// longest time, or 0 if all have been in use lately.
func (d *Deflater) stalest() (bits int) {
	oldest := d.takes - min(d.takes, staleTakes)
	for b, idle := range d.idle {
		if len(idle) > 0 && idle[0].used < oldest {
			bits, oldest = b, idle[0].used
		}
	}
	return bits
}

func dropFirst(list []*Compressor) []*Compressor {
	copy(list, list[1:])
	list[len(list)-1] = nil
	return list[:len(list)-1]
}

// Put gives a compressor back. What its Compress returned is then no longer valid.
func (d *Deflater) Put(c *Compressor) {
	if cap(c.out) > keepScratch {
		c.out = nil
	}
	d.mu.Lock()
	d.idle[c.windowBits] = append(d.idle[c.windowBits], c)
	d.mu.Unlock()
}

// Compressor compresses messages, one at a time, each by itself.
type Compressor struct {
	w          *flate.Writer
	out        []byte
	limit      int
	windowBits int
	used       uint64 // Deflater.takes when it was last taken for its own size
}

func newCompressor(level, windowBits int) *Compressor {
	c := &Compressor{windowBits: windowBits}
	var err error
	if windowBits == MaxWindowBits {
		c.w, err = flate.NewWriter(c, level)
	} else {
		c.w, err = flate.NewWriterWindow(c, 1<<windowBits)
	}
	if err != nil {
		panic("wsproto: " + err.Error()) // the level or the window is out of range
	}
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
// without the last four octets of the empty block at their end. The payload is valid until the next
// call or Put. It is nil if it would not be shorter than p: the caller then sends p as it is.
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
