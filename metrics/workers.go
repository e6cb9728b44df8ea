package metrics

import "wsgateway/session"

// Metrics of workers and event loops.
var (
	workers     = desc("workers", "Size of the worker pool.")
	workersBusy = desc("workers_busy", "Workers that are serving connections.")
	busySeconds = desc("worker_busy_seconds_total", "Time workers spent serving connections.")
	queueLength = desc("worker_queue_length", "Connections that wait for a worker.")
	queueWait   = desc("worker_queue_wait_seconds", "How long connections waited for a worker.")
	turns       = desc("turns_total", "Turns of connections, by where they were served.", "where")
	batches     = desc("poll_batches_total", "Batches of events fetched from epoll.")
	events      = desc("poll_events_total", "Events fetched from epoll.")
	stale       = desc("poll_stale_events_total", "Events for connections that had been closed.")
)

func (e emitter) workers(st *session.Stats) {
	e.gauge(workers, float64(st.Workers))
	e.gauge(workersBusy, float64(st.WorkersBusy))
	e.count(busySeconds, st.WorkerBusy.Seconds())
	e.gauge(queueLength, float64(st.QueueLen))
	e.histogram(queueWait, st.QueueWait)
	e.count(turns, float64(st.LoopTurns), "loop")
	e.count(turns, float64(st.WorkerTurns), "worker")
	e.count(batches, float64(st.Batches))
	e.count(events, float64(st.Events))
	e.count(stale, float64(st.StaleEvents))
}
