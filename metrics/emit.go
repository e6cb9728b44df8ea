package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"wsgateway/session"
)

// emitter sends the metrics of one scrape. Its methods with the names of files emit one concern each.
type emitter struct{ ch chan<- prometheus.Metric }

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (e emitter) count(d *prometheus.Desc, v float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

// counts emits a counter that one label splits. The values of the label that are known beforehand are
// emitted from the start, so that rates over them see the first event.
func (e emitter) counts(d *prometheus.Desc, m map[string]uint64, known ...string) {
	for _, name := range known {
		if _, ok := m[name]; !ok {
			e.count(d, 0, name)
		}
	}
	for name, n := range m {
		e.count(d, float64(n), name)
	}
}

func (e emitter) histogram(d *prometheus.Desc, h session.Histogram) {
	buckets, total := make(map[float64]uint64), uint64(0)
	for i, n := range h.Counts {
		total += n
		if i < len(h.Bounds) {
			buckets[h.Bounds[i]] = total
		}
	}
	e.ch <- prometheus.MustNewConstHistogram(d, total, h.Sum, buckets)
}
