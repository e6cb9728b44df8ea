package session

import "time"

// PauseReading stops reading from the client, until ResumeReading. What the client sends stays in
// the kernel and slows it down (TCP flow control). If a callback of the session calls PauseReading,
// no message is delivered after that. If another goroutine calls it, one more message may be on its
// way. While reading is paused, pings are not answered, an orderly end of the client's input is not
// seen, and the client's silence does not count.
//
// Errors: ErrClosed.
func (s Session) PauseReading() error { return s.setFlag(flagPaused, true) }

// ResumeReading ends a PauseReading.
//
// Errors: ErrClosed.
func (s Session) ResumeReading() error { return s.setFlag(flagPaused, false) }

// Terminate ends the session at once, without a closing handshake. What is queued is dropped, and
// the connection is reset. OnClose gets ByServer and 1006, unless a closing handshake had begun.
//
// Errors: ErrClosed if the session has ended.
func (s Session) Terminate() error {
	return s.setFlag(flagTerminate, true)
}

func (s Session) setFlag(flag uint32, on bool) error {
	if s.srv == nil {
		return ErrClosed
	}
	err := s.srv.table.owned(s.c, func(rec *record) {
		if on {
			rec.flags.Or(flag)
		} else {
			rec.flags.And(^flag)
		}
	})
	if err == nil {
		err = s.srv.tr.Wake(s.c)
	}
	return err
}

// refill gives the client what has been added to its allowances since its last turn.
func (t *turn) refill() {
	now := t.now()
	if t.route.limited {
		t.throttle().refill(&t.route.Rate, now)
	}
	t.rec.control.refresh(t.srv.control, now)
	t.rec.tiny.refresh(t.route.tiny, now)
}

// held reports whether a client is not to be read from. One that is closing is: its Close frame counts.
func (t *turn) held() bool {
	busy := t.busy() // before the flags: its last call may set one
	flags := t.rec.flags.Load()
	if flags&^flagHeld == 0 && !busy && !t.route.limited {
		return false
	}
	if t.rec.closing(t.c) && flags&flagTerminate == 0 {
		return false
	}
	return flags&(flagPaused|flagTerminate) != 0 || busy || flags&lastFlood != 0 && t.flooding(flags) || t.throttled()
}

// busy reports whether a call of the session's handler waits or runs in the pool.
func (t *turn) busy() bool { return t.route.Mode == MayBlock && t.route.calls().Busy(t.c) }

// flooding reports whether a client owes the time for its control frames.
func (t *turn) flooding(flags uint32) bool {
	now := t.now()
	if t.rec.control.wait(t.srv.control, now) > 0 {
		return true
	}
	if o := (offence{last: flags & lastFlood}); o.expired(now) {
		t.rec.forgetFlood()
	}
	return false
}

func (t *turn) throttle() *throttle { return t.srv.throttles.At(t.c.Index()) }

// throttled reports whether a client has sent more than its route's Rate allows.
func (t *turn) throttled() bool {
	if !t.route.limited {
		return false
	}
	th := t.throttle()
	if th.wait(&t.route.Rate) == 0 {
		return false
	}
	th.refill(&t.route.Rate, t.now())
	return th.wait(&t.route.Rate) > 0
}

// exceeded notes that a client which is held is throttled, if it is, and reports whether it has been so for
// too long.
func (t *turn) exceeded() (tooLong bool) {
	if !t.throttled() {
		return false
	}
	t.srv.stats.throttled.Add(1)
	return t.throttle().stop(&t.route.Rate, t.now())
}

// hold stops reading. While it lasts the client cannot be late.
func (t *turn) hold() {
	if pt := t.partial(); t.rec.flags.Or(flagHeld)&flagHeld == 0 && pt != nil {
		pt.held = max(1, t.srv.tr.Now())
	}
	t.Pause()
	var d time.Duration
	if flags := t.rec.flags.Load(); flags&flagPaused == 0 {
		if t.route.limited {
			d = t.throttle().wait(&t.route.Rate)
		}
		if flags&lastFlood != 0 {
			d = max(d, t.rec.control.wait(t.srv.control, t.srv.tr.Now()), time.Millisecond) // time has gone on since held looked
		}
	}
	t.deadline(d)
}

// release ends hold. For what is incomplete the time has stood still.
func (t *turn) release() {
	if t.rec.flags.Load()&flagHeld == 0 {
		return
	}
	t.rec.flags.And(^flagHeld)
	t.deadline(0)
	if pt := t.partial(); pt != nil {
		if pt.held != 0 {
			d := t.now() - pt.held
			pt.input.shift(d)
			pt.held = 0
		}
		if !t.unframed() {
			t.park(&pt.dec)
		}
	}
	if !t.unframed() {
		t.Resume()
	}
}
