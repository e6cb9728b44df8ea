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

// compresses reports whether messages of n bytes to the session are compressed, and with which
// window.
func (s Session) compresses(n int) (windowBits int, ok bool) {
	m, open := s.srv.table.meta(s.c)
	return m.windowBits(), open && m.deflated() && n >= s.srv.table.route(m).DeflateThreshold
}

// compressor returns one for a message of n bytes to the session, or nil if that is to be sent as
// it is. It is given back with Put.
func (s Session) compressor(n int) *wsproto.Compressor {
	d := s.srv.deflate
	if d == nil {
		return nil
	}
	bits, ok := s.compresses(n)
	if !ok {
		return nil
	}
	return s.take(bits)
}

// take takes a compressor for that window. Each time that there is none is counted.
func (s Session) take(windowBits int) *wsproto.Compressor {
	d := s.srv.deflate
	z := d.Take(windowBits)
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

// packedFrames are the compressed frames of a Prepared, by the size of their window. A frame of no
// bytes says that compression does not pay.
type packedFrames [wsproto.MaxWindowBits - wsproto.MinWindowBits + 1]atomic.Pointer[[]byte]

func (f *packedFrames) of(windowBits int) *atomic.Pointer[[]byte] {
	return &f[windowBits-wsproto.MinWindowBits]
}

// deflated returns the compressed frame of m for a session, or nil if it is to be sent the other
// one. It is made once for each size of window, for all.
func (m *Prepared) deflated(s Session) []byte {
	if s.srv.deflate == nil {
		return nil
	}
	bits, ok := s.compresses(len(m.payload))
	if !ok {
		return nil
	}
	if f := m.packed.Load(); f != nil {
		if p := f.of(bits).Load(); p != nil {
			return *p
		}
	}
	return m.pack(s, bits)
}

// pack makes the compressed frame for windows of that size, unless another goroutine has done so.
func (m *Prepared) pack(s Session, windowBits int) []byte {
	m.packing.Lock()
	defer m.packing.Unlock()
	f := m.packed.Load()
	if f == nil {
		f = new(packedFrames)
		m.packed.Store(f)
	}
	if p := f.of(windowBits).Load(); p != nil {
		return *p
	}
	z := s.take(windowBits)
	if z == nil {
		return nil // none is free: another session will try again
	}
	defer s.srv.deflate.Put(z)
	var frame []byte
	if wire := z.Compress(m.payload); wire != nil {
		frame = make([]byte, 0, maxHeader+len(wire))
		frame = append(wsproto.AppendDeflatedHeader(frame, m.op, len(wire)), wire...)
	}
	f.of(windowBits).Store(&frame)
	return frame
}
