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
	}}
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"100,000 / 100,000", "3.46", "12.3 / 250 / 123,456", "cross-deliveries", "1 (cross-delivery 1)",
		"connection 3: answer differs", "interrupted",
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
