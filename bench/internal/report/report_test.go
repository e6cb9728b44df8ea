package report_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wsgateway/bench/internal/hist"
	"wsgateway/bench/internal/report"
)

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := report.Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestAlign(t *testing.T) {
	var b strings.Builder
	report.Align(&b, [][]string{{"name", "a", "b"}, {"longer", "12", "3"}})
	if want := "name     a  b\nlonger  12  3\n"; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestTable(t *testing.T) {
	bad := &report.Result{Scenario: "churn", Server: "gateway", Asked: 10, Churn: &report.Churn{Cycles: 5, Cross: 2}}
	bad.Fault("cross-delivery", "connection 3: answer differs")
	r := &report.Report{Interrupted: true, Results: []*report.Result{
		{Scenario: "idle", Server: "plain", Asked: 100000, Held: 100000, ServerCPU: 3.456,
			RoundTrip: &hist.Summary{P50: 12.34, P90: 250, P99: 123456}},
		{Scenario: "echo"}, {Scenario: "storm"}, bad,
		{Scenario: "stall", Stall: &report.Stall{
			Asked: 30, AtStart: 29, AtEnd: 28, Closed: map[string]int64{"handshake 408": 4, "header EOF": 1},
			P99Without: 210, P99With: 420, P50Ratio: 1, P99Ratio: 2, Rounds: []report.StallRound{{P99Ratio: 1.5}, {P99Ratio: 2.5}},
		}},
		{Scenario: "slow", Slow: &report.Slow{
			Memory: &report.SlowMemory{Peak: 3 << 20, After: -1 << 20, PeakPerReader: 1234.5, AfterPerReader: -99},
			Queues: &report.SlowQueues{Peak: 1 << 20, Limit: 4 << 20, Consumers: 77},
		}},
		{Scenario: "churn", Churn: &report.Churn{
			Before: &report.Level{Goroutines: 13, Descriptors: 15}, After: &report.Level{Goroutines: 14, Descriptors: 1500},
		}},
	}}
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"100,000 / 100,000", "3.46", "12.3 / 250 / 123,456", "cross-deliveries", "1 (cross-delivery 1)",
		"connection 3: answer differs", "interrupted",
		"29 / 28", "5 (handshake 408 4, header EOF 1)", "210 / 420", "1.00 / 2.00", "1.50 2.50",
		"3.0 / -1.0", "1,235 / -99", "1.0 / 4.0", "77", "13 / 14", "15 / 1,500",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "bystander") {
		t.Errorf("a row that nobody measured:\n%s", b.String())
	}
	if r.ErrorCount() != 1 {
		t.Errorf("%d errors", r.ErrorCount())
	}
}

func TestJSON(t *testing.T) {
	r := &report.Report{
		Schema: report.Schema, Machine: report.ThisMachine([]string{"bench", "-conns", "5"}, 1024),
		Results: []*report.Result{{
			Scenario: "storm", Errors: map[string]int64{"dial": 1}, Goroutines: []int{13},
			Storm: &report.Storm{Back: 5, Refused: map[string]int64{"refused-503": 2}},
		}},
	}
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	back := &report.Report{}
	if err := json.Unmarshal(b.Bytes(), back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, back); diff != "" {
		t.Error(diff)
	}
	if m := r.Machine; m.Cores < 1 || m.Kernel == "" || m.Go == "" || m.Memory == 0 {
		t.Errorf("machine %+v", m)
	}
}
