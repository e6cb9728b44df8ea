// Package engine runs conformance cases against a server: it opens connections,
// writes what a case says in several splits, reads raw bytes, and keeps the
// verdicts. It knows nothing of what the cases are about.
package engine

import (
	"fmt"
	"net"
	"net/url"
	"time"
)

// Case is one thing a server has to get right.
type Case struct {
	ID      string // group, rule and variant, such as F4.len16-for-5
	Section string // where the rule stands
	Title   string
	Rule    string // what decides the case, in our words
	Steps   []Step // run in order on one connection
	Slow    bool   // takes seconds; started first

	// Skip gives the reason for which the case says nothing about this server,
	// or "". It may be nil.
	Skip func(*Config) string
}

// Step does one thing on a connection and judges what it sees. Steps of one
// connection run one after the other; a case's steps run for several connections
// at once, so they keep their state in the Session.
type Step func(*Session)

// Verdict is the outcome of a case. The greater one is the worse.
type Verdict int

// Verdicts.
const (
	Pass      Verdict = iota
	Skip              // could not be judged
	NonStrict         // tolerated by the RFC, but not the exact answer
	Fail              // violates a MUST, hangs, or echoes what it must not
)

var verdictNames = [...]string{"PASS", "SKIP", "NON-STRICT", "FAIL"}

func (v Verdict) String() string { return verdictNames[v] }

// MarshalText makes verdicts readable in JSON.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Target is where a server is found.
type Target struct {
	Addr string // to dial
	Host string // for the Host field
	Path string // path and query
}

// ParseTarget takes a URL apart.
func ParseTarget(raw string) (*Target, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "ws" || u.Hostname() == "":
		return nil, fmt.Errorf("%q is not of the form ws://host:port/path", raw)
	case u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("%q: no fragment, no user", raw)
	}
	t := &Target{Addr: u.Host, Host: u.Host, Path: u.RequestURI()}
	if u.Port() == "" {
		t.Addr = net.JoinHostPort(u.Hostname(), "80")
	}
	return t, nil
}

// Config is the same for all cases of a run.
type Config struct {
	Target   Target
	TextOnly *Target // a route that accepts only text; nil if there is none

	Seed     uint64
	Parallel int           // connections at once
	Timeout  time.Duration // of each step
	Delay    time.Duration // of the relay, in each direction

	MaxMessage   int // bytes, after decompression; 0 is unknown or none
	MaxFragments int // 0 is unknown or none
	Compress     bool
	Subprotocol  string // one the server speaks, or ""
}

// Soon is the time within which a server has to do what needs no waiting.
func (c *Config) Soon(d time.Duration) time.Duration { return d + 2*c.Delay }
