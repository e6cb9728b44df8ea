package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"runtime/debug"
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
		if r.Blocking && s.exec == nil {
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
// Errors: those of the system; netpoll.ErrStarted after Start, ErrStopped after StopListening,
// ErrReactorClosed after Close.
func (s *Server) Listen(addr string, reusePort bool) (net.Addr, error) {
	return s.reactor.Listen(addr, reusePort)
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
// Config.HandlerTimeout. The sessions of these calls end when they return; all others have ended.
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
		s.fanout.close()
	}
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

// beginClose sends our Close frame, unless either side has begun before.
func (s *Server) beginClose(c conn, code wsproto.StatusCode, reason string) error {
	if _, open := s.meta(c); !open || !s.record(c).begin(c, ByServer, code) {
		return ErrClosed
	}
	var buf [maxHeader + wsproto.MaxControlPayload]byte
	_ = s.tr.SendFinal(c, wsproto.AppendClose(buf[:0], code, reason)) // or its turn has sent it for us
	_ = s.tr.Wake(c)                                                  // its turn sets the time for the client's answer
	return nil
}

// events is the server as its reactor knows it, a netpoll.Handler.
type events struct{ *Server }

// Opened implements netpoll.Handler.
func (e events) Opened(t *netpoll.Turn, refused bool) {
	s := e.Server
	c := t.Conn()
	s.records.Ensure(c.Index())
	s.live.ensure(c.Index())
	rec := s.record(c)
	rec.began = uint32(time.Since(epoch).Microseconds())
	rec.part = 0
	rec.flags.Store(0)
	rec.latency.Store(0)
	rec.control = fullBucket(s.tr.Now())
	rec.tiny = rec.control
	rec.store(makeMeta(c, phaseHandshake, 0, 0))
	if refused {
		s.refuse(t, rec, wsproto.ErrOverloaded)
		return
	}
	t.SetDeadline(s.cfg.HandshakeTimeout)
}

var epoch = time.Now()

// Data implements netpoll.Handler.
func (e events) Data(t *netpoll.Turn, p []byte) {
	s := e.Server
	rec := s.record(t.Conn())
	switch rec.load().phase() {
	case phaseHandshake:
		s.handshake(t, rec, p)
	case phaseOpen, phaseClosing:
		s.live.seen(t.Conn().Index(), s.tr.Now())
		s.frames(t, rec, p)
	}
}

// Ended implements netpoll.Handler: the client will send nothing more. Without a Close frame
// there is nobody left to talk to.
func (e events) Ended(t *netpoll.Turn) {
	s := e.Server
	rec := s.record(t.Conn())
	if rec.load().phase() == phaseHandshake {
		s.stats.handshake(statusAborted)
		s.failed(t.Conn(), t.Local().(*local), statusAborted, nil)
	}
	s.fault(t, rec, ErrBroken)
	t.CloseFlushed(false)
	s.over(t, rec, ByTransport, wsproto.StatusAbnormal, "", false)
}

// Notice implements netpoll.Handler.
func (e events) Notice(t *netpoll.Turn, why netpoll.Reason) {
	s := e.Server
	c := t.Conn()
	rec := s.record(c)
	m := rec.load()
	switch m.phase() {
	case phaseHandshake:
		if why&netpoll.Woken != 0 && rec.part != 0 && !t.OnLoop() { // see moveToWorker
			t.Resume()
			s.handshake(t, rec, nil)
			return
		}
		if why&netpoll.Woken != 0 && rec.part == 0 && s.draining.Load() {
			s.drop(t, rec)
			return
		}
		if why&netpoll.Deadline != 0 {
			s.stats.evictions.Inc("handshake_timeout")
			if rec.part == 0 {
				s.drop(t, rec)
				return
			}
			s.refuse(t, rec, wsproto.ErrTimeout)
		}
	case phaseOpen, phaseClosing:
		if rec.flags.Load()&flagTerminate != 0 {
			t.Abort(ErrTerminated)
			s.over(t, rec, ByServer, wsproto.StatusAbnormal, "", false)
			return
		}
		held := rec.flags.Load()&flagHeld != 0
		s.frameRest(t, rec)
		if m = rec.load(); m.phase() == phaseOver {
			return
		}
		switch {
		case why&(netpoll.Overflow|netpoll.Stalled) != 0:
			s.slow(t, rec, why)
		case m.phase() == phaseOpen && rec.closing(c):
			rec.store(m.with(phaseClosing))
			t.SetDeadline(s.reactor.CloseTimeout())
		case why&netpoll.Deadline != 0 && s.unframed(rec):
			// What has been read and not been looked at may be what is missing; Sweep comes again.
		case why&netpoll.Deadline != 0 && m.phase() == phaseClosing:
			s.stats.evictions.Inc("close_timeout")
			s.fault(t, rec, ErrEvicted)
			t.Abort(ErrEvicted)
			s.over(t, rec, ByServer, wsproto.StatusAbnormal, "", false)
		case why&netpoll.Deadline != 0 && (held || rec.flags.Load()&flagHeld != 0):
			// It was ours, and has been set anew.
		case why&netpoll.Deadline != 0:
			s.stats.evictions.Inc("message_timeout")
			s.fault(t, rec, ErrEvicted)
			s.fail(t, rec, wsproto.StatusPolicyViolation, "message took too long")
		case !t.Unread() && s.live.dead(c.Index(), s.tr.Now()):
			s.stats.evictions.Inc("ping_timeout")
			s.fault(t, rec, ErrEvicted)
			t.Abort(ErrEvicted)
			s.over(t, rec, ByServer, wsproto.StatusAbnormal, "", false)
		}
	}
}

// drop closes the connection of a client that never said a word: there is no request to answer.
func (s *Server) drop(t *netpoll.Turn, rec *record) {
	s.stats.handshake(statusAborted)
	s.failed(t.Conn(), t.Local().(*local), statusAborted, nil)
	s.over(t, rec, ByServer, wsproto.StatusAbnormal, "", false)
	t.CloseFlushed(false)
}

// What an ErrorHandler is told of, beside a *wsproto.ProtocolError.
var (
	// ErrEvicted says that the client was given up on: it did not answer pings or our Close, or did
	// not complete what it had begun.
	ErrEvicted = errors.New("session: client evicted")
	// ErrTooSlow says that the client did not read what it was sent.
	ErrTooSlow = errors.New("session: client too slow in reading")
	// ErrFlood says that the client sent more than it may for too long: control frames, tiny fragments, or
	// what Route.Rate counts.
	ErrFlood = errors.New("session: client floods")
	// ErrBroken says that the connection ended without a Close frame.
	ErrBroken = errors.New("session: connection broken")
)

// ErrTerminated is what the log says of a connection that Session.Terminate has ended. No ErrorHandler is
// told of it.
var ErrTerminated = errors.New("session: terminated")

// fault tells the handler why the session is about to end, if it wants to know.
func (s *Server) fault(t *netpoll.Turn, rec *record, err error) {
	c, m := t.Conn(), rec.load()
	h := s.routes.at(m.route()).fault
	if h == nil || m.phase() != phaseOpen && m.phase() != phaseClosing {
		return
	}
	if s.blocking(m) {
		s.exec.post(c, nil, func() {
			defer s.recovered(c)
			h.OnError(Session{s, c}, err)
		})
		return
	}
	s.call(t, func() { h.OnError(Session{s, c}, err) })
}

// slow ends the session of a client that does not read what it is sent. What has not been begun
// is dropped, so that the Close frame is the next thing the client reads if it ever does.
func (s *Server) slow(t *netpoll.Turn, rec *record, why netpoll.Reason) {
	reason := "queue_full"
	if why&netpoll.Overflow == 0 {
		reason = "stalled"
	}
	s.stats.slow.Inc(reason)
	s.fault(t, rec, ErrTooSlow)
	t.DropQueued()
	s.fail(t, rec, s.routes.at(rec.load().route()).SlowCode, "too slow in reading")
}

// fail ends the session with a Close frame of ours and does not wait for the client's
// (RFC 6455 §7.1.7).
func (s *Server) fail(t *netpoll.Turn, rec *record, code wsproto.StatusCode, reason string) {
	if !rec.begin(t.Conn(), ByServer, code) {
		_, code = rec.end() // somebody was first, and may not have sent it yet
		reason = ""
	}
	s.sendClose(t, code, reason)
	s.over(t, rec, ByServer, code, "", false)
	t.CloseFlushed(true)
}

// Closed implements netpoll.Handler.
func (e events) Closed(t *netpoll.Turn, err error) {
	s := e.Server
	c := t.Conn()
	rec := s.record(c)
	// Deferred: a handler may end the goroutine, and nobody calls Closed again.
	defer func() {
		s.dropPartial(rec)
		s.live.forget(c.Index())
		if rec.extra.Load() != 0 {
			s.dropExtra(c, rec)
		}
	}()
	defer s.over(t, rec, ByTransport, wsproto.StatusAbnormal, "", false)
	if rec.load().phase() == phaseHandshake {
		s.stats.handshake(statusAborted)
		s.failed(c, t.Local().(*local), statusAborted, nil)
	}
	if err != nil {
		s.fault(t, rec, fmt.Errorf("%w: %w", ErrBroken, err))
	}
	if err != nil && s.log.Enabled(context.Background(), slog.LevelDebug) {
		s.log.Debug("connection closed", "session", s.ids.encode(c), "err", err)
	}
}

// over ends the session, once: OnClose is called if OnOpen was. What it says is what the side
// noted that began, or else by, code and reason.
func (s *Server) over(t *netpoll.Turn, rec *record, by Initiator, code wsproto.StatusCode, reason string, clean bool) {
	c := t.Conn()
	m := rec.load()
	if m.phase() == phaseOver {
		return
	}
	defer rec.store(meta(0).with(phaseOver)) // of no session: nothing is known of it any more
	s.live.forget(c.Index())
	s.dropPartial(rec)
	if m.phase() == phaseHandshake {
		rec.store(m.with(phaseOver))
		if s.exec != nil {
			s.exec.forget(c)
		}
		return
	}
	rec.begin(c, by, code)
	by, code = rec.end()
	info := CloseInfo{code, reason, by, clean}
	s.open.Add(-1)
	s.giveUpDeflate(m.deflated())
	s.stats.closed(code, by)
	handler := s.routes.at(m.route()).Handler
	var later func()
	if s.blocking(m) {
		later = func() {
			defer s.recovered(c)
			handler.OnClose(Session{s, c}, info)
		}
	}
	s.bury(c, rec, m, later)
	defer s.left(c, info)
	if later == nil {
		s.call(t, func() { handler.OnClose(Session{s, c}, info) })
	}
}

// bury ends what a session has for as long as it is open. If its OnClose may block it is posted, with
// what is known of the session until it has returned.
func (s *Server) bury(c conn, rec *record, m meta, onClose func()) {
	lock := s.channels.owner(c)
	lock.Lock()
	defer lock.Unlock()
	rec.store(m.with(phaseOver))
	s.leaveAll(c, rec)
	if onClose != nil {
		s.exec.post(c, &ended{meta: m, extra: s.extra(c), peer: s.tr.Peer(c)}, onClose)
	}
}

// blocking reports whether the handler of a session may block.
func (s *Server) blocking(m meta) bool { return s.exec != nil && s.routes.at(m.route()).Blocking }

// call calls f, which calls a handler, and survives its panic.
func (s *Server) call(t *netpoll.Turn, f func()) {
	w := &t.Local().(*local).watch
	defer s.recovered(t.Conn())
	defer w.leave()
	w.enter(t.Conn())
	f()
}

// recovered is deferred around every call of a handler.
func (s *Server) recovered(c conn) {
	if s.panicked(c, recover()) {
		_ = s.beginClose(c, wsproto.StatusInternalError, "internal error")
	}
}

// exited counts and logs that a handler has called runtime.Goexit.
func (s *Server) exited(c conn) {
	s.stats.panics.Add(1)
	s.log.Error("handler called runtime.Goexit", "session", s.ids.encode(c))
	_ = s.beginClose(c, wsproto.StatusInternalError, "internal error")
}

// panicked counts and logs the value of recover, and reports whether there was a panic.
func (s *Server) panicked(c conn, v any) bool {
	if v == nil {
		return false
	}
	s.stats.panics.Add(1)
	s.log.Error("handler panicked", "session", s.ids.encode(c), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	return true
}

// Draining reports whether Shutdown or Close has been called.
func (s *Server) Draining() bool { return s.draining.Load() }
