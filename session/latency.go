package session

import (
	"encoding/binary"
	"time"
)

// pingPayload returns what a ping of the server's says: when it was sent, in microseconds, for
// nobody else to read.
func (d *ids) pingPayload() (p [8]byte) {
	binary.BigEndian.PutUint64(p[:], uint64(time.Since(epoch).Microseconds())^d.tag)
	return p
}

// noteLatency notes how long the answer to pingPayload took, if p is one.
func (t *turn) noteLatency(p []byte) {
	if len(p) != 8 {
		return
	}
	sent := binary.BigEndian.Uint64(p) ^ t.srv.ids.tag
	now := uint64(time.Since(epoch).Microseconds())
	if took := now - sent; took <= uint64((t.srv.cfg.PingInterval+t.srv.cfg.PingTimeout)/time.Microsecond) {
		t.rec.latency.Store(uint32(max(1, min(took, 1<<32-1))))
	}
}

// Latency returns how long the client took to answer the server's last ping, or 0 if it has not
// answered one. The time that the ping waited in the gateway is included. The server pings only
// silent clients.
func (s Session) Latency() time.Duration {
	if s.srv == nil {
		return 0
	}
	if _, open := s.srv.table.meta(s.c); !open {
		return 0
	}
	latency := s.srv.table.record(s.c).latency.Load()
	if _, open := s.srv.table.meta(s.c); !open {
		return 0 // it may have been its successor's
	}
	return time.Duration(latency) * time.Microsecond
}

// Ping pings the client, as the server does with silent clients, so that Latency has a new value.
//
// Errors: ErrClosed, ErrQueueFull, ErrDropped.
func (s Session) Ping() error {
	if s.srv == nil {
		return ErrClosed
	}
	p := s.srv.ids.pingPayload()
	return s.SendPing(p[:])
}
