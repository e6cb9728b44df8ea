// Package metrics shows a gateway's counters to Prometheus.
//
// Everything is read from one snapshot at the time of a scrape: what the hot path counts, it
// counts in its own memory, and a gateway that nobody scrapes pays nothing more. Labels have
// few values, and none that a client chooses.
package metrics

import (
	"runtime"
	runtimemetrics "runtime/metrics"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"wsgateway/internal/counter"
	"wsgateway/session"
)

// Collector implements prometheus.Collector for one server.
type Collector struct {
	stats   func() session.Stats
	version string
	idle    uint64 // memory of the process without connections
}

// Register registers everything the gateway shows with reg: its own metrics, and those of the
// Go runtime and the process. stats is called once for each scrape, from any goroutine.
func Register(reg prometheus.Registerer, version string, stats func() session.Stats) error {
	c := &Collector{stats: stats, version: version, idle: ownMemory()}
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

var (
	buildInfo = desc("build_info", "Always 1; the labels tell what was built.", "version", "goversion")

	connections = desc("connections", "Open connections, those in the opening or closing handshake included.")
	limit       = desc("connections_limit", "How many connections may be open at once.")
	refusing    = desc("connections_refusing", "Connections over the limit that are open only to be refused.")
	sessions    = desc("sessions", "WebSocket sessions that are open.")
	accepted    = desc("connections_accepted_total", "Connections accepted.")
	closedConns = desc("connections_closed_total", "Connections closed.")
	refused     = desc("connections_refused_total", "Connections refused, by what was short.", "reason")
	acceptErrs  = desc("accept_errors_total", "Errors of accept4, by error.", "errno")
	pauses      = desc("accept_pauses_total", "How often accepting was paused, by reason.", "reason")
	paused      = desc("accept_paused", "Listeners on which accepting is paused.")

	handshakes    = desc("handshakes_total", "Opening handshakes that ended, by HTTP status; aborted: the client left, or said nothing.", "status")
	handshakeTime = desc("handshake_duration_seconds", "From accept to the 101 answer, the client's own time included.")

	received      = desc("messages_received_total", "Messages received.", "type")
	sent          = desc("messages_sent_total", "Messages accepted for sending.", "type")
	receivedBytes = desc("received_bytes_total", "Bytes read from clients, framing and handshakes included.")
	sentBytes     = desc("sent_bytes_total", "Bytes the kernel took for clients, framing and handshakes included.")
	closes        = desc("closes_total", "Sessions that ended, by status code and by who began.", "code", "initiator")
	panics        = desc("handler_panics_total", "Panics of handlers; each closed one session with 1011.")
	throttled     = desc("throttled_total", "How often reading from a client stopped because it sent more messages, bytes, or control frames than it may.")
	slowCalls     = desc("handler_slow_total", "Calls of handlers that took more than 100 ms, by the pool they ran in.", "pool")
	blockingSize  = desc("blocking_calls_limit", "Calls of handlers that may block, at most at the same time.")
	blockingBusy  = desc("blocking_calls", "Calls of handlers that may block, running.")
	blockingWait  = desc("blocking_calls_waiting", "Sessions whose handler waits to be called.")
	contained     = desc("contained_panics_total", "Panics outside of handlers; each cost one connection.")

	queueBytes    = desc("outbound_queue_bytes", "Bytes in all outbound queues.")
	queueMessages = desc("outbound_queue_messages", "Messages in all outbound queues.")
	queueLimit    = desc("outbound_queue_limit_bytes", "Bound of outbound_queue_bytes.")
	dropped       = desc("outbound_dropped_messages_total", "Messages that will never be sent, because a queue was full or its session ended.")
	overflows     = desc("outbound_overflows_total", "Messages that did not fit, by the bound they hit: of the connection's queue, or of the total.", "bound")
	inboundBytes  = desc("inbound_buffer_bytes", "Memory of incomplete requests and messages.")
	inboundLimit  = desc("inbound_buffer_limit_bytes", "Bound of inbound_buffer_bytes.")
	lost          = desc("outbound_policy_messages_total", "Messages not sent to a client that did not read, as its route says: dropped, or replaced by a later one of their key.", "policy")
	slow          = desc("slow_consumers_total", "Sessions closed because the client did not read, by reason.", "reason")

	pingsSent     = desc("pings_sent_total", "Pings sent to silent clients.")
	pongsReceived = desc("pongs_received_total", "Pongs received.")
	pingsReceived = desc("pings_received_total", "Pings received.")
	superseded    = desc("pongs_superseded_total", "Pongs in whose place one for a later ping was sent, because the client did not read.")
	evictions     = desc("evictions_total", "Clients given up on, by what they failed to do in time or did too often.", "reason")
	sweeperLag    = desc("sweeper_lag_seconds_total", "Time that was not counted against clients, because the process itself was late.")

	deflateSessions = desc("deflate_sessions", "Open sessions that have agreed on compression.")
	deflateLimit    = desc("deflate_sessions_limit", "Bound of deflate_sessions.")
	deflateDeclined = desc("deflate_declined_total", "Handshakes that were not granted compression because of the bound.")
	deflateBusy     = desc("deflate_busy_total", "Messages sent as they are because all compressors were in use.")
	deflateMessages = desc("deflate_messages_total", "Compressed messages.", "direction")
	deflateWire     = desc("deflate_wire_bytes_total", "Payload bytes of compressed messages, as they were on the wire.", "direction")
	deflatePayload  = desc("deflate_payload_bytes_total", "Payload bytes of compressed messages, decompressed.", "direction")

	channels         = desc("channels", "Channels that have members.")
	subscriptions    = desc("channel_subscriptions", "Memberships of sessions in channels.")
	publications     = desc("publications_total", "Publications to channels.")
	publRefused      = desc("publications_refused_total", "Publications that were refused because too many waited.")
	publWaiting      = desc("publications_waiting", "Publications that have not been sent to all members yet.")
	publWaitingLimit = desc("publications_waiting_limit", "Bound of publications_waiting.")
	publBytes        = desc("publications_waiting_bytes", "Bytes of the publications that have not been sent to all members yet.")
	publBytesLimit   = desc("publications_waiting_limit_bytes", "Bound of publications_waiting_bytes.")
	untold           = desc("membership_changes_untold_total", "Changes of membership that were not told of, because too many channels changed at once.")
	delivered        = desc("deliveries_total", "Messages of publications, by what became of them at a member: accepted for sending, or missed because the session was closing or did not read.", "result")

	workers     = desc("workers", "Size of the worker pool.")
	workersBusy = desc("workers_busy", "Workers that are serving connections.")
	busySeconds = desc("worker_busy_seconds_total", "Time workers spent serving connections.")
	queueLength = desc("worker_queue_length", "Connections that wait for a worker.")
	queueWait   = desc("worker_queue_wait_seconds", "How long connections waited for a worker.")
	turns       = desc("turns_total", "Turns of connections, by where they were served.", "where")
	batches     = desc("poll_batches_total", "Batches of events fetched from epoll.")
	events      = desc("poll_events_total", "Events fetched from epoll.")
	stale       = desc("poll_stale_events_total", "Events for connections that had been closed.")

	memory = desc("memory_per_connection_bytes", "Memory of the process beyond what it had when empty, per open connection; 0 when there is none.")
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	st := c.stats()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	// Labels that are known beforehand are shown from the start, so that rates over them
	// see the first occurrence.
	counts := func(d *prometheus.Desc, m map[string]uint64, known ...string) {
		for _, name := range known {
			if _, ok := m[name]; !ok {
				count(d, 0, name)
			}
		}
		for name, n := range m {
			count(d, float64(n), name)
		}
	}
	histogram := func(d *prometheus.Desc, h counter.HistogramSnapshot) {
		buckets, total := make(map[float64]uint64), uint64(0)
		for i, n := range h.Counts {
			total += n
			if i < len(h.Bounds) {
				buckets[h.Bounds[i]] = total
			}
		}
		ch <- prometheus.MustNewConstHistogram(d, total, h.Sum, buckets)
	}

	gauge(buildInfo, 1, c.version, runtime.Version())

	gauge(connections, float64(st.Conns))
	gauge(limit, float64(st.MaxConns))
	gauge(refusing, float64(st.Refused))
	gauge(sessions, float64(st.Sessions))
	count(accepted, float64(st.Accepted))
	count(closedConns, float64(st.Closed))
	counts(refused, st.Refusals, "limit", "fd_limit")
	counts(acceptErrs, st.AcceptErrors, "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED")
	counts(pauses, st.AcceptPauses, "full", "error", "refusals")
	gauge(paused, float64(st.ListenersIdle))

	counts(handshakes, st.Handshakes, "101", "aborted")
	histogram(handshakeTime, st.HandshakeSeconds)

	count(received, float64(st.ReceivedText), "text")
	count(received, float64(st.ReceivedBinary), "binary")
	count(sent, float64(st.SentText), "text")
	count(sent, float64(st.SentBinary), "binary")
	count(receivedBytes, float64(st.ReadBytes))
	count(sentBytes, float64(st.SentBytes))
	known := map[[2]string]uint64{
		{"1000", "client"}: 0, {"1001", "client"}: 0, {"1005", "client"}: 0, {"1006", "transport"}: 0,
		{"1001", "server"}: 0, {"1002", "server"}: 0, {"1006", "server"}: 0, {"1013", "server"}: 0,
	}
	for _, n := range st.Closes {
		known[[2]string{n.Code, n.Initiator}] = n.Count
	}
	for labels, n := range known {
		count(closes, float64(n), labels[0], labels[1])
	}
	count(throttled, float64(st.Throttled))
	counts(slowCalls, st.SlowCalls, "worker", "blocking")
	gauge(blockingSize, float64(st.Blocking.Size))
	gauge(blockingBusy, float64(st.Blocking.Busy))
	gauge(blockingWait, float64(st.Blocking.Waiting))
	count(panics, float64(st.HandlerPanics))
	count(contained, float64(st.Panics))

	gauge(queueBytes, float64(st.QueueBytes))
	gauge(queueMessages, float64(st.QueueMessages))
	gauge(queueLimit, float64(st.QueueTotalBytes))
	count(dropped, float64(st.Dropped))
	counts(overflows, st.Overflows, "queue", "total")
	gauge(inboundBytes, float64(st.InboundBytes))
	gauge(inboundLimit, float64(st.InboundLimit))
	count(lost, float64(st.DroppedOldest), "drop_oldest")
	count(lost, float64(st.DroppedNewest), "drop_newest")
	count(lost, float64(st.Conflated), "keep_latest")
	counts(slow, st.SlowConsumers, "queue_full", "stalled")

	count(pingsSent, float64(st.PingsSent))
	count(pongsReceived, float64(st.PongsReceived))
	count(pingsReceived, float64(st.PingsReceived))
	count(superseded, float64(st.Superseded))
	counts(evictions, st.Evictions, "handshake_timeout", "message_timeout", "close_timeout", "ping_timeout", "control_flood", "fragment_flood", "rate_limit")
	count(sweeperLag, st.SweeperLag)

	gauge(deflateSessions, float64(st.Deflate.Sessions))
	gauge(deflateLimit, float64(st.Deflate.SessionsLimit))
	count(deflateDeclined, float64(st.Deflate.Declined))
	count(deflateBusy, float64(st.Deflate.Busy))
	count(deflateMessages, float64(st.Deflate.Received), "received")
	count(deflateMessages, float64(st.Deflate.Sent), "sent")
	count(deflateWire, float64(st.Deflate.ReceivedWire), "received")
	count(deflateWire, float64(st.Deflate.SentWire), "sent")
	count(deflatePayload, float64(st.Deflate.ReceivedBytes), "received")
	count(deflatePayload, float64(st.Deflate.SentBytes), "sent")

	gauge(channels, float64(st.Channels.Channels))
	gauge(subscriptions, float64(st.Channels.Subscriptions))
	count(publications, float64(st.Channels.Publications))
	count(publRefused, float64(st.Channels.Refused))
	gauge(publWaiting, float64(st.Channels.Waiting))
	gauge(publWaitingLimit, float64(st.Channels.WaitingLimit))
	gauge(publBytes, float64(st.Channels.WaitingBytes))
	gauge(publBytesLimit, float64(st.Channels.WaitingBytesLimit))
	count(untold, float64(st.Channels.Untold))
	count(delivered, float64(st.Channels.Delivered), "accepted")
	count(delivered, float64(st.Channels.Missed), "missed")

	gauge(workers, float64(st.Workers))
	gauge(workersBusy, float64(st.WorkersBusy))
	count(busySeconds, st.WorkerBusy.Seconds())
	gauge(queueLength, float64(st.QueueLen))
	histogram(queueWait, st.QueueWait)
	count(turns, float64(st.LoopTurns), "loop")
	count(turns, float64(st.WorkerTurns), "worker")
	count(batches, float64(st.Batches))
	count(events, float64(st.Events))
	count(stale, float64(st.StaleEvents))

	perConn := 0.0
	if now := ownMemory(); st.Conns > 0 && now > c.idle {
		perConn = float64(now-c.idle) / float64(st.Conns)
	}
	gauge(memory, perConn)
}

// ownMemory returns the bytes the Go runtime has from the system and has not given back.
func ownMemory() uint64 {
	samples := []runtimemetrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	runtimemetrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}
