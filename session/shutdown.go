package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wsgateway/wsproto"
)

// ErrHandlerStuck is returned by Close and Shutdown when calls of handlers have not returned in
// time. The sessions of these calls end when the calls return. All other sessions have ended. Their
// OnClose may still have to wait if calls that do not return hold their route's whole pool.
var ErrHandlerStuck = errors.New("session: calls of handlers do not return")

const (
	// closeGrace is how long Shutdown waits for handlers when its context is over: for calls that have only just
	// begun, such as those of OnClose.
	closeGrace = 100 * time.Millisecond
	// maxReserve is for how long before the end of Shutdown's context clients may answer the Close frame whose
	// handlers have not come to an end.
	maxReserve = time.Second
)

// Shutdown ends the server in an orderly way, within ctx:
//
//   - Listeners are closed, and handshakes are refused with 503. Connections that have sent nothing
//     are closed.
//   - Publications are refused with ErrDraining. Those that were accepted are sent to all members.
//   - Sessions whose handlers are not in a call are closed with 1001. Calls that wait or run may
//     finish and send. Then their sessions are closed with 1001 too.
//   - Shortly before the deadline of ctx (a fifth of its time, at most 1 s) sessions whose handlers
//     are still busy get the Close frame too.
//   - When ctx is over, clients that have not answered are cut off. Shutdown does not wait for
//     calls that still run.
//
// Then Close is called. A client that takes nothing of what it is sent for Reactor.CloseTimeout is cut off
// before ctx is over. So is one that sends a single frame for longer than twice that: it cannot answer
// the Close frame before the frame's end.
//
// The error joins up to three: a CutOffError if clients were cut off; the error of ctx if it ended
// before all clients were gone or all publications were sent; and the error of Close, which is
// ErrHandlerStuck if handlers do not return within ctx, or within Config.HandlerTimeout after the
// last client has gone.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drain()
	s.reactor.StopAccepting()
	before := s.reactor.Stats().CutOff
	unsent := s.memberships.drain(ctx)
	s.goingAway.Store(true)
	err := errors.Join(unsent, s.seeOff(ctx))
	err = errors.Join(err, s.closeWithin(ctx))
	if n := s.reactor.Stats().CutOff - before; n > 0 {
		err = errors.Join(CutOffError(n), err)
	}
	return err
}

// CutOffError is returned by Shutdown, joined with other errors: find it with errors.As. It is the
// number of clients whose connections were closed before they had got everything or had answered
// the Close frame.
type CutOffError int

// Error implements error.
func (n CutOffError) Error() string {
	return fmt.Sprintf("session: %d clients were cut off", int(n))
}

// seeOff closes all sessions, and waits until no connection is left, or ctx is over.
func (s *Server) seeOff(ctx context.Context) error {
	patient, stop := withReserve(ctx)
	defer stop()
	for {
		parent, all := patient, patient.Err() != nil
		if all {
			parent = ctx
		}
		s.sendAway(all)
		// Handshakes that were under way when draining was set may still open a session.
		step, cancel := context.WithTimeout(parent, 100*time.Millisecond)
		err := s.reactor.Wait(step)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// withReserve returns a context that ends a while before ctx does, if that has a deadline.
func withReserve(ctx context.Context) (context.Context, context.CancelFunc) {
	at, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, at.Add(-min(time.Until(at)/5, maxReserve)))
}

// sendAway closes the sessions whose handlers are not in a call, or all of them, and connections that have not
// said a word.
func (s *Server) sendAway(all bool) {
	for c, m := range s.table.connections(s.tr.High()) {
		switch m.phase() {
		case phaseHandshake:
			_ = s.tr.Wake(c) // its turn closes it if it has said nothing
		case phaseOpen:
			if all {
				_ = Session{s, c}.beginClose(wsproto.StatusGoingAway, "") // or the client was first
			} else if !s.table.record(c).closing(c) {
				_ = s.tr.Wake(c) // its turn closes it when no call runs
			}
		}
	}
}

// goAway closes the session if the server shuts down and no call of its handler waits or runs. It
// gets a turn for this when the last call has returned.
func (t *turn) goAway() {
	if !t.srv.goingAway.Load() || t.rec.closing(t.c) || t.busy() {
		return
	}
	_ = t.session().beginClose(wsproto.StatusGoingAway, "") // or somebody was first
}

// Close ends the server at once: every session ends without a closing handshake. It waits for calls
// of handlers that are under way for up to Config.HandlerTimeout, and about as long again for the
// calls of OnClose that it causes. Handlers must not call Close or Shutdown, which would wait for
// them. Later calls of Close wait for the first one and return its error.
//
// Errors: ErrHandlerStuck.
func (s *Server) Close() error {
	s.beginEnd(s.cfg.HandlerTimeout)
	<-s.ended
	return s.endErr
}

// closeWithin is Close that waits no longer than a moment after ctx is over.
func (s *Server) closeWithin(ctx context.Context) error {
	patience := s.cfg.HandlerTimeout
	if at, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(at)/2) // the reactor may take it twice
	}
	if ctx.Err() != nil {
		patience = 0
	}
	s.beginEnd(max(patience, closeGrace/2))
	select {
	case <-s.ended:
		return s.endErr
	case <-ctx.Done():
	}
	late := time.NewTimer(2 * closeGrace)
	defer late.Stop()
	select {
	case <-s.ended:
		return s.endErr
	case <-late.C:
		return ErrHandlerStuck
	}
}

// beginEnd ends the server, once, in a goroutine that closes ended when it is done: calls of handlers that do
// not return take it a few times patience.
func (s *Server) beginEnd(patience time.Duration) {
	s.closing.Do(func() {
		go func() {
			s.endErr = s.end(patience)
			close(s.ended)
		}()
	})
}

func (s *Server) end(patience time.Duration) (err error) {
	s.drain()
	s.cancel(ErrClosed)
	s.starting.Lock()
	s.done = true
	started := s.stopSweep != nil
	s.starting.Unlock()
	if started {
		s.stopSweep()
		s.sweeping.Wait()
	}
	s.memberships.hub.Close()
	begin := time.Now()
	// left is how long may still be waited, and a tenth of all for what has only just begun.
	left := func() time.Duration { return max(patience-time.Since(begin), patience/10) }
	if s.reactor.CloseWithin(patience) != nil { // has been logged
		err = ErrHandlerStuck
	}
	if p := s.memberships.presence; p != nil && started && !p.close(left()) {
		s.log.Error("OnMembership does not return")
		err = ErrHandlerStuck
	}
	if n := s.calls.close(left()); n > 0 {
		s.log.Error("calls of handlers that may block do not return", "calls", n)
		err = ErrHandlerStuck
	}
	return err
}
