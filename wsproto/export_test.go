package wsproto

// TextState gives the tests the incremental UTF-8 validator by itself.
type TextState struct{ s textState }

func (t *TextState) Feed(p []byte) bool { return t.s.feed(p) }
func (t *TextState) Complete() bool     { return t.s.complete() }

// Normalised reports whether the head goes to gobwas/ws as a rewritten copy.
func (r *Request) Normalised() bool { return r.normalise }
