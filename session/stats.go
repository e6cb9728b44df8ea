package session

import (
	"strconv"
	"sync/atomic"

	"wsgateway/internal/counter"
	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// workerStats are the counters of one loop or worker.
type workerStats struct {
	text, binary atomic.Uint64
	pings, pongs atomic.Uint64

	deflated, deflatedWire, deflatedBytes atomic.Uint64 // messages received compressed

	_ [64]byte
}

func (w *workerStats) inflated(wire, n int) {
	w.deflated.Add(1)
	w.deflatedWire.Add(uint64(wire))
	w.deflatedBytes.Add(uint64(n))
}

func (w *workerStats) received(op wsproto.Opcode) {
	if op == wsproto.OpText {
		w.text.Add(1)
	} else {
		w.binary.Add(1)
	}
}

type stats struct {
	text, binary counter.Sharded // sent
	handshakes   [600]atomic.Uint64
	upgrades     counter.Histogram
	closes       [closeClasses][3]atomic.Uint64 // by Initiator
	slow         counter.Labelled
	evictions    counter.Labelled
	pings        atomic.Uint64 // sent to silent clients
	lag          atomic.Uint64 // nanoseconds
	panics       atomic.Uint64
	slowCalls    counter.Labelled
	throttled    atomic.Uint64
}

func (s *stats) sent(c conn, op wsproto.Opcode) {
	if op == wsproto.OpText {
		s.text.Add(c.Index(), 1)
	} else {
		s.binary.Add(c.Index(), 1)
	}
}

// statusAborted stands for a client that left before its request was complete.
const statusAborted = 0

func (s *stats) handshake(status int) {
	if status < 0 || status >= len(s.handshakes) {
		status = 500
	}
	s.handshakes[status].Add(1)
}

func (s *stats) notifyClosed(code wsproto.StatusCode, by Initiator) {
	s.closes[closeClass(code)][by].Add(1)
}

// The codes that ends of sessions are counted by: 1000 to 1015 each, and three classes. Codes that clients
// may choose freely are put together, so that no client can fill the memory of whoever keeps the counts.
const (
	closeClassOther = 16 + iota
	closeClass3xxx
	closeClass4xxx
	closeClasses
)

func closeClass(code wsproto.StatusCode) int {
	switch {
	case code >= 4000:
		return closeClass4xxx
	case code >= 3000:
		return closeClass3xxx
	case code >= 1000 && code < 1000+closeClassOther:
		return int(code) - 1000
	}
	return closeClassOther
}

func closeLabel(class int) string {
	switch class {
	case closeClassOther:
		return "other"
	case closeClass3xxx:
		return "3xxx"
	case closeClass4xxx:
		return "4xxx"
	}
	return strconv.Itoa(1000 + class)
}

var upgradeBounds = []float64{250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5}

// CloseCount says how often sessions ended with one code by one side.
type CloseCount struct {
	Code      string // the number, or "3xxx", "4xxx", "other"
	Initiator string
	Count     uint64
}

// Stats is a snapshot of a server's gauges and counters.
type Stats struct {
	netpoll.Stats

	Sessions int // open sessions
	Draining bool

	RouteTables      int    // the current one and earlier ones that still have sessions, see Server.SetRoutes
	RouteGeneration  uint64 // how often the routes have been set; NewServer is the first time
	RouteTablesLimit int    // MaxRouteTables

	Handshakes       map[string]uint64 // by HTTP status, "aborted" for clients that left before
	HandshakeSeconds Histogram

	ReceivedText, ReceivedBinary uint64 // messages
	SentText, SentBinary         uint64 // messages accepted for sending
	PingsReceived, PongsReceived uint64
	PingsSent                    uint64 // to silent clients

	Closes        []CloseCount
	SlowConsumers map[string]uint64 // by reason: queue_full, stalled, user_timeout
	Evictions     map[string]uint64 // by reason
	SweeperLag    float64           // seconds for which the gateway's time stood still
	HandlerPanics uint64            // caught around a handler's call
	Throttled     uint64            // how often reading stopped because a client exceeded its Rate
	SlowCalls     map[string]uint64 // calls of handlers of over 100 ms, by pool: worker, blocking
	Blocking      BlockingStats     // of all routes
	// BlockingRoutes has the routes whose calls may block, by Route.Path.
	BlockingRoutes map[string]BlockingStats

	InboundBytes int64 // memory of incomplete input
	InboundLimit int64

	Deflate  DeflateStats
	Channels ChannelStats
}

// ChannelStats are the gauges and counters of channels and users. Publications are those to channels, to
// users and to all.
type ChannelStats struct {
	Channels      int // that have members
	Subscriptions int // memberships of all sessions in them

	Users        int // that have open sessions, see Session.SetUser
	UserSessions int // sessions that have a user

	Publications      uint64 // taken
	Refused           uint64 // refused with ErrBusy
	Waiting           int    // publications that have not been sent to all members
	WaitingLimit      int    // their bound
	WaitingBytes      int64  // of them
	WaitingBytesLimit int64

	Untold uint64 // changes of membership dropped, too many channels changed at once

	Delivered uint64 // messages of publications accepted for sending to a member
	Missed    uint64 // messages not accepted: the member was closing, or did not read fast enough
}

// DeflateStats are the gauges and counters of compression.
type DeflateStats struct {
	Sessions      int    // open sessions that have agreed on it
	SessionsLimit int    // their bound
	Declined      uint64 // handshakes that went without it because of the bound
	Busy          uint64 // messages sent uncompressed because all compressors were in use

	Received, Sent           uint64 // messages that were compressed
	ReceivedWire, SentWire   uint64 // their bytes, compressed
	ReceivedBytes, SentBytes uint64 // their bytes, decompressed
}

// Stats returns a snapshot. Its parts are read one after the other.
func (s *Server) Stats() Stats {
	st := Stats{
		Stats:      s.reactor.Stats(),
		Sessions:   int(s.open.Load()),
		Draining:   s.draining.Load(),
		Handshakes: make(map[string]uint64),

		HandshakeSeconds: netpoll.NewHistogram(upgradeBounds),

		SentText:      s.stats.text.Load(),
		SentBinary:    s.stats.binary.Load(),
		PingsSent:     s.stats.pings.Load(),
		SlowConsumers: s.stats.slow.Load(),
		Evictions:     s.stats.evictions.Load(),
		SweeperLag:    float64(s.stats.lag.Load()) / 1e9,
		HandlerPanics: s.stats.panics.Load(),
		Throttled:     s.stats.throttled.Load(),
		SlowCalls:     s.stats.slowCalls.Load(),
		InboundBytes:  s.bufs.used.Load(),
		InboundLimit:  s.bufs.limit,
	}
	st.RouteGeneration, st.RouteTables = s.table.routes.stats()
	st.RouteTablesLimit = MaxRouteTables
	st.HandshakeSeconds.Sum = s.stats.upgrades.AddTo(st.HandshakeSeconds.Counts)
	for status := range s.stats.handshakes {
		if n := s.stats.handshakes[status].Load(); n > 0 {
			name := strconv.Itoa(status)
			if status == statusAborted {
				name = "aborted"
			}
			st.Handshakes[name] = n
		}
	}
	for class := range s.stats.closes {
		for by := range s.stats.closes[class] {
			if n := s.stats.closes[class][by].Load(); n > 0 {
				st.Closes = append(st.Closes, CloseCount{closeLabel(class), Initiator(by).String(), n})
			}
		}
	}
	for _, w := range s.workers {
		st.ReceivedText += w.stats.text.Load()
		st.ReceivedBinary += w.stats.binary.Load()
		st.PingsReceived += w.stats.pings.Load()
		st.PongsReceived += w.stats.pongs.Load()
		st.Deflate.Received += w.stats.deflated.Load()
		st.Deflate.ReceivedWire += w.stats.deflatedWire.Load()
		st.Deflate.ReceivedBytes += w.stats.deflatedBytes.Load()
	}
	st.Blocking, st.BlockingRoutes = s.blockingStats()
	h := s.memberships.hub.Stats()
	st.Channels = ChannelStats{
		Publications:      h.Published,
		Refused:           h.Refused,
		Waiting:           h.Waiting,
		WaitingLimit:      h.WaitingLimit,
		WaitingBytes:      h.WaitingBytes,
		WaitingBytesLimit: h.WaitingBytesLimit,
		Delivered:         h.Delivered,
		Missed:            h.Missed,
	}
	st.Channels.Channels, st.Channels.Subscriptions = s.memberships.channels.Used()
	st.Channels.Users, st.Channels.UserSessions = s.memberships.users.Used()
	if p := s.memberships.presence; p != nil {
		p.mu.Lock()
		st.Channels.Untold = p.dropped
		p.mu.Unlock()
	}
	if d := s.deflate; d != nil {
		st.Deflate.Sessions, st.Deflate.SessionsLimit = int(d.sessions.Load()), int(d.limit)
		st.Deflate.Declined, st.Deflate.Busy = d.declined.Load(), d.busy.Load()
		st.Deflate.Sent, st.Deflate.SentWire, st.Deflate.SentBytes = d.sent.Load(), d.sentWire.Load(), d.sentBytes.Load()
	}
	return st
}
