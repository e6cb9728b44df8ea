package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"wsgateway/metrics"
	"wsgateway/session"
	"wsgateway/target"
)

// admin serves metrics and health, on a listener of its own that clients do not reach.
type admin struct {
	addr string
	ln   net.Listener
	http *http.Server
	reg  *prometheus.Registry
}

// newAdmin listens, and serves nothing yet.
func newAdmin(addr string, server *session.Server, mounts []*mount, log *slog.Logger) (*admin, error) {
	reg := prometheus.NewRegistry()
	if err := metrics.Register(reg, buildVersion(), server.Stats); err != nil {
		return nil, err
	}
	targets := make([]target.Target, len(mounts))
	for i, m := range mounts {
		targets[i] = m.Target
	}
	if err := metrics.RegisterTargets(reg, targets...); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelError),
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if server.Draining() {
			http.Error(w, "draining", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return &admin{
		addr: ln.Addr().String(),
		ln:   newPatientListener(ln, log),
		reg:  reg,
		http: &http.Server{
			Handler:           mux,
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       10 * time.Second,
			WriteTimeout:      30 * time.Second,
			IdleTimeout:       60 * time.Second,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		},
	}, nil
}

// countLost adds the number of lost lines of the log to the metrics.
func (a *admin) countLost(lost func() uint64) error { return metrics.RegisterLog(a.reg, lost) }

// serve starts serving.
func (a *admin) serve() {
	go func() { _ = a.http.Serve(a.ln) }() // always ErrServerClosed, after close
}

// close waits a second for requests under way.
func (a *admin) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if a.http.Shutdown(ctx) != nil {
		_ = a.http.Close()
	}
	_ = a.ln.Close() // where it has not been served
}

// adminConns is how many connections the admin address serves at once; more wait in the backlog.
// It keeps pollers from using up the descriptors of clients.
const adminConns = 16

// patientListener is a listener with a bound, whose Accept outlives errors. net/http ends
// serving on most, and without its admin address a gateway looks dead to whoever watches it.
type patientListener struct {
	net.Listener
	log    *slog.Logger
	slots  chan struct{} // a token for each open connection
	closed chan struct{}
	once   *sync.Once
}

func newPatientListener(ln net.Listener, log *slog.Logger) patientListener {
	return patientListener{ln, log, make(chan struct{}, adminConns), make(chan struct{}), new(sync.Once)}
}

// Accept returns a connection, or net.ErrClosed.
func (l patientListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		c, err := l.Listener.Accept()
		if err == nil {
			return &slotConn{Conn: c, slots: l.slots}, nil
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		l.log.Warn("accepting on the admin address failed", "err", err, "again_in", pause)
		select {
		case <-time.After(pause):
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
}

// Close closes the listener, and ends an Accept that waits for a place.
func (l patientListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// slotConn gives its place back when it is closed.
type slotConn struct {
	net.Conn
	once  sync.Once
	slots chan struct{}
}

func (c *slotConn) Close() error {
	c.once.Do(func() { <-c.slots })
	return c.Conn.Close()
}
