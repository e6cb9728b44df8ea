package wsproto

import (
	"net/http"
	"time"
)

// DateFormatter formats the time for the Date field of responses. It formats once a second at most
// and then does not allocate. The zero value is ready for use. It is not safe for concurrent use.
type DateFormatter struct {
	second int64 // of text, since 1970
	text   []byte
}

// Format returns t as an HTTP-date (RFC 9110 §5.6.7), such as "Sun, 06 Nov 1994 08:49:37 GMT". The
// bytes are valid until the next call and must not be changed.
func (f *DateFormatter) Format(t time.Time) []byte {
	if s := t.Unix(); s != f.second || f.text == nil {
		f.second = s
		f.text = t.UTC().AppendFormat(f.text[:0], http.TimeFormat)
	}
	return f.text
}

// hasDate reports whether the caller has set a Date field.
func hasDate(header []Field) bool {
	for i := range header {
		if len(header[i].Name) == len("Date") && equalFold([]byte(header[i].Name), "Date") {
			return true
		}
	}
	return false
}

// appendDate appends a Date field, unless date is empty.
func appendDate(dst, date []byte) []byte {
	if len(date) == 0 {
		return dst
	}
	dst = append(dst, "Date: "...)
	dst = append(dst, date...)
	return append(dst, crlf...)
}
