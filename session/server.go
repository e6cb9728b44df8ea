package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"wsgateway/internal/slab"
	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

type conn = netpoll.Conn

// Server accepts WebSocket clients and serves them with the handlers of its routes. Create it
// with NewServer, add addresses with Listen, then Start it.
type Server struct {
	cfg  Config
	log  *slog.Logger
	ids  *ids
	bufs *buffers

	reactor *netpoll.Reactor
	tr      transport      // reactor; a fake one in tests
	workers []*workerState // of all turns

	table     *sessionTable
	live      *liveness
	control   rate                  // of control frames
	throttles *slab.Array[throttle] // of sessions whose route has a Rate
	deflate   *deflate
	calls     *callPools // that may block

	memberships *memberships

	ctx      context.Context         // ends with Close
	cancel   context.CancelCauseFunc // with ErrClosed
	open     atomic.Int64            // sessions between OnOpen and OnClose
	started  atomic.Bool             // Start has succeeded
	draining atomic.Bool
	drained  chan struct{} // closed when draining becomes true
	stats    stats

	sweeping  sync.WaitGroup
	starting  sync.Mutex         // guards stopSweep and done
	stopSweep context.CancelFunc // nil before Start
	done      bool               // Close has been called
	closing   sync.Once
	ended     chan struct{} // closed by beginEnd's goroutine, behind endErr
	endErr    error
	goingAway atomic.Bool // Shutdown closes sessions
}

// NewServer creates a server. It starts nothing.
//
// Errors: what is wrong with cfg, and those of the system.
func NewServer(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	routes, patterns, routesErr := compileRoutes(cfg.Routes, max(1, cfg.FragmentRate))
	if err = errors.Join(err, routesErr); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Logger, bufs: newBuffers(cfg.InboundBytes), drained: make(chan struct{}), ended: make(chan struct{})}
	if s.ids, err = newIDs(); err != nil {
		return nil, err
	}
	reactor := cfg.reactor()
	reactor.NewLocal = s.newWorkerState
	if s.reactor, err = netpoll.New(reactor, events{s}); err != nil {
		return nil, err
	}
	s.tr = s.reactor
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.cfg.Routes = nil // they may be freed before the server is
	n := s.reactor.Capacity()
	s.calls = newCallPools(s, cfg.BlockingCalls, n)
	s.table = newSessionTable(n, newRouteTables(s.calls))
	s.live = newLiveness(n, cfg.PingInterval, cfg.PingTimeout)
	s.control = makeRate(cfg.ControlRate, cfg.ControlBurst)
	s.memberships = newMemberships(s, n)
	s.throttles = slab.NewArray[throttle](n)
	s.deflate = &deflate{
		Deflater: wsproto.NewDeflater(cfg.Deflate.Compressors, cfg.Deflate.Level),
		limit:    int64(cfg.Deflate.Sessions),
	}
	return s, s.table.routes.set(routes, patterns)
}

func (s *Server) newWorkerState() any {
	w := newWorkerState()
	s.workers = append(s.workers, w) // called by netpoll.New only
	return w
}

// Lookup finds an open session by its id.
func (s *Server) Lookup(id string) (Session, bool) {
	c, ok := s.ids.decode(id)
	if !ok {
		return Session{}, false
	}
	if _, open := s.table.meta(c); !open {
		return Session{}, false
	}
	return Session{s, c}, true
}

// Draining reports whether Shutdown or Close has been called.
func (s *Server) Draining() bool { return s.draining.Load() }
