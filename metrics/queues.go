package metrics

import "wsgateway/session"

// Metrics of outbound queues and inbound buffers.
var (
	queueBytes    = desc("outbound_queue_bytes", "Bytes in all outbound queues.")
	queueMessages = desc("outbound_queue_messages", "Messages in all outbound queues.")
	queueLimit    = desc("outbound_queue_limit_bytes", "Bound of outbound_queue_bytes.")
	dropped       = desc("outbound_dropped_messages_total", "Messages that will never be sent, because a queue was full or its session ended.")
	overflows     = desc("outbound_overflows_total", "Messages that did not fit, by the bound they hit: of the connection's queue, or of the total.", "bound")
	inboundBytes  = desc("inbound_buffer_bytes", "Memory of incomplete requests and messages.")
	inboundLimit  = desc("inbound_buffer_limit_bytes", "Bound of inbound_buffer_bytes.")
	lost          = desc("outbound_policy_messages_total", "Messages not sent to a client that did not read, by the policy of its route: dropped, or replaced by a later one with the same key.", "policy")
	slow          = desc("slow_consumers_total", "Sessions closed because the client did not read, by reason.", "reason")
)

func (e emitter) queues(st *session.Stats) {
	e.gauge(queueBytes, float64(st.QueueBytes))
	e.gauge(queueMessages, float64(st.QueueMessages))
	e.gauge(queueLimit, float64(st.QueueTotalBytes))
	e.count(dropped, float64(st.Dropped))
	e.counts(overflows, st.Overflows, "queue", "total")
	e.gauge(inboundBytes, float64(st.InboundBytes))
	e.gauge(inboundLimit, float64(st.InboundLimit))
	e.count(lost, float64(st.DroppedOldest), "drop_oldest")
	e.count(lost, float64(st.DroppedNewest), "drop_newest")
	e.count(lost, float64(st.Conflated), "keep_latest")
	e.counts(slow, st.SlowConsumers, "queue_full", "stalled", "user_timeout")
}
