package wsproto

// PathValues are what a request has in the place of the wildcards of its route's pattern. They are
// immutable. Nil is none.
type PathValues struct {
	names, values []string
}

// NewPathValues returns the values of wildcards in the order of their names, nil if there are none.
// Both slices are kept and must not change.
func NewPathValues(names, values []string) *PathValues {
	if len(names) == 0 {
		return nil
	}
	return &PathValues{names, values}
}

// Get returns the value of the wildcard with that name, or "".
func (v *PathValues) Get(name string) string {
	if v == nil {
		return ""
	}
	for i, n := range v.names {
		if n == name {
			return v.values[i]
		}
	}
	return ""
}

// All calls yield with every name and value, in the order of the pattern, until it returns false.
func (v *PathValues) All(yield func(name, value string) bool) {
	if v == nil {
		return
	}
	for i, n := range v.names {
		if !yield(n, v.values[i]) {
			return
		}
	}
}

// PathValue returns the value of the wildcard with that name in the pattern of the request's route,
// decoded, as http.Request.PathValue does; "" if there is none.
func (r *Request) PathValue(name string) string { return r.pathValues.Get(name) }

// PathValues returns what SetPathValues has set. It does not refer to the request.
func (r *Request) PathValues() *PathValues { return r.pathValues }

// SetPathValues sets what PathValue returns, until the next ParseRequest.
func (r *Request) SetPathValues(v *PathValues) { r.pathValues = v }
