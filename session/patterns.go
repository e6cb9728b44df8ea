package session

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"wsgateway/wsproto"
)

// patterns finds the route of a request by its method, host and path. Syntax and precedence are
// those of http.ServeMux, which does the work. It is immutable and safe for concurrent use.
//
// Three things differ from http.ServeMux. Host names are compared in lower case, as RFC 3986
// §3.2.2 demands. Nothing is redirected: a path that is not clean, or that lacks the trailing
// slash of its pattern, is not found, because WebSocket clients do not follow redirects. A pattern
// that can never match is refused.
type patterns struct {
	// exact maps the paths of patterns without method, host and wildcards to their routes. It is
	// nil where some pattern has a method or a host: such a pattern may take precedence.
	exact map[string]int
	// literal says that exact has all patterns: what it lacks is not found, unless an escape in
	// the path stands for a character that needs none.
	literal bool
	hosts   bool // some pattern has a host
	mux     *http.ServeMux
	routes  []patternRoute
	lookups sync.Pool // *lookup
}

// patternRoute is what a pattern says about its route.
type patternRoute struct {
	wildcards []string // their names, in order
	ownPath   string   // the path that its text stands for, "" where it has wildcards
}

// newPatterns compiles the patterns of routes. The error joins one for each pattern that is
// malformed, can never match, stands twice, or conflicts with an earlier one. Where patterns are not
// supported at all, there are none.
func newPatterns(routes []Route) (*patterns, error) {
	if !muxHasWildcards() {
		return nil, errors.New("session: GODEBUG=httpmuxgo121=1 changes how patterns match, and is not supported")
	}
	p := &patterns{exact: make(map[string]int), mux: http.NewServeMux(), routes: make([]patternRoute, len(routes))}
	p.lookups.New = func() any { return &lookup{req: http.Request{URL: new(url.URL)}} }
	parsed := make([]pattern, len(routes))
	seen := make(map[string]bool)
	var errs []error
	methods := false
	for i := range routes {
		pt, err := parsePattern(routes[i].Path)
		switch {
		case err != nil:
		case seen[pt.String()]:
			err = errors.New("it is given twice")
		default:
			err = p.add(i, pt)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("session: route pattern %q: %w", routes[i].Path, err))
			continue
		}
		parsed[i], seen[pt.String()] = pt, true
		methods = methods || pt.method != ""
		p.hosts = p.hosts || pt.host != ""
	}
	errs = append(errs, shadowed(routes, parsed))
	p.literal = len(p.exact) == len(routes)
	if methods || p.hosts {
		p.exact, p.literal = nil, false
	}
	return p, errors.Join(errs...)
}

// add registers the pattern of route i.
func (p *patterns) add(i int, pt pattern) (err error) {
	defer func() {
		if r := recover(); r != nil { // as ServeMux.Handle reports errors
			err = muxError(r)
		}
	}()
	p.mux.Handle(pt.String(), found(i))
	if pt.method+pt.host == "" && pt.isLiteral() {
		p.exact[pt.ownPath()] = i
	}
	p.routes[i] = patternRoute{pt.wildcards(), pt.ownPath()}
	return nil
}

// shadowed finds routes for handshakes alone whose handshakes all go to another route, which has
// the same pattern with GET in front.
func shadowed(routes []Route, parsed []pattern) error {
	get := make(map[string]string)
	for i, pt := range parsed {
		if pt.method != "" {
			get[pt.anonymous()] = routes[i].Path
		}
	}
	var errs []error
	for i, pt := range parsed {
		if other := get[pt.anonymous()]; other != "" && pt.method == "" && routes[i].HTTP == nil {
			errs = append(errs, fmt.Errorf(
				"session: route pattern %q: it can never match: every handshake goes to %q", routes[i].Path, other))
		}
	}
	return errors.Join(errs...)
}

// find returns the index of the route for r, and the values of its wildcards in the order of the
// pattern, decoded. Values do not refer to r. The error is the answer to a request without a route.
// It allocates nothing where the path is that of a pattern without method, host and wildcards, or
// where all patterns are such and no escape is in the path.
func (p *patterns) find(r *wsproto.Request) (index int, values []string, err error) {
	if i, ok := p.exact[string(r.Path)]; ok {
		return i, nil, nil
	}
	escaped := bytes.IndexByte(r.Path, '%') >= 0
	if p.literal && !escaped {
		return 0, nil, wsproto.ErrNotFound
	}
	raw := string(r.Path)
	decoded := raw
	if escaped {
		if decoded, err = url.PathUnescape(raw); err != nil {
			return 0, nil, errEscape
		}
	}
	if !cleanPath(raw) {
		return 0, nil, wsproto.ErrNotFound
	}
	l := p.lookups.Get().(*lookup)
	defer p.lookups.Put(l)
	l.req.Method, l.req.URL.Path, l.req.URL.RawPath = methodName(r.Method), decoded, raw
	l.req.Host = ""
	if p.hosts {
		l.req.Host = hostName(string(r.Host))
	}
	return l.find(p)
}

// Refusals of requests for which there is no route.
var (
	errEscape      = wsproto.Refusal(http.StatusBadRequest, "malformed escape in the path")
	errRouteMethod = wsproto.Refusal(http.StatusMethodNotAllowed, "method not allowed")
)

// lookup is one search, and what http.ServeMux is told is the response. It is used by one goroutine
// at a time.
type lookup struct {
	req    http.Request
	index  int // of the route, -1 for none
	status int // of the answer, where there is no route
	header http.Header
}

func (l *lookup) find(p *patterns) (index int, values []string, err error) {
	l.index, l.status = -1, 0
	p.mux.ServeHTTP(l, &l.req)
	switch {
	case l.index >= 0:
	case l.status == http.StatusMethodNotAllowed:
		return 0, nil, errRouteMethod
	default: // 404, or a redirect
		return 0, nil, wsproto.ErrNotFound
	}
	if names := p.routes[l.index].wildcards; len(names) > 0 {
		values = make([]string, len(names))
		for i, name := range names {
			values[i] = l.req.PathValue(name)
		}
	}
	return l.index, values, nil
}

// Header implements http.ResponseWriter.
func (l *lookup) Header() http.Header {
	if l.header == nil {
		l.header = make(http.Header)
	}
	return l.header
}

// Write implements http.ResponseWriter.
func (l *lookup) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements http.ResponseWriter.
func (l *lookup) WriteHeader(status int) { l.status = status }

// found is the handler that a ServeMux knows for a route: it tells the lookup which one it is.
type found int

// ServeHTTP implements http.Handler.
func (f found) ServeHTTP(w http.ResponseWriter, _ *http.Request) { w.(*lookup).index = int(f) }

// methodName returns the method as a string, without allocating for that of nearly all requests.
func methodName(m []byte) string {
	if string(m) == http.MethodGet {
		return http.MethodGet
	}
	return string(m)
}

// muxError returns what http.ServeMux says about a pattern, without the places in our source.
func muxError(v any) error {
	err, ok := v.(error)
	if !ok {
		return fmt.Errorf("%v", v)
	}
	if inner := errors.Unwrap(err); inner != nil { // of `parsing "/{x": at offset 1: ...`
		return inner
	}
	_, conflict, ok := strings.Cut(registered.ReplaceAllString(err.Error(), ""), " conflicts with ")
	if !ok {
		return err
	}
	return errors.New("it conflicts with " + strings.ReplaceAll(conflict, "\n", " "))
}

var registered = regexp.MustCompile(` \(registered at .*?:\d+\)`)

// muxHasWildcards reports whether http.ServeMux follows the rules of Go 1.22. GODEBUG can take it
// back to those before.
var muxHasWildcards = sync.OnceValue(func() bool {
	mux := http.NewServeMux()
	mux.Handle("/{x}", http.NotFoundHandler())
	_, p := mux.Handler(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/y"}})
	return p != ""
})
