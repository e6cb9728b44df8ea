package webpubsub

import "bytes"

var typeJSON = []byte("json")

// checkData judges dataType and data of a request, and fills in the default type. names is memory for
// unquoted strings, and is returned as it has become.
func (r *request) checkData(names []byte) ([]byte, reason, string) {
	if r.data == nil {
		return names, refusedData, "no data"
	}
	if r.dataType == nil {
		r.dataType = typeJSON
	}
	switch string(r.dataType) {
	case "json":
		return names, refusedNot, ""
	case "text", "binary":
	default:
		return names, refusedUnsupported, "dataType is none of json, text and binary"
	}
	if r.data[0] != '"' {
		return names, refusedData, "data is not a string"
	}
	p := r.data[1 : len(r.data)-1]
	if bytes.IndexByte(p, '\\') >= 0 {
		start, whole := len(names), false
		if names, whole = unquote(names, p); !whole {
			return names, refusedData, "data has half a surrogate"
		}
		p = names[start:]
	}
	if string(r.dataType) == "binary" && !isBase64(p) {
		return names, refusedData, "data is no base64"
	}
	return names, refusedNot, ""
}

// isBase64 reports whether p is base64 with its padding (RFC 4648 §4), without line ends.
func isBase64(p []byte) bool {
	if len(p)%4 != 0 {
		return false
	}
	for range 2 {
		p = bytes.TrimSuffix(p, []byte{'='})
	}
	for _, c := range p {
		if !('A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/') {
			return false
		}
	}
	return true
}
