package metrics

import "github.com/prometheus/client_golang/prometheus"

// Channels is what a webpubsub.Target counts. It has the fields of webpubsub.Stats, which this package does
// not import, so that one converts to the other.
type Channels struct {
	Joins, Leaves, Publishes, Pings uint64
	Duplicates                      uint64
	Refused                         map[string]uint64
	Unanswered                      uint64
	Malformed                       uint64
}

// RegisterChannels registers the metrics of a webpubsub.Target with reg. stats is called once for each
// scrape, from any goroutine; its Refused should have all reasons from the start.
func RegisterChannels(reg prometheus.Registerer, stats func() Channels) error {
	return reg.Register(channelsCollector{stats})
}

var (
	channelsRequests   = desc("channels_requests_total", "Requests of clients of channels that were served.", "type")
	channelsDuplicates = desc("channels_duplicates_total", "Requests of clients of channels that were not served again, because one with their ackId had been.")
	channelsRefused    = desc("channels_refused_total", "Requests of clients of channels that were refused, by reason.", "reason")
	channelsUnanswered = desc("channels_unanswered_total", "Refused requests of clients of channels that had no ackId, so that their client does not know.")
	channelsMalformed  = desc("channels_malformed_total", "Messages of clients of channels that were no request; each closed its session.")
)

// channelsCollector implements prometheus.Collector for one target.
type channelsCollector struct{ stats func() Channels }

// Describe implements prometheus.Collector.
func (c channelsCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{channelsRequests, channelsDuplicates, channelsRefused, channelsUnanswered, channelsMalformed} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c channelsCollector) Collect(ch chan<- prometheus.Metric) {
	st := c.stats()
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	count(channelsRequests, st.Joins, "join")
	count(channelsRequests, st.Leaves, "leave")
	count(channelsRequests, st.Publishes, "publish")
	count(channelsRequests, st.Pings, "ping")
	count(channelsDuplicates, st.Duplicates)
	for reason, n := range st.Refused {
		count(channelsRefused, n, reason)
	}
	count(channelsUnanswered, st.Unanswered)
	count(channelsMalformed, st.Malformed)
}
