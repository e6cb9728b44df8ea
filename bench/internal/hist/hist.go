// Package hist holds latency histograms that travel between processes and
// merge without loss (HDR, three significant digits).
package hist

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	lowest  = 64 // nanoseconds told apart
	highest = int64(2 * time.Minute)
	digits  = 3
)

// Hist counts durations. The zero Hist is not ready; use New. It is not safe
// for concurrent use.
type Hist struct{ h *hdrhistogram.Histogram }

// New returns an empty histogram.
func New() *Hist { return &Hist{h: hdrhistogram.New(lowest, highest, digits)} }

// Record counts a duration in nanoseconds; what lies outside the range is
// counted at its edge.
func (h *Hist) Record(ns int64) {
	// The error is for values out of range, which min and max exclude.
	_ = h.h.RecordValue(min(max(ns, 0), highest))
}

// Merge adds all of o, which may be nil.
func (h *Hist) Merge(o *Hist) {
	if o != nil {
		h.h.Merge(o.h)
	}
}

// Count is the number of durations recorded.
func (h *Hist) Count() int64 { return h.h.TotalCount() }

// Reset forgets everything.
func (h *Hist) Reset() { h.h.Reset() }

// Clone returns a copy.
func (h *Hist) Clone() *Hist { return &Hist{h: h.h.Clone()} }

// Summary are the percentiles of a report, in microseconds.
type Summary struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_us"`
	P50   float64 `json:"p50_us"`
	P90   float64 `json:"p90_us"`
	P99   float64 `json:"p99_us"`
	P999  float64 `json:"p999_us"`
	Max   float64 `json:"max_us"`
}

// Summary returns nil for an empty histogram.
func (h *Hist) Summary() *Summary {
	if h == nil || h.Count() == 0 {
		return nil
	}
	q := h.h.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9})
	us := func(ns int64) float64 { return float64(ns) / 1e3 }
	return &Summary{
		Count: h.Count(), Mean: h.h.Mean() / 1e3,
		P50: us(q[0]), P90: us(q[1]), P99: us(q[2]), P999: us(q[3]), Max: us(h.h.Max()),
	}
}

// Median is the middle of the values, or the mean of the two in the middle; 0
// for none.
func Median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	switch n := len(s); {
	case n == 0:
		return 0
	case n%2 == 1:
		return s[n/2]
	default:
		return (s[n/2-1] + s[n/2]) / 2
	}
}

// MarshalJSON writes the compressed V2 encoding in base64.
func (h *Hist) MarshalJSON() ([]byte, error) {
	p, err := h.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, err
	}
	return json.Marshal(string(p))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (h *Hist) UnmarshalJSON(p []byte) error {
	var s string
	if err := json.Unmarshal(p, &s); err != nil {
		return err
	}
	d, err := hdrhistogram.Decode([]byte(s))
	if err != nil {
		return err
	}
	h.h = d
	return nil
}
