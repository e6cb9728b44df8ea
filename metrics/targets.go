package metrics

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"wsgateway/target"
)

// RegisterTargets registers what targets count with reg. Where several targets have a counter of the
// same name their values are added up. It is an error if they do not agree what that counter is.
func RegisterTargets(reg prometheus.Registerer, targets ...target.Target) error {
	known := make(map[string]target.Counter)
	for _, t := range targets {
		for _, c := range t.Counters() {
			if k, ok := known[c.Name]; ok && (k.Help != c.Help || k.Label != c.Label || k.Gauge != c.Gauge) {
				return fmt.Errorf("metrics: two targets have a counter %s, with different descriptions", c.Name)
			}
			known[c.Name] = c
		}
	}
	return reg.Register(targetsCollector(targets))
}

// targetsCollector implements prometheus.Collector for all targets of a gateway.
type targetsCollector []target.Target

// Describe implements prometheus.Collector.
func (ts targetsCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(ts, ch) }

// Collect implements prometheus.Collector.
func (ts targetsCollector) Collect(ch chan<- prometheus.Metric) {
	type sample struct{ name, label string }
	var order []sample
	descs, sums := make(map[string]target.Counter), make(map[sample]float64)
	for _, t := range ts {
		for _, c := range t.Counters() {
			descs[c.Name] = c
			for _, s := range c.Samples {
				key := sample{c.Name, s.Label}
				if _, ok := sums[key]; !ok {
					order = append(order, key)
				}
				sums[key] += s.Value
			}
		}
	}
	for _, key := range order {
		ch <- metric(descs[key.name], key.label, sums[key])
	}
}

func metric(c target.Counter, label string, value float64) prometheus.Metric {
	kind := prometheus.CounterValue
	if c.Gauge {
		kind = prometheus.GaugeValue
	}
	var names, values []string
	if c.Label != "" {
		names, values = []string{c.Label}, []string{label}
	}
	d := desc(c.Name, c.Help, names...)
	m, err := prometheus.NewConstMetric(d, kind, value, values...)
	if err != nil {
		return prometheus.NewInvalidMetric(d, err)
	}
	return m
}
