package metrics

import "wsgateway/session"

// Metrics of compression.
var (
	deflateSessions = desc("deflate_sessions", "Open sessions that have agreed on compression.")
	deflateLimit    = desc("deflate_sessions_limit", "Bound of deflate_sessions.")
	deflateDeclined = desc("deflate_declined_total", "Handshakes that went without compression because of the bound.")
	deflateBusy     = desc("deflate_busy_total", "Messages sent uncompressed because all compressors were in use.")
	deflateMessages = desc("deflate_messages_total", "Compressed messages.", "direction")
	deflateWire     = desc("deflate_wire_bytes_total", "Payload bytes of compressed messages, as they were on the wire.", "direction")
	deflatePayload  = desc("deflate_payload_bytes_total", "Payload bytes of compressed messages, decompressed.", "direction")
)

func (e emitter) deflate(st *session.Stats) {
	e.gauge(deflateSessions, float64(st.Deflate.Sessions))
	e.gauge(deflateLimit, float64(st.Deflate.SessionsLimit))
	e.count(deflateDeclined, float64(st.Deflate.Declined))
	e.count(deflateBusy, float64(st.Deflate.Busy))
	e.count(deflateMessages, float64(st.Deflate.Received), "received")
	e.count(deflateMessages, float64(st.Deflate.Sent), "sent")
	e.count(deflateWire, float64(st.Deflate.ReceivedWire), "received")
	e.count(deflateWire, float64(st.Deflate.SentWire), "sent")
	e.count(deflatePayload, float64(st.Deflate.ReceivedBytes), "received")
	e.count(deflatePayload, float64(st.Deflate.SentBytes), "sent")
}
