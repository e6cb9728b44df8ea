package metrics_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wsgateway/metrics"
	"wsgateway/netpoll"
	"wsgateway/session"
)

func register(t *testing.T, stats session.Stats) *prometheus.Registry {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	if err := metrics.Register(reg, "v1", func() session.Stats { return stats }); err != nil {
		t.Fatal(err)
	}
	return reg
}

func full() session.Stats {
	return session.Stats{
		Stats: netpoll.Stats{
			Conns: 3, MaxConns: 10, Accepted: 7,
			Refusals:     map[string]uint64{"limit": 2},
			AcceptErrors: map[string]uint64{"EMFILE": 1},
			QueueWait:    session.Histogram{Bounds: []float64{0.1, 1}, Counts: []uint64{1, 2, 3}, Sum: 9},
		},
		Sessions:         2,
		Handshakes:       map[string]uint64{"101": 5, "404": 1},
		HandshakeSeconds: session.Histogram{Bounds: []float64{0.1, 1}, Counts: []uint64{4, 1, 0}, Sum: 0.5},
		Closes:           []session.CloseCount{{Code: "1000", Initiator: "client", Count: 3}, {Code: "4xxx", Initiator: "server", Count: 1}},
		ReceivedText:     11,
	}
}

// Everything is named and explained as Prometheus asks for, and carries the gateway's prefix.
func TestLint(t *testing.T) {
	for name, stats := range map[string]session.Stats{"empty": {}, "full": full()} {
		t.Run(name, func(t *testing.T) {
			reg := register(t, stats)
			problems, err := testutil.GatherAndLint(reg)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				t.Errorf("%s: %s", p.Metric, p.Text)
			}
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			own := 0
			for _, f := range families {
				switch n := f.GetName(); {
				case strings.HasPrefix(n, "wsgateway_"):
					own++
				case !strings.HasPrefix(n, "go_") && !strings.HasPrefix(n, "process_"):
					t.Errorf("%s has not the gateway's prefix", n)
				}
			}
			if own < 40 {
				t.Errorf("only %d metrics of the gateway", own)
			}
		})
	}
}

func TestValues(t *testing.T) {
	const want = `
# HELP wsgateway_closes_total Sessions that ended, by status code and by who began.
# TYPE wsgateway_closes_total counter
wsgateway_closes_total{code="1000",initiator="client"} 3
wsgateway_closes_total{code="1001",initiator="client"} 0
wsgateway_closes_total{code="1001",initiator="server"} 0
wsgateway_closes_total{code="1002",initiator="server"} 0
wsgateway_closes_total{code="1005",initiator="client"} 0
wsgateway_closes_total{code="1006",initiator="server"} 0
wsgateway_closes_total{code="1006",initiator="transport"} 0
wsgateway_closes_total{code="1013",initiator="server"} 0
wsgateway_closes_total{code="4xxx",initiator="server"} 1
# HELP wsgateway_connections Open connections, those in the opening or closing handshake included.
# TYPE wsgateway_connections gauge
wsgateway_connections 3
# HELP wsgateway_connections_refused_total Connections refused, by reason.
# TYPE wsgateway_connections_refused_total counter
wsgateway_connections_refused_total{reason="fd_limit"} 0
wsgateway_connections_refused_total{reason="limit"} 2
# HELP wsgateway_handshakes_total Opening handshakes that ended, by HTTP status; aborted: the client left, or sent nothing.
# TYPE wsgateway_handshakes_total counter
wsgateway_handshakes_total{status="101"} 5
wsgateway_handshakes_total{status="404"} 1
wsgateway_handshakes_total{status="aborted"} 0
# HELP wsgateway_worker_queue_wait_seconds How long connections waited for a worker.
# TYPE wsgateway_worker_queue_wait_seconds histogram
wsgateway_worker_queue_wait_seconds_bucket{le="0.1"} 1
wsgateway_worker_queue_wait_seconds_bucket{le="1"} 3
wsgateway_worker_queue_wait_seconds_bucket{le="+Inf"} 6
wsgateway_worker_queue_wait_seconds_sum 9
wsgateway_worker_queue_wait_seconds_count 6
`
	err := testutil.GatherAndCompare(register(t, full()), strings.NewReader(want),
		"wsgateway_closes_total", "wsgateway_connections", "wsgateway_connections_refused_total",
		"wsgateway_handshakes_total", "wsgateway_worker_queue_wait_seconds")
	if err != nil {
		t.Error(err)
	}
}
