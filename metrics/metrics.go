// Package metrics shows a gateway's counters to Prometheus.
//
// Everything is read from one snapshot at the time of a scrape: what the hot path counts, it
// counts in its own memory, and a gateway that nobody scrapes pays nothing more. Labels have
// few values, and none that a client chooses.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"wsgateway/session"
)

// collector implements prometheus.Collector for one server.
type collector struct {
	stats   func() session.Stats
	version string
	idle    uint64 // memory of the process without connections
}

// Register registers everything the gateway shows with reg: its own metrics, and those of the
// Go runtime and the process. stats is called once for each scrape, from any goroutine.
func Register(reg prometheus.Registerer, version string, stats func() session.Stats) error {
	c := &collector{stats: stats, version: version, idle: ownMemory()}
	for _, c := range []prometheus.Collector{
		c,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// desc describes a metric. Its name gets the prefix of the gateway.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("wsgateway_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	st, e := c.stats(), emitter{ch}
	e.process(&st, c.version, c.idle)
	e.connections(&st)
	e.handshakes(&st)
	e.messages(&st)
	e.handlers(&st)
	e.closes(&st)
	e.queues(&st)
	e.liveness(&st)
	e.deflate(&st)
	e.channels(&st)
	e.workers(&st)
}
