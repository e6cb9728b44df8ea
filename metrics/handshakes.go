package metrics

import "wsgateway/session"

// Metrics of opening handshakes.
var (
	handshakes    = desc("handshakes_total", "Opening handshakes that ended, by HTTP status; aborted: the client left, or sent nothing.", "status")
	handshakeTime = desc("handshake_duration_seconds", "From accept to the 101 answer, the client's own time included.")
)

func (e emitter) handshakes(st *session.Stats) {
	e.counts(handshakes, st.Handshakes, "101", "aborted")
	e.histogram(handshakeTime, st.HandshakeSeconds)
}
