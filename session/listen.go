package session

import (
	"errors"
	"net"
)

// ErrServerClosed is returned by Serve and ListenAndServe after Shutdown or Close.
var ErrServerClosed = errors.New("session: server closed")

// ListenAndServe listens on addr, see Listen, and serves until Shutdown or Close is called. Then it
// returns ErrServerClosed at once, while Shutdown may still be waiting for clients: wait for
// Shutdown before the program ends.
//
// Errors: those of Listen and Start.
func (s *Server) ListenAndServe(addr string) error {
	if _, err := s.Listen(addr); err != nil {
		return orClosed(s, err)
	}
	return s.serve()
}

// Serve serves the clients that connect to ln, a *net.TCPListener or *net.UnixListener, until
// Shutdown or Close is called. Then it returns ErrServerClosed at once, see ListenAndServe. Several
// calls, each with a listener of its own, may run at a time. See ListenOn for what becomes of ln.
//
// Errors: those of ListenOn and Start.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.ListenOn(ln); err != nil {
		return orClosed(s, err)
	}
	return s.serve()
}

func (s *Server) serve() error {
	if err := s.Start(); err != nil && !errors.Is(err, ErrStarted) {
		return orClosed(s, err)
	}
	<-s.drained
	return ErrServerClosed
}

// orClosed returns ErrServerClosed in place of err if that is why it could not serve.
func orClosed(s *Server, err error) error {
	if s.Draining() && (errors.Is(err, ErrStopped) || errors.Is(err, ErrReactorClosed)) {
		return ErrServerClosed
	}
	return err
}

// Listen adds an address: "host:port", ":port" or "unix:/path". Clients are accepted there from
// Start on. It is ListenWith with the defaults.
//
// Errors: those of ListenWith.
func (s *Server) Listen(addr string) (net.Addr, error) {
	return s.reactor.Listen(ListenConfig{Addr: addr})
}

// ListenWith adds the address of lc. When it fails it may be called again. If accepting fails
// later, the listener pauses for a moment and goes on. If the listening socket is shut down from
// outside (shutdown(2)), it listens again.
//
// Errors: those of the system; ErrStopped after StopListening, ErrReactorClosed after Close.
func (s *Server) ListenWith(lc ListenConfig) (net.Addr, error) { return s.reactor.Listen(lc) }

// ListenOn adds a listener of package net, a *net.TCPListener or *net.UnixListener. On success it
// belongs to the server. On an error it remains the caller's.
//
// Errors: those of ListenWith.
func (s *Server) ListenOn(ln net.Listener) error { return s.reactor.ListenOn(ln) }

// ListenFD adds a listening descriptor that the process has inherited, from systemd for instance
// (sd_listen_fds(3)). On success it belongs to the server. On an error it remains the caller's.
//
// Errors: those of ListenWith.
func (s *Server) ListenFD(fd int) (net.Addr, error) { return s.reactor.ListenFD(fd) }

// StopListening closes all listeners. New clients cannot connect any more, and connected clients
// stay. The files of unix sockets are removed. It cannot be undone.
func (s *Server) StopListening() { s.reactor.StopAccepting() }
