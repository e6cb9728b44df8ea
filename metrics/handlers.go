package metrics

import "wsgateway/session"

// Metrics of the calls of handlers.
var (
	panics       = desc("handler_panics_total", "Panics of handlers; each closed one session with 1011.")
	slowCalls    = desc("handler_slow_total", "Calls of handlers that took more than 100 ms, by the pool they ran in.", "pool")
	blockingSize = desc("blocking_calls_limit", "How many calls of handlers that may block can run at the same time.")
	blockingBusy = desc("blocking_calls", "Calls of handlers that may block, running.")
	blockingWait = desc("blocking_calls_waiting", "Sessions and requests whose call of a handler waits.")
	routeSize    = desc("route_blocking_calls_limit", "How many calls of a route's handler that may block can run at the same time.", "route")
	routeBusy    = desc("route_blocking_calls", "Calls of a route's handler that may block, running.", "route")
	routeWait    = desc("route_blocking_calls_waiting", "Sessions and requests of a route whose call waits.", "route")
	contained    = desc("contained_panics_total", "Panics outside of handlers; each closed one connection.")
)

func (e emitter) handlers(st *session.Stats) {
	e.counts(slowCalls, st.SlowCalls, "worker", "blocking")
	e.gauge(blockingSize, float64(st.Blocking.Size))
	e.gauge(blockingBusy, float64(st.Blocking.Busy))
	e.gauge(blockingWait, float64(st.Blocking.Waiting))
	for route, b := range st.BlockingRoutes {
		e.gauge(routeSize, float64(b.Size), route)
		e.gauge(routeBusy, float64(b.Busy), route)
		e.gauge(routeWait, float64(b.Waiting), route)
	}
	e.count(panics, float64(st.HandlerPanics))
	e.count(contained, float64(st.Panics))
}
