package session

import (
	"context"
	"errors"
	"time"

	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

// Start starts serving. It returns at once.
//
// Errors: those of the system; as those of Listen when it is too late.
func (s *Server) Start() error {
	if err := s.reactor.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.starting.Lock()
	defer s.starting.Unlock()
	if s.done {
		cancel()
		return netpoll.ErrReactorClosed
	}
	s.stopSweep = cancel
	s.sweeping.Add(1)
	s.memberships.start()
	go func() { // ended by cancel, awaited by Close
		defer s.sweeping.Done()
		s.sweep(ctx)
	}()
	return nil
}

// Shutdown ends the server in an orderly way: listeners are closed, publications are refused with
// ErrDraining, those that were accepted are sent to all members, every session is closed with 1001, connections that have not said a word are closed, and when all are gone, or ctx is over,
// what is left is cut off, and Close called. The error is that of ctx if clients had to be cut off, or
// publications were not sent in time, and that of Close.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drain()
	s.reactor.StopAccepting()
	unsent := s.memberships.drain(ctx)
	// A handshake that was under way when draining was set may still open a session.
	var err error
	for {
		s.closeAll(wsproto.StatusGoingAway, "")
		step, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		err = s.reactor.Wait(step)
		cancel()
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	return errors.Join(unsent, err, s.Close())
}

// ErrHandlerStuck is returned by Close and Shutdown when calls of handlers have not returned within
// Config.HandlerTimeout. The sessions of these calls end when they return; all others have ended, but for OnClose
// of routes that may block where such calls hold the whole pool.
var ErrHandlerStuck = errors.New("session: calls of handlers do not return")

// Close ends the server at once: every session ends without a closing handshake. It waits for calls of
// handlers that are under way for Config.HandlerTimeout, and about as long again for those of OnClose that
// it brings about. Handlers must not call it, nor Shutdown: it would wait for them. Later calls wait for the
// first, and return what it does.
//
// Errors: ErrHandlerStuck.
func (s *Server) Close() error {
	s.closing.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

// drain notes that the server is ending.
func (s *Server) drain() {
	if !s.draining.Swap(true) {
		close(s.drained)
	}
}

func (s *Server) close() (err error) {
	s.drain()
	s.cancel()
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
	left := func() time.Duration { return max(s.cfg.HandlerTimeout-time.Since(begin), s.cfg.HandlerTimeout/10) }
	if s.reactor.Close() != nil { // has been logged
		err = ErrHandlerStuck
	}
	if p := s.memberships.presence; p != nil && started && !p.close(left()) {
		s.log.Error("OnMembership does not return")
		err = ErrHandlerStuck
	}
	if s.exec != nil {
		if n := s.exec.close(left()); n > 0 {
			s.log.Error("calls of handlers that may block do not return", "calls", n)
			err = ErrHandlerStuck
		}
	}
	return err
}

func (s *Server) closeAll(code wsproto.StatusCode, reason string) {
	for c, m := range s.table.connections(s.tr.High()) {
		switch m.phase() {
		case phaseHandshake:
			_ = s.tr.Wake(c) // its turn closes it if it has said nothing
		case phaseOpen:
			_ = Session{s, c}.beginClose(code, reason) // or the client was first
		}
	}
}
