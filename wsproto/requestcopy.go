package wsproto

import "unsafe"

// Head returns the head that the request was parsed from. The request is a view into it.
func (r *Request) Head() []byte { return r.head }

// Reset forgets the request, and keeps what memory it has for the next one.
func (r *Request) Reset() { *r = Request{fields: r.fields[:0]} }

// CopyTo makes dst a request of its own, without parsing anything again: one whose byte slices are
// views into head, which must have the content of r.Head. It allocates only where dst has seen no
// request with as many fields.
func (r *Request) CopyTo(dst *Request, head []byte) {
	fields := append(dst.fields[:0], r.fields...)
	*dst = *r
	dst.fields = fields
	dst.head = head
	for _, p := range []*[]byte{&dst.Method, &dst.Target, &dst.Path, &dst.RawQuery, &dst.Host, &dst.Origin} {
		*p = rebase(*p, r.head, head)
	}
}

// rebase returns the view into to that v is into from. What is not a view, such as a path that the
// request lacks, stays as it is.
func rebase(v, from, to []byte) []byte {
	if v == nil || len(from) == 0 {
		return v
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(v))) - uintptr(unsafe.Pointer(unsafe.SliceData(from)))
	if at > uintptr(len(from)) || at+uintptr(len(v)) > uintptr(len(from)) { // less than 0 is huge
		return v
	}
	return to[at : int(at)+len(v) : int(at)+len(v)]
}
