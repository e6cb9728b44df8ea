package session

import (
	"sync/atomic"

	"wsgateway/internal/counter"
	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// deflate is what all sessions with compression share.
type deflate struct {
	*wsproto.Deflater
	limit    int64
	sessions atomic.Int64
	declined atomic.Uint64
	busy     counter.Sharded

	sent, sentWire, sentBytes counter.Sharded
}

// admit counts a session that may agree on compression, if there is room for one.
func (d *deflate) admit() bool {
	if d.sessions.Add(1) > d.limit {
		d.sessions.Add(-1)
		d.declined.Add(1)
		return false
	}
	return true
}

// giveUpDeflate takes back admit, for a session that had agreed on compression.
func (s *Server) giveUpDeflate(agreed bool) {
	if agreed {
		s.deflate.sessions.Add(-1)
	}
}

// compresses reports whether messages of n bytes to the session are compressed.
func (s Session) compresses(n int) bool {
	m, open := s.srv.table.meta(s.c)
	return open && m.deflated() && n >= s.srv.table.route(m).DeflateThreshold
}

// compressor returns one for a message of n bytes to the session, or nil if that is to be sent as
// it is. It is given back with Put.
func (s Session) compressor(n int) *wsproto.Compressor {
	d := s.srv.deflate
	if d == nil {
		return nil
	}
	if !s.compresses(n) {
		return nil
	}
	z := d.Take()
	if z == nil {
		d.busy.Add(s.c.Index(), 1)
	}
	return z
}

// sendDeflated sends a message compressed, and reports whether it has: if not, it is to be sent
// as it is.
func (s Session) sendDeflated(op wsproto.Opcode, p []byte, key uint64) (sent bool, err error) {
	z := s.compressor(len(p))
	if z == nil {
		return false, nil
	}
	d := s.srv.deflate
	defer d.Put(z)
	wire := z.Compress(p)
	if wire == nil {
		return false, nil
	}
	var b [maxHeader]byte
	head := netpoll.MakePrefix(wsproto.AppendDeflatedHeader(b[:0], op, len(wire)))
	if err := s.srv.tr.Send(s.c, netpoll.Message{Prefix: head, Body: wire, Policy: s.srv.table.policy(s.c), Key: key}); err != nil {
		return true, err
	}
	d.count(s.c, len(wire), len(p))
	return true, nil
}

func (d *deflate) count(c conn, wire, n int) {
	d.sent.Add(c.Index(), 1)
	d.sentWire.Add(c.Index(), uint64(wire))
	d.sentBytes.Add(c.Index(), uint64(n))
}

// deflated returns the compressed frame of m for a session, or nil if it is to be sent the other
// one. It is made once, for all.
func (m *Prepared) deflated(s Session) []byte {
	if s.srv.deflate == nil {
		return nil
	}
	if !s.compresses(len(m.payload)) {
		return nil
	}
	if p := m.packed.Load(); p != nil {
		return *p
	}
	m.packing.Lock()
	defer m.packing.Unlock()
	if p := m.packed.Load(); p != nil {
		return *p
	}
	z := s.compressor(len(m.payload))
	if z == nil {
		return nil // none is free: another session will try again
	}
	defer s.srv.deflate.Put(z)
	var frame []byte
	if wire := z.Compress(m.payload); wire != nil {
		frame = make([]byte, 0, maxHeader+len(wire))
		frame = append(wsproto.AppendDeflatedHeader(frame, m.op, len(wire)), wire...)
	}
	m.packed.Store(&frame)
	return frame
}
