package client

import (
	"fmt"
	"maps"
	"sync/atomic"

	"wsgateway/bench/internal/hist"
)

// Kinds of errors. Refusals are "refused-STATUS", connections the server ended
// are "closed-CODE" with 1006 for an end without a Close frame.
const (
	KindDial      = "dial"
	KindTimeout   = "timeout"
	KindHandshake = "handshake"
	KindProtocol  = "protocol"
	KindMismatch  = "mismatch"
	KindCross     = "cross-delivery"
	KindClosing   = "closing"
	KindMissing   = "missing"
	KindDuplicate = "duplicate"
	KindOrder     = "out-of-order"
)

const maxSamples = 8

// Stats is what was counted since the stats before. Stats of several loops and
// processes add up with Merge.
type Stats struct {
	Open      int64 `json:"open"`      // connections open now
	Connected int64 `json:"connected"` // handshakes completed
	Retries   int64 `json:"retries"`   // handshakes tried again
	Sent      int64 `json:"sent"`      // messages
	Messages  int64 `json:"messages"`  // echoes received and right, within the measured time
	Bytes     int64 `json:"bytes"`     // payload of Messages
	Received  int64 `json:"received"`  // broadcast messages received by readers
	Pings     int64 `json:"pings"`     // of the server, answered
	Nanos     int64 `json:"nanos"`     // length of the measured time

	Cycles int64 `json:"cycles"` // churn: connections begun and ended
	Clean  int64 `json:"clean"`  // churn: ended by a closing handshake
	Fin    int64 `json:"fin"`    // churn: ended by FIN without a Close frame
	Rst    int64 `json:"rst"`    // churn: ended by RST

	SlowSurvived int64 `json:"slow_survived"` // slow readers still open at the end
	SlowSkipped  int64 `json:"slow_skipped"`  // messages those never got

	Renewed int64 `json:"renewed"` // connections stalled in the handshake again, after the server had ended them

	Refused     map[string]int64 `json:"refused,omitempty"`      // handshakes refused and tried again, by status
	Closes      map[string]int64 `json:"closes,omitempty"`       // answers to our Close frames, by code
	SlowClosed  map[string]int64 `json:"slow_closed,omitempty"`  // slow readers the server ended, by code
	Stalled     map[string]int64 `json:"stalled,omitempty"`      // connections stalled now, by where
	StallClosed map[string]int64 `json:"stall_closed,omitempty"` // stalled connections the server ended, by where and how: a status, a close code, EOF or RST
	Published   map[int]int64    `json:"published,omitempty"`    // by group

	Errors  map[string]int64 `json:"errors,omitempty"` // by kind
	Samples []string         `json:"samples,omitempty"`

	Handshake *hist.Hist `json:"handshake,omitempty"` // dial to the 101
	RoundTrip *hist.Hist `json:"round_trip,omitempty"`
	Bystander *hist.Hist `json:"bystander,omitempty"`
}

// NewStats returns empty stats with their histograms.
func NewStats() *Stats {
	return &Stats{Handshake: hist.New(), RoundTrip: hist.New(), Bystander: hist.New()}
}

// Merge adds o. Open adds up, Nanos is the longest.
func (s *Stats) Merge(o *Stats) {
	s.Open += o.Open
	s.Connected += o.Connected
	s.Retries += o.Retries
	s.Sent += o.Sent
	s.Messages += o.Messages
	s.Bytes += o.Bytes
	s.Received += o.Received
	s.Pings += o.Pings
	s.Nanos = max(s.Nanos, o.Nanos)
	s.Cycles += o.Cycles
	s.Clean += o.Clean
	s.Fin += o.Fin
	s.Rst += o.Rst
	s.SlowSurvived += o.SlowSurvived
	s.SlowSkipped += o.SlowSkipped
	s.Renewed += o.Renewed
	add(&s.Refused, o.Refused)
	add(&s.Closes, o.Closes)
	add(&s.SlowClosed, o.SlowClosed)
	add(&s.Stalled, o.Stalled)
	add(&s.StallClosed, o.StallClosed)
	add(&s.Published, o.Published)
	add(&s.Errors, o.Errors)
	s.Samples = append(s.Samples, o.Samples[:min(len(o.Samples), max(0, 2*maxSamples-len(s.Samples)))]...)
	s.Handshake.Merge(o.Handshake)
	s.RoundTrip.Merge(o.RoundTrip)
	s.Bystander.Merge(o.Bystander)
}

// ErrorCount is the number of errors of all kinds.
func (s *Stats) ErrorCount() (n int64) {
	for v := range maps.Values(s.Errors) {
		n += v
	}
	return n
}

// Fault counts n errors of a kind and keeps a bounded number of descriptions.
func (s *Stats) Fault(kind string, n int64, format string, args ...any) {
	bump(&s.Errors, kind, n)
	if len(s.Samples) < maxSamples {
		s.Samples = append(s.Samples, kind+": "+fmt.Sprintf(format, args...))
	}
}

func bump[K comparable](m *map[K]int64, k K, n int64) {
	if *m == nil {
		*m = make(map[K]int64)
	}
	(*m)[k] += n
}

func add[K comparable](m *map[K]int64, o map[K]int64) {
	for k, v := range o {
		bump(m, k, v)
	}
}

// Progress is what can be seen while a phase runs.
type Progress struct {
	Open   int64 `json:"open"`
	Done   int64 `json:"done"` // steps of the current phase: connections, echoes, cycles, messages
	Errors int64 `json:"errors"`
}

// progress is written by its loop and read by anyone.
type progress struct{ open, done, errors atomic.Int64 }
