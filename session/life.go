package session

import (
	"context"

	"wsgateway/netpoll"
)

// Start starts serving. It returns at once.
//
// Errors: those of the system; ErrStarted, ErrStopped after StopListening, ErrReactorClosed after
// Close.
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
	s.started.Store(true)
	return nil
}

// drain notes that the server is ending.
func (s *Server) drain() {
	if !s.draining.Swap(true) {
		close(s.drained)
	}
}
