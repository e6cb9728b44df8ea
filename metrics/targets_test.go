package metrics_test

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wsgateway/metrics"
	"wsgateway/session"
	"wsgateway/target"
	"wsgateway/webpubsub"
)

// counting is a target that counts.
type counting []target.Counter

func (counting) Routes(string) []session.Route { return nil }
func (c counting) Counters() []target.Counter  { return c }
func (counting) Close(context.Context) error   { return nil }

// What several targets count under one name is added up, label by label.
func TestTargets(t *testing.T) {
	const want = `
# HELP wsgateway_calls_total Calls of backends.
# TYPE wsgateway_calls_total counter
wsgateway_calls_total 7
# HELP wsgateway_polls Open polls.
# TYPE wsgateway_polls gauge
wsgateway_polls{backend="a"} 3
wsgateway_polls{backend="b"} 6
`
	polls := func(samples ...target.Sample) target.Counter {
		return target.Counter{Name: "polls", Help: "Open polls.", Gauge: true, Label: "backend", Samples: samples}
	}
	first := counting{target.Total("calls_total", "Calls of backends.", 3), polls(target.Sample{Label: "a", Value: 1}, target.Sample{Label: "b", Value: 6})}
	second := counting{target.Total("calls_total", "Calls of backends.", 4), polls(target.Sample{Label: "a", Value: 2})}
	reg := prometheus.NewPedanticRegistry()
	if err := metrics.RegisterTargets(reg, first, counting(nil), second); err != nil {
		t.Fatal(err)
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// Two targets that mean different things by one name are refused.
func TestTargetsDisagree(t *testing.T) {
	for name, other := range map[string]target.Counter{
		"text":  {Name: "calls_total", Help: "Other calls."},
		"label": {Name: "calls_total", Help: "Calls.", Label: "backend"},
		"kind":  {Name: "calls_total", Help: "Calls.", Gauge: true},
	} {
		err := metrics.RegisterTargets(prometheus.NewRegistry(), counting{target.Total("calls_total", "Calls.", 1)}, counting{other})
		if err == nil || !strings.Contains(err.Error(), "calls_total") {
			t.Errorf("another %s: error %v, want one that names calls_total", name, err)
		}
	}
}

// The counters of every target have good names.
func TestTargetsLint(t *testing.T) {
	channels, err := webpubsub.New(webpubsub.Config{})
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewPedanticRegistry()
	if err := metrics.RegisterTargets(reg, channels); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if n, err := testutil.GatherAndCount(reg); err != nil || n < 10 {
		t.Errorf("%d samples, %v, want at least 10", n, err)
	}
}
