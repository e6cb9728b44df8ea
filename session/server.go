package session

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"wsgateway/internal/slab"
	"wsgateway/netpoll"
	"wsgateway/wsproto"
)

type conn = netpoll.Conn

// Server accepts WebSocket clients and serves them with the handlers of its routes. Create it
// with NewServer, add addresses with Listen, then Start it.
type Server struct {
	cfg    Config
	log    *slog.Logger
	routes *routes
	ids    *ids
	bufs   *buffers

	reactor *netpoll.Reactor
	tr      transport // reactor; a fake one in tests

	records *slab.Array[record]
	parts   *slab.Pool[partial]
	extras  *slab.Pool[atomic.Pointer[extra]]
	live    *liveness
	control rate
	tiny    []rate // by route

	throttles *slab.Array[throttle] // nil if no route has a Rate

	deflate *deflate  // nil if no route compresses
	lossy   bool      // some route has a policy other than CloseSlow
	exec    *executor // nil if no route blocks

	channels *channels
	fanout   *fanout
	presence *presence // nil if nobody wants to know

	open     atomic.Int64 // sessions between OnOpen and OnClose
	draining atomic.Bool
	stats    stats

	sweeping  sync.WaitGroup
	starting  sync.Mutex         // guards stopSweep and ended
	stopSweep context.CancelFunc // nil before Start
	ended     bool               // Close has been called
	closing   sync.Once
	closeErr  error
	locals    []*local // of all turns
}

// NewServer creates a server. It starts nothing.
func NewServer(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Logger, routes: newRoutes(cfg.Routes), bufs: newBuffers(cfg.InboundBytes)}
	if s.ids, err = newIDs(); err != nil {
		return nil, err
	}
	cfg.Reactor.Logger = cfg.Logger
	cfg.Reactor.NewLocal = s.newLocal
	cfg.Reactor.HandlerTimeout = cfg.HandlerTimeout
	if s.reactor, err = netpoll.New(cfg.Reactor, events{s}); err != nil {
		return nil, err
	}
	s.tr = s.reactor
	n := s.reactor.Capacity()
	s.records = slab.NewArray[record](n)
	s.parts = slab.NewPool[partial](n)
	s.extras = slab.NewPool[atomic.Pointer[extra]](n)
	s.live = newLiveness(n, cfg.PingInterval, cfg.PingTimeout)
	s.channels = newChannels(n, cfg.SessionChannels+userChannels, runtime.GOMAXPROCS(0))
	s.fanout = newFanout(s, s.channels.parts, cfg.Publications, cfg.PublicationBytes)
	if cfg.OnMembership != nil {
		s.presence = newPresence(s, cfg.MembershipInterval, cfg.OnMembership)
	}
	s.control = makeRate(cfg.ControlRate, cfg.ControlBurst)
	s.tiny = make([]rate, len(cfg.Routes))
	for i, r := range cfg.Routes {
		s.tiny[i] = makeRate(cfg.FragmentRate, max(cfg.FragmentRate, 2*min(r.MaxFragments, 1<<29)))
		s.lossy = s.lossy || r.Outbound != CloseSlow
		if (r.Rate.Messages > 0 || r.Rate.Bytes > 0) && s.throttles == nil {
			s.throttles = slab.NewArray[throttle](n)
		}
		if r.needsPool() && s.exec == nil {
			s.exec = newExecutor(s, cfg.BlockingCalls, n)
		}
		if r.Deflate && s.deflate == nil {
			s.deflate = &deflate{
				Deflater: wsproto.NewDeflater(cfg.Deflate.Compressors, cfg.Deflate.Level),
				limit:    int64(cfg.Deflate.Sessions),
			}
		}
	}
	return s, nil
}

// Listen adds an address, before Start: "host:port", ":port" or "unix:/path". reusePort lets
// several processes share one TCP port. When it fails it may be called again. Where accepting fails later
// the listener rests for a moment and goes on, and one that somebody has shut down (shutdown(2)) listens
// again.
//
// Errors: those of the system; netpoll.ErrStopped after StopListening,
// ErrReactorClosed after Close.
func (s *Server) Listen(addr string, reusePort bool) (net.Addr, error) {
	return s.reactor.Listen(netpoll.ListenConfig{Addr: addr, ReusePort: reusePort})
}

// StopListening closes all listeners: nobody can connect any more, and who is connected stays. Unix
// sockets are removed. It cannot be undone.
func (s *Server) StopListening() { s.reactor.StopAccepting() }

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
	if s.ended {
		cancel()
		return netpoll.ErrReactorClosed
	}
	s.stopSweep = cancel
	s.sweeping.Add(1)
	s.fanout.start()
	if s.presence != nil {
		s.presence.start()
	}
	go func() { // ended by cancel, awaited by Close
		defer s.sweeping.Done()
		s.sweep(ctx)
	}()
	return nil
}

// Shutdown ends the server in an orderly way: listeners are closed, every session is closed
// with 1001, connections that have not said a word are closed, and when all are gone, or ctx is over,
// what is left is cut off, and Close called. The error is that of ctx if clients had to be cut off, and
// that of Close.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	s.reactor.StopAccepting()
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
	return errors.Join(err, s.Close())
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

func (s *Server) close() (err error) {
	s.draining.Store(true)
	s.starting.Lock()
	s.ended = true
	started := s.stopSweep != nil
	s.starting.Unlock()
	if started {
		s.stopSweep()
		s.sweeping.Wait()
	}
	s.fanout.close()
	begin := time.Now()
	// left is how long may still be waited, and a tenth of all for what has only just begun.
	left := func() time.Duration { return max(s.cfg.HandlerTimeout-time.Since(begin), s.cfg.HandlerTimeout/10) }
	if s.reactor.Close() != nil { // has been logged
		err = ErrHandlerStuck
	}
	if s.presence != nil && started && !s.presence.close(left()) {
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
	for i := range s.tr.High() {
		if chunk := s.records.Chunk(i); chunk == nil {
			continue
		}
		switch m := s.records.At(i).load(); m.phase() {
		case phaseHandshake:
			if m.gen() != 0 {
				_ = s.tr.Wake(netpoll.MakeConn(i, m.gen())) // its turn closes it if it has said nothing
			}
		case phaseOpen:
			_ = s.beginClose(netpoll.MakeConn(i, m.gen()), code, reason) // or the client was first
		}
	}
}

// Lookup finds an open session by its id.
func (s *Server) Lookup(id string) (Session, bool) {
	c, ok := s.ids.decode(id)
	if !ok {
		return Session{}, false
	}
	if _, open := s.meta(c); !open {
		return Session{}, false
	}
	return Session{s, c}, true
}

// local is what a loop, a worker or Close needs to serve connections, one at a time.
type local struct {
	dec      wsproto.Decoder // zero between turns
	decBusy  bool            // in use
	req      wsproto.Request
	reqOf    conn // whose request req is; 0 once it is answered
	upgrader *wsproto.Upgrader
	inflater *wsproto.Inflater // made when it is needed first
	scratch  []byte
	head     bool // req is that of the connection being served, and its method HEAD
	watch    callWatch
	stats    localStats
}

// shrink gives up a scratch buffer that has become large.
func (l *local) shrink() {
	if cap(l.scratch) > maxPooled {
		l.scratch = nil
	}
}

func (l *local) inflate() *wsproto.Inflater {
	if l.inflater == nil {
		l.inflater = wsproto.NewInflater()
	}
	return l.inflater
}

func (s *Server) newLocal() any {
	l := &local{upgrader: wsproto.NewUpgrader(), scratch: make([]byte, 0, 1024)}
	s.locals = append(s.locals, l) // called by netpoll.New only
	return l
}

func (s *Server) record(c conn) *record { return s.records.At(c.Index()) }

// meta returns what is known of session c, and whether it is open or closing.
func (s *Server) meta(c conn) (meta, bool) {
	if c.Index() >= uint32(s.records.Len()) || s.records.Chunk(c.Index()) == nil {
		return 0, false
	}
	m := s.record(c).load()
	return m, m.gen() == c.Gen() && (m.phase() == phaseOpen || m.phase() == phaseClosing)
}

func (s *Server) path(c conn) string {
	m, x, ok := s.info(c)
	if !ok {
		return ""
	}
	if x.path != "" {
		return x.path
	}
	return s.routes.at(m.route()).Path
}

// Draining reports whether Shutdown or Close has been called.
func (s *Server) Draining() bool { return s.draining.Load() }
