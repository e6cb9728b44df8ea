package metrics

import "wsgateway/session"

// Metrics of connections that are accepted, open, refused.
var (
	connections = desc("connections", "Open connections, those in the opening or closing handshake included.")
	limit       = desc("connections_limit", "How many connections may be open at once.")
	refusing    = desc("connections_refusing", "Connections over the limit that are open only to be refused.")
	sessions    = desc("sessions", "WebSocket sessions that are open.")
	generation  = desc("route_generation", "How often the routes have been set; 1 after the start.")
	tables      = desc("route_tables", "Route tables in memory: the current one, and earlier ones that still have sessions.")
	tablesLimit = desc("route_tables_limit", "How many route tables may be in memory at once.")
	accepted    = desc("connections_accepted_total", "Connections accepted.")
	closedConns = desc("connections_closed_total", "Connections closed.")
	refused     = desc("connections_refused_total", "Connections refused, by reason.", "reason")
	acceptErrs  = desc("accept_errors_total", "Errors of accept4, by error.", "errno")
	pauses      = desc("accept_pauses_total", "How often accepting was paused, by reason.", "reason")
	paused      = desc("accept_paused", "Listeners on which accepting is paused.")
)

func (e emitter) connections(st *session.Stats) {
	e.gauge(connections, float64(st.Conns))
	e.gauge(limit, float64(st.MaxConns))
	e.gauge(refusing, float64(st.Refused))
	e.gauge(sessions, float64(st.Sessions))
	e.gauge(generation, float64(st.RouteGeneration))
	e.gauge(tables, float64(st.RouteTables))
	e.gauge(tablesLimit, float64(st.RouteTablesLimit))
	e.count(accepted, float64(st.Accepted))
	e.count(closedConns, float64(st.Closed))
	e.counts(refused, st.Refusals, "limit", "fd_limit")
	e.counts(acceptErrs, st.AcceptErrors, "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED")
	e.counts(pauses, st.AcceptPauses, "full", "error", "refusals")
	e.gauge(paused, float64(st.ListenersIdle))
}
