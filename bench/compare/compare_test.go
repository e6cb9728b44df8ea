package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"wsgateway/bench/internal/fleet"
	"wsgateway/bench/internal/hist"
	"wsgateway/bench/internal/report"
	"wsgateway/bench/internal/runner"
	"wsgateway/bench/internal/server"
)

func TestMain(m *testing.M) {
	fleet.RunChild()
	os.Exit(m.Run())
}

func TestParse(t *testing.T) {
	s, err := parse([]string{"-cases", "paced,idle", "-servers", "plain,gateway", "-repeats", "5"}, io.Discard)
	if err != nil || len(s.cases) != 2 || s.cases[0].name != "paced" || len(s.servers) != 2 || s.repeats != 5 {
		t.Errorf("parse = %+v, %v", s, err)
	}
	for _, bad := range []string{"-cases x", "-servers x", "-repeats 0", "-duration 0s", "-nothing", "extra"} {
		if _, err := parse(strings.Fields(bad), io.Discard); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestOutcome(t *testing.T) {
	s := &settings{cases: studies[:1]}
	out := newOutcome([]string{"compare"}, 20000, s, []server.Kind{server.C, server.Gateway})
	for _, cpu := range []float64{2, 4, 10} {
		out.add("echo", server.C, &report.Result{ServerCPU: cpu})
		out.add("echo", server.Gateway, &report.Result{ServerCPU: cpu * 1.5, RoundTrip: &hist.Summary{P50: 7}})
	}
	if l := out.row("echo", "gateway"); l.Ratio.Median != 1.5 || l.CPU.Median != 6 || l.P50.Median != 7 {
		t.Errorf("row = %+v", l)
	}
	if text := out.table(); !strings.Contains(text, "6.00") || !strings.Contains(text, "1.50") {
		t.Errorf("table:\n%s", text)
	}
	var b bytes.Buffer
	var back outcome
	if err := out.write("-", &b); err != nil || json.Unmarshal(b.Bytes(), &back) != nil || len(back.Rows) != 2 {
		t.Errorf("JSON %v, %+v", err, back)
	}
}

// TestC holds the loop in C to the same checks as every other server.
func TestC(t *testing.T) {
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no C compiler (cc) on this machine")
	}
	bin, err := compileC(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0") // the client processes end without a pause
	r, err := runner.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, o := range []runner.Options{
		{Scenario: "idle", Conns: 200, Size: 125},
		{Scenario: "idle", Conns: 20, Size: 65536},
		{Scenario: "echo", Conns: 50, Size: 126, InFlight: 16},
		{Scenario: "churn", Conns: 50, Cycles: 500},
	} {
		o.Server, o.ServerBin, o.Duration, o.Settle = server.C, bin, 50*time.Millisecond, time.Millisecond
		res, err := r.Run(t.Context(), o)
		if err != nil || res.ErrorCount() != 0 || res.Messages == 0 {
			t.Errorf("%s: %v, %+v", o.Scenario, err, res)
		}
	}
}
