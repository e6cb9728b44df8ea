package hist_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"wsgateway/bench/internal/hist"
)

func TestMergeOverJSON(t *testing.T) {
	a, b := hist.New(), hist.New()
	for i := int64(1); i <= 1000; i++ {
		h := a
		if i%2 == 0 {
			h = b
		}
		h.Record(i * int64(time.Microsecond))
	}
	wire, err := json.Marshal(map[string]*hist.Hist{"b": b})
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]*hist.Hist
	if err := json.Unmarshal(wire, &back); err != nil {
		t.Fatal(err)
	}
	a.Merge(back["b"])
	a.Merge(nil)
	s := a.Summary()
	if s.Count != 1000 {
		t.Fatalf("count = %d", s.Count)
	}
	for name, pair := range map[string][2]float64{
		"p50": {s.P50, 500}, "p90": {s.P90, 900}, "p99": {s.P99, 990}, "max": {s.Max, 1000}, "mean": {s.Mean, 500.5},
	} {
		if math.Abs(pair[0]-pair[1]) > pair[1]/400 {
			t.Errorf("%s = %.2f us, want about %.2f", name, pair[0], pair[1])
		}
	}
}

func TestEdges(t *testing.T) {
	h := hist.New()
	if h.Summary() != nil || (*hist.Hist)(nil).Summary() != nil {
		t.Error("an empty histogram has a summary")
	}
	h.Record(-5)
	h.Record(int64(time.Hour))
	if h.Count() != 2 {
		t.Errorf("count = %d, want 2", h.Count())
	}
	h.Reset()
	if h.Count() != 0 {
		t.Error("Reset kept values")
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 5}, 5}} {
		if got := hist.Median(tt.in); got != tt.want {
			t.Errorf("Median(%v) = %v, want %v", tt.in, got, tt.want)
		}
	}
}
