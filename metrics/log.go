package metrics

import "github.com/prometheus/client_golang/prometheus"

// RegisterLog registers with reg how many lines the log has lost. lost is called once for each
// scrape, from any goroutine.
func RegisterLog(reg prometheus.Registerer, lost func() uint64) error {
	return reg.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "wsgateway_log_lines_dropped_total",
		Help: "Lines of the log that were dropped, because its reader was too slow or gone.",
	}, func() float64 { return float64(lost()) }))
}
