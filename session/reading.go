package session

import (
	"encoding/binary"
	"time"

	"wsgateway/netpoll"
)

// PauseReading stops reading from the client, until ResumeReading: what it sends stays in the kernel and
// slows it down (TCP flow control). No message is delivered after PauseReading has returned within a
// callback of the session; from another goroutine, one may be on its way. Nor are pings
// answered, or the end of the client's input seen unless it is a reset, and the silence of the client is
// not held against it.
//
// Errors: ErrClosed.
func (s Session) PauseReading() error { return s.setFlag(flagPaused, true) }

// ResumeReading ends a PauseReading.
//
// Errors: ErrClosed.
func (s Session) ResumeReading() error { return s.setFlag(flagPaused, false) }

// Terminate ends the session at once, without a closing handshake: what is queued is dropped and the
// connection reset. OnClose says ByServer and 1006, unless a closing handshake had begun.
//
// Errors: ErrClosed if the session has ended.
func (s Session) Terminate() error {
	return s.setFlag(flagTerminate, true)
}

func (s Session) setFlag(flag uint32, on bool) error {
	err := s.srv.owned(s.c, func(rec *record) error {
		if on {
			rec.flags.Or(flag)
		} else {
			rec.flags.And(^flag)
		}
		return nil
	})
	if err == nil {
		err = s.srv.tr.Wake(s.c)
	}
	return err
}

// held reports whether a client is not to be read from. One that is closing is: its Close frame counts.
func (s *Server) held(c conn, rec *record, route *route) bool {
	busy := route.Mode == MayBlock && s.exec.busy(c) // before the flags: its last call may set one
	flags := rec.flags.Load()
	if flags&^flagHeld == 0 && !busy && !route.limited {
		return false
	}
	if rec.closing(c) && flags&flagTerminate == 0 {
		return false
	}
	return flags&(flagPaused|flagTerminate) != 0 || busy ||
		flags&lastFlood != 0 && s.flooding(rec, flags) || route.limited && s.throttled(c, route)
}

// flooding reports whether a client owes the time for its control frames.
func (s *Server) flooding(rec *record, flags uint32) bool {
	now := s.tr.Now()
	if rec.control.wait(s.control, now) > 0 {
		return true
	}
	if o := (offence{last: flags & lastFlood}); o.over(now) {
		rec.forgetFlood()
	}
	return false
}

// hold stops reading. While it lasts the client cannot be late.
func (s *Server) hold(t *netpoll.Turn, rec *record, route *route) {
	if rec.flags.Or(flagHeld)&flagHeld == 0 && rec.part != 0 {
		s.parts.At(rec.part - 1).held = max(1, s.tr.Now())
	}
	t.Pause()
	var d time.Duration
	if flags := rec.flags.Load(); flags&flagPaused == 0 {
		if route.limited {
			d = s.throttle(t.Conn()).wait(&route.Rate)
		}
		if flags&lastFlood != 0 {
			d = max(d, rec.control.wait(s.control, s.tr.Now()), time.Millisecond) // time has gone on since held looked
		}
	}
	s.deadline(t, rec, d)
}

// release ends hold. For what is incomplete the time has stood still.
func (s *Server) release(t *netpoll.Turn, rec *record) {
	if rec.flags.Load()&flagHeld == 0 {
		return
	}
	rec.flags.And(^flagHeld)
	s.deadline(t, rec, 0)
	if rec.part != 0 {
		pt := s.parts.At(rec.part - 1)
		if pt.held != 0 {
			d := s.tr.Now() - pt.held
			pt.frame.shift(d)
			pt.message.shift(d)
			pt.held = 0
		}
		if pt.restOff == len(pt.rest) {
			s.park(t, rec, &pt.dec)
		}
	}
	if rec.part == 0 || s.parts.At(rec.part-1).restOff == len(s.parts.At(rec.part-1).rest) {
		t.Resume()
	}
}

// pingPayload returns what a ping of the server's says: when it was sent, in microseconds, for
// nobody else to read.
func (s *Server) pingPayload() (p [8]byte) {
	binary.BigEndian.PutUint64(p[:], uint64(time.Since(epoch).Microseconds())^s.ids.tag)
	return p
}

// pongCame notes how long the answer to pingPayload took.
func (s *Server) pongCame(rec *record, p []byte) {
	if len(p) != 8 {
		return
	}
	sent := binary.BigEndian.Uint64(p) ^ s.ids.tag
	now := uint64(time.Since(epoch).Microseconds())
	if took := now - sent; took <= uint64((s.cfg.PingInterval+s.cfg.PingTimeout)/time.Microsecond) {
		rec.latency.Store(uint32(max(1, min(took, 1<<32-1))))
	}
}

// Latency returns how long the client took to answer the server's last ping, the time it waited in the
// gateway included; 0 if it has not answered one. Clients that are not silent are not pinged.
func (s Session) Latency() time.Duration {
	if s.srv == nil {
		return 0
	}
	if _, open := s.srv.meta(s.c); !open {
		return 0
	}
	latency := s.srv.record(s.c).latency.Load()
	if _, open := s.srv.meta(s.c); !open {
		return 0 // it may have been its successor's
	}
	return time.Duration(latency) * time.Microsecond
}

// Ping pings the client for Latency, as the server does when it is silent.
//
// Errors: ErrClosed, ErrQueueFull, ErrDropped.
func (s Session) Ping() error {
	if s.srv == nil {
		return ErrClosed
	}
	p := s.srv.pingPayload()
	return s.SendPing(p[:])
}
