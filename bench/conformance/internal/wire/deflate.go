package wire

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"wsgateway/internal/inflate"
)

// tail is what RFC 7692 section 7.2.1 has a sender remove from a message.
var tail = []byte{0x00, 0x00, 0xFF, 0xFF}

// Deflate is what a server has answered about permessage-deflate.
type Deflate struct {
	ServerNoContext, ClientNoContext bool
	ServerBits, ClientBits           int // window bits; 0 if the answer has none
}

// ServerWindow is the size in bytes of the window that the server may use.
func (d *Deflate) ServerWindow() int {
	if d.ServerBits == 0 {
		return window
	}
	return 1 << d.ServerBits
}

// ParseDeflate judges the parameters of an answer by RFC 7692 section 7.1.
func ParseDeflate(params []Param) (*Deflate, error) {
	d := &Deflate{}
	seen := make(map[string]bool)
	for _, p := range params {
		if seen[p.Name] {
			return nil, fmt.Errorf("%s twice in the answer", p.Name)
		}
		seen[p.Name] = true
		flag, bits := (*bool)(nil), (*int)(nil)
		switch p.Name {
		case "server_no_context_takeover":
			flag = &d.ServerNoContext
		case "client_no_context_takeover":
			flag = &d.ClientNoContext
		case "server_max_window_bits":
			bits = &d.ServerBits
		case "client_max_window_bits":
			bits = &d.ClientBits
		default:
			return nil, fmt.Errorf("parameter %s in the answer", p.Name)
		}
		if flag != nil {
			if p.HasValue {
				return nil, fmt.Errorf("%s with a value in the answer", p.Name)
			}
			*flag = true
			continue
		}
		n, err := strconv.Atoi(p.Value)
		if err != nil || n < 8 || n > 15 || strconv.Itoa(n) != p.Value {
			return nil, fmt.Errorf("%s=%s in the answer", p.Name, p.Value)
		}
		*bits = n
	}
	return d, nil
}

// Deflater compresses messages. With a window smaller than 32 KiB it refers to
// nothing, as compress/flate has no smaller window.
type Deflater struct {
	takeover bool
	level    int
	w        *flate.Writer
	out      bytes.Buffer
}

// NewDeflater returns a compressor that may use what d allows the client.
func NewDeflater(d *Deflate) *Deflater {
	level := flate.DefaultCompression
	if d.ClientBits != 0 && d.ClientBits < 15 {
		level = flate.HuffmanOnly
	}
	return &Deflater{takeover: !d.ClientNoContext, level: level}
}

// Message compresses p as a message, without the tail.
func (d *Deflater) Message(p []byte) []byte { return bytes.TrimSuffix(d.Flushed(p), tail) }

// Flushed is Message with the tail left in.
func (d *Deflater) Flushed(p []byte) []byte {
	d.out.Reset()
	if d.w == nil || !d.takeover {
		d.w, _ = flate.NewWriter(&d.out, d.level) // no error: the level is a constant
	}
	_, _ = d.w.Write(p) // to memory
	_ = d.w.Flush()
	return bytes.Clone(d.out.Bytes())
}

// window is the largest distance a deflate stream can refer back.
const window = 32 << 10

// Inflater inflates the messages of a server.
type Inflater struct {
	Takeover bool // the server may refer to earlier messages
	Window   int  // bytes, 0 for 32 KiB; a reference farther back is an error
	dict     []byte
}

// Message inflates one message.
func (i *Inflater) Message(p []byte) ([]byte, error) {
	out, err := i.inflate(p)
	if err != nil {
		return nil, err
	}
	if i.Takeover {
		i.dict = append(i.dict, out...)
		i.dict = i.dict[max(0, len(i.dict)-window):]
	}
	return out, nil
}

func (i *Inflater) inflate(p []byte) ([]byte, error) {
	if i.Window > 0 && i.Window < window { // compress/flate has the largest window only
		return inflate.Stream(slices.Concat(p, tail), i.dict, i.Window)
	}
	// The tail, and an empty last block so that the reader finds an end.
	in := io.MultiReader(bytes.NewReader(p), bytes.NewReader(tail), bytes.NewReader([]byte{1, 0, 0, 0xFF, 0xFF}))
	out, err := io.ReadAll(io.LimitReader(flate.NewReaderDict(in, i.dict), maxReceived))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return out, nil
}

// Bits writes a deflate stream bit by bit, for streams no compressor makes.
type Bits struct {
	out  []byte
	acc  uint32
	have uint
}

// Raw appends n bits of v, lowest first.
func (b *Bits) Raw(v uint32, n uint) *Bits {
	b.acc |= v << b.have
	for b.have += n; b.have >= 8; b.have -= 8 {
		b.out = append(b.out, byte(b.acc))
		b.acc >>= 8
	}
	return b
}

// huff appends a Huffman code, highest bit first.
func (b *Bits) huff(v uint32, n uint) {
	for ; n > 0; n-- {
		b.Raw(v>>(n-1)&1, 1)
	}
}

// Fixed begins a block with fixed Huffman codes.
func (b *Bits) Fixed(final bool) *Bits {
	if final {
		return b.Raw(0b011, 3)
	}
	return b.Raw(0b010, 3)
}

// Literals appends bytes to a block with fixed codes.
func (b *Bits) Literals(p []byte) *Bits {
	for _, c := range p {
		if c < 144 {
			b.huff(0x30+uint32(c), 8)
		} else {
			b.huff(0x190+uint32(c)-144, 9)
		}
	}
	return b
}

// Match appends a copy of three bytes from a distance to a block with fixed codes.
func (b *Bits) Match(distance int) *Bits {
	b.huff(1, 7) // length 3
	code, extra, base := distanceCode(distance)
	b.huff(uint32(code), 5)
	return b.Raw(uint32(distance-base), extra)
}

func distanceCode(distance int) (code int, extra uint, base int) {
	base = 1
	for code = range 30 {
		extra = uint(max(0, code/2-1))
		if distance < base+1<<extra {
			return code, extra, base
		}
		base += 1 << extra
	}
	return 29, 13, 24577
}

// End ends a block with fixed codes.
func (b *Bits) End() *Bits { b.huff(0, 7); return b }

// Stored appends a block without compression.
func (b *Bits) Stored(p []byte, final bool) *Bits {
	if final {
		b.Raw(1, 3)
	} else {
		b.Raw(0, 3)
	}
	b.align()
	n := len(p)
	b.out = append(b.out, byte(n), byte(n>>8), ^byte(n), ^byte(n>>8))
	b.out = append(b.out, p...)
	return b
}

func (b *Bits) align() {
	if b.have > 0 {
		b.Raw(0, 8-b.have)
	}
}

// Message ends the stream as RFC 7692 section 7.2.1 asks: with an empty stored
// block, whose last four bytes are left out.
func (b *Bits) Message() []byte {
	b.Raw(0, 3)
	b.align()
	return b.out
}

// Bytes is the stream so far, filled up to a byte.
func (b *Bits) Bytes() []byte {
	b.align()
	return b.out
}
