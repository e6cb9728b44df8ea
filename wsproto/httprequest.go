package wsproto

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
)

// HTTPRequest returns the request as net/http would show it to a handler, for code that takes an
// *http.Request: cookies, basic authentication, tokens, sessions. It is a copy, which stays valid
// when r does not. Its body is empty, and RemoteAddr is not set.
//
// Errors: those of http.ReadRequest, for the few heads that are correct (RFC 9112) and that
// net/http does not accept.
func (r *Request) HTTPRequest() (*http.Request, error) {
	req, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(r.head), min(len(r.head), 4096)))
	if err != nil {
		return nil, err
	}
	req.Body = http.NoBody
	r.pathValues.All(func(name, value string) bool {
		req.SetPathValue(name, value)
		return true
	})
	return req, nil
}

// Query returns the parameters of the target's query. Pairs that are malformed are left out, as
// url.URL.Query does. Each call parses them anew.
func (r *Request) Query() url.Values {
	values, _ := url.ParseQuery(string(r.RawQuery))
	return values
}
