package runner

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wsgateway/bench/internal/hist"
	"wsgateway/bench/internal/report"
	"wsgateway/bench/internal/server"
	"wsgateway/internal/waits"
)

// admin is a stand-in for the admin listener of a gateway.
func admin(t *testing.T, metrics func() string) *server.Process {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, metrics())
	}))
	t.Cleanup(s.Close)
	return &server.Process{Admin: strings.TrimPrefix(s.URL, "http://")}
}

func TestGrown(t *testing.T) {
	before := []report.Level{{Goroutines: 10, Descriptors: 20}, {Goroutines: 10, Descriptors: 20}}
	tests := []struct {
		after report.Level // of the second process
		want  string
	}{
		{report.Level{Goroutines: 15, Descriptors: 25, RSS: 1 << 30}, ""},
		{report.Level{Goroutines: 16, Descriptors: 20}, "server process 1 had 10 goroutines and has 16"},
		{report.Level{Goroutines: 10, Descriptors: 26}, "server process 1 had 20 descriptors and has 26"},
		{report.Level{}, ""},
	}
	for _, tt := range tests {
		if got := grown(before, []report.Level{before[0], tt.after}); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.after, got, tt.want)
		}
	}
	if got := grown([]report.Level{{}}, []report.Level{{Goroutines: 100, Descriptors: 100}}); got != "" {
		t.Errorf("%q against what was not measured", got)
	}
}

// TestLevels has a late end, which is no leak, and a foreign process.
func TestLevels(t *testing.T) {
	var looks atomic.Int64
	gateway := admin(t, func() string {
		n := 100
		if looks.Add(1) > 2 {
			n = 12
		}
		return fmt.Sprintf("go_goroutines %d\ngo_memstats_heap_alloc_bytes 5e6\n", n)
	})
	n := &run{o: &Options{Settle: time.Millisecond}, servers: []*server.Process{gateway}, pids: []int{os.Getpid(), os.Getpid()}}
	before := []report.Level{{Goroutines: 12}, {}}
	after, err := n.settled(t.Context(), before)
	if err != nil || after[0].Goroutines != 12 || after[0].Heap != 5_000_000 || after[0].RSS == 0 || after[1].Descriptors < 3 || looks.Load() != 3 {
		t.Errorf("after %d looks %+v, %v", looks.Load(), after, err)
	}
	if all := total(after); all.Goroutines != 12 || all.Descriptors != after[0].Descriptors+after[1].Descriptors {
		t.Errorf("total %+v", all)
	}
	if total(nil) != nil {
		t.Error("levels of no process")
	}
}

func TestPeak(t *testing.T) {
	var scrapes atomic.Int64
	gateway := admin(t, func() string {
		queued := 100
		if scrapes.Add(1) == 2 {
			queued = 900
		}
		return fmt.Sprintf("wsgateway_outbound_queue_bytes %d\nwsgateway_outbound_queue_limit_bytes 1000\n"+
			"wsgateway_slow_consumers_total{reason=\"queue\"} 3\nwsgateway_slow_consumers_total{reason=\"total\"} 4\n", queued)
	})
	foreign := admin(t, func() string { return "go_goroutines 9\n" })
	n := &run{servers: []*server.Process{gateway, foreign, {}}, pids: []int{os.Getpid()}}
	end := n.peak(t.Context())
	waits.Eventually(t, func() bool { return scrapes.Load() >= 3 }, "the gateway has been scraped three times")
	p := end()
	if want := (report.SlowQueues{Peak: 900, Limit: 1000, Consumers: 7}); p.queues == nil || *p.queues != want || p.rss == 0 || end() != p {
		t.Errorf("%+v %+v, want %+v", p, p.queues, want)
	}
	n.servers = n.servers[1:]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if p := n.peak(ctx)(); p.queues != nil {
		t.Errorf("queues %+v of a server without", p.queues)
	}
}

func TestCompare(t *testing.T) {
	s := &report.Stall{}
	n := &run{o: &Options{MaxRatio: 2}, res: &report.Result{Stall: s}}
	if n.compare(); n.res.ErrorCount() != 0 {
		t.Errorf("errors without a round: %v", n.res.Errors)
	}
	for i, ratio := range []float64{1, 9, 1.5} {
		s.Rounds = append(s.Rounds, stallRoundOf(100, 100*ratio, int64(10-i)))
	}
	if n.compare(); s.P99Without != 100 || s.P99With != 150 || s.P99Ratio != 1.5 || s.AtStart != 16 || s.AtEnd != 8 || n.res.ErrorCount() != 0 {
		t.Errorf("%+v, %v", s, n.res.Errors)
	}
	n.o.MaxRatio = 1.4
	if n.compare(); n.res.Errors["ratio"] != 1 {
		t.Errorf("errors %v", n.res.Errors)
	}
}

func stallRoundOf(without, with float64, held int64) report.StallRound {
	return report.StallRound{
		Without: &hist.Summary{P50: without, P99: without}, With: &hist.Summary{P50: with, P99: with},
		P50Ratio: with / without, P99Ratio: with / without,
		AtStart: map[string]int64{"header": held, "payload": held}, AtEnd: map[string]int64{"header": held},
	}
}
