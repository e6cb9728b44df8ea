package metrics

import "wsgateway/session"

// Metrics of pings, pongs and evictions.
var (
	pingsSent     = desc("pings_sent_total", "Pings sent to silent clients.")
	pongsReceived = desc("pongs_received_total", "Pongs received.")
	pingsReceived = desc("pings_received_total", "Pings received.")
	superseded    = desc("pongs_superseded_total", "Pongs replaced by the pong for a later ping, because the client did not read.")
	evictions     = desc("evictions_total", "Sessions that the gateway ended, by what the client failed to do in time or did too often.", "reason")
	sweeperLag    = desc("sweeper_lag_seconds_total", "Time that was not counted against clients, because the process itself was late.")
)

func (e emitter) liveness(st *session.Stats) {
	e.count(pingsSent, float64(st.PingsSent))
	e.count(pongsReceived, float64(st.PongsReceived))
	e.count(pingsReceived, float64(st.PingsReceived))
	e.count(superseded, float64(st.Superseded))
	e.counts(evictions, st.Evictions, "handshake_timeout", "message_timeout", "memory_pressure", "close_timeout", "ping_timeout", "control_flood", "fragment_flood", "rate_limit")
	e.count(sweeperLag, st.SweeperLag)
}
