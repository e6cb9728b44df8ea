package metrics

import "wsgateway/session"

// Metrics of the ends of sessions.
var closes = desc("closes_total", "Sessions that ended, by status code and by who began.", "code", "initiator")

// closes emits the ends that are usual from the start, so that rates over them see the first one.
func (e emitter) closes(st *session.Stats) {
	ends := map[[2]string]uint64{
		{"1000", "client"}: 0, {"1001", "client"}: 0, {"1005", "client"}: 0, {"1006", "transport"}: 0,
		{"1001", "server"}: 0, {"1002", "server"}: 0, {"1006", "server"}: 0, {"1013", "server"}: 0,
	}
	for _, n := range st.Closes {
		ends[[2]string{n.Code, n.Initiator}] = n.Count
	}
	for labels, n := range ends {
		e.count(closes, float64(n), labels[0], labels[1])
	}
}
