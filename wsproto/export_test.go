package wsproto

// TextState gives the tests the incremental UTF-8 validator by itself.
type TextState struct{ s textState }

func (t *TextState) Feed(p []byte) bool { return t.s.feed(p) }
func (t *TextState) Complete() bool     { return t.s.complete() }

// Normalised reports whether the head goes to gobwas/ws as a rewritten copy.
func (r *Request) Normalised() bool { return r.normalise }

// Held returns the capacity of the assembly buffer in bytes.
func (d *Decoder) Held() int { return cap(d.buf) }

// WindowBits returns the size of the compressor's window, as a power of two in bytes.
func (c *Compressor) WindowBits() int { return c.windowBits }
