package session

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// pattern is [METHOD ][HOST]/PATH, its parts checked and the host in lower case.
type pattern struct{ method, host, path string }

// parsePattern splits a pattern and refuses what http.ServeMux would accept although no request can
// match it. What is wrong with wildcards http.ServeMux finds out.
func parsePattern(s string) (pt pattern, err error) {
	rest := s
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		pt.method, rest = s[:i], strings.TrimLeft(s[i+1:], " \t")
		switch {
		case strings.Contains(pt.method, "/"):
			return pt, errors.New("it has a space in its path: write %20")
		case pt.method != http.MethodGet:
			return pt, fmt.Errorf("method %q is not possible: a handshake is GET; without a method Route.HTTP gets all of them", pt.method)
		}
	}
	host, p, ok := strings.Cut(rest, "/")
	if !ok {
		return pt, errors.New("it has no path: a / is missing")
	}
	if strings.HasSuffix(host, ":") && strings.HasPrefix(p, "/") {
		return pt, fmt.Errorf("it begins with a scheme: leave %q out", host+"//")
	}
	if pt.host, err = patternHost(host); err != nil {
		return pt, err
	}
	pt.path = "/" + p
	return pt, checkPatternPath(pt.path)
}

func checkPatternPath(p string) error {
	if before, ok := strings.CutSuffix(p, "*"); ok {
		below := strings.TrimRight(before, "*/") + "/"
		return fmt.Errorf("* is not a wildcard: for all paths below %s write %q or %q", below, below, below+"{rest...}")
	}
	if strings.Contains(p, "*") {
		return errors.New("* is not a wildcard: write {name} for one segment, or %2A for the character")
	}
	switch {
	case strings.Contains(p, "?"):
		return errors.New("it can never match: ? begins the query, which is not part of the path")
	case strings.Contains(p, "#"):
		return errors.New("it can never match: a request has no # in its path")
	case strings.ContainsAny(p, " \t"):
		return errors.New("it has a space in its path: write %20")
	case !cleanPath(p):
		return fmt.Errorf("it can never match: its path is not clean, write %q", cleanedPath(p))
	}
	return nil
}

// patternHost checks the host of a pattern, and returns it as hostName returns that of a request.
func patternHost(host string) (string, error) {
	if strings.HasPrefix(host, "[") {
		address, port, ok := strings.Cut(host[1:], "]")
		if a, err := netip.ParseAddr(address); !ok || err != nil || !a.Is6() || a.Zone() != "" {
			return "", fmt.Errorf("%q is not an IPv6 address", host)
		}
		if port != "" {
			return "", errors.New("it can never match: ports are not compared")
		}
		return hostName(host), nil
	}
	for _, c := range host {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.ContainsRune("-._", c):
		case c == ':':
			return "", errors.New("it can never match: ports are not compared, and an IPv6 address stands in brackets")
		case c > 0x7e:
			return "", errors.New("it can never match: a request names such a host in its ASCII form (xn--...)")
		default:
			return "", fmt.Errorf("%q is not possible in a host: a path begins with /, and hosts have no wildcards", c)
		}
	}
	return hostName(host), nil
}

// hostName returns a host without its port, in lower case, and an IPv6 address in the one form of
// RFC 5952.
func hostName(host string) string {
	if !strings.HasPrefix(host, "[") {
		host, _, _ = strings.Cut(host, ":")
		return strings.ToLower(host)
	}
	address, _, _ := strings.Cut(host[1:], "]")
	a, err := netip.ParseAddr(address)
	if err != nil {
		return "[" + strings.ToLower(address) + "]"
	}
	return "[" + a.String() + "]"
}

// String returns the pattern in the syntax of http.ServeMux.
func (pt pattern) String() string {
	if pt.method == "" {
		return pt.host + pt.path
	}
	return pt.method + " " + pt.host + pt.path
}

// isLiteral reports whether one path alone matches, written without escapes.
func (pt pattern) isLiteral() bool {
	p, ends := strings.CutSuffix(pt.path, "/{$}")
	return !strings.ContainsAny(p, "{%") && (ends || !strings.HasSuffix(p, "/")) && plainASCII(p)
}

// ownPath returns the path that the pattern's text stands for, "" where it has wildcards.
func (pt pattern) ownPath() string {
	p := strings.TrimSuffix(pt.path, "{$}")
	if strings.Contains(p, "{") {
		return ""
	}
	return p
}

// wildcards returns the names of the wildcards, in order.
func (pt pattern) wildcards() (names []string) {
	for _, w := range wildcard.FindAllStringSubmatch(pt.path, -1) {
		names = append(names, w[1])
	}
	return names
}

// anonymous returns host and path without the names of the wildcards.
func (pt pattern) anonymous() string { return wildcard.ReplaceAllString(pt.host+pt.path, "{$2}") }

var wildcard = regexp.MustCompile(`\{([^{}$.]+)(\.\.\.)?\}`)

// plainASCII reports whether a client that escapes no more than it must sends s as it is.
func plainASCII(s string) bool { return (&url.URL{Path: s}).EscapedPath() == s }

// cleanPath reports whether p has no empty segment, but for a trailing slash, and none that is
// "." or "..".
func cleanPath(p string) bool { return cleanedPath(p) == p }

func cleanedPath(p string) string {
	clean := path.Clean(p)
	if clean != "/" && strings.HasSuffix(p, "/") {
		clean += "/"
	}
	return clean
}
