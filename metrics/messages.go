package metrics

import "wsgateway/session"

// Metrics of messages.
var (
	received      = desc("messages_received_total", "Messages received.", "type")
	sent          = desc("messages_sent_total", "Messages accepted for sending.", "type")
	receivedBytes = desc("received_bytes_total", "Bytes read from clients, framing and handshakes included.")
	sentBytes     = desc("sent_bytes_total", "Bytes the kernel took for clients, framing and handshakes included.")
	throttled     = desc("throttled_total", "How often reading from a client stopped because it sent more messages, bytes, or control frames than it may.")
)

func (e emitter) messages(st *session.Stats) {
	e.count(received, float64(st.ReceivedText), "text")
	e.count(received, float64(st.ReceivedBinary), "binary")
	e.count(sent, float64(st.SentText), "text")
	e.count(sent, float64(st.SentBinary), "binary")
	e.count(receivedBytes, float64(st.ReadBytes))
	e.count(sentBytes, float64(st.SentBytes))
	e.count(throttled, float64(st.Throttled))
}
