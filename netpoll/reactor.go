package netpoll

import (
	"sync"
	"sync/atomic"
	"time"

	_ "wsgateway/internal/linuxonly" // stops a build for another system
	"wsgateway/internal/slab"
)

// Reactor watches listeners and connections, and has them served by its loops and workers.
// Create it with New, add listeners with Listen, then Start it. All methods may be called
// from any goroutine, but Close not by a Handler.
type Reactor struct {
	cfg     Config
	handler Handler

	slots  *slab.Pool[slot]
	peers  *slab.Array[peer]   // addresses by index
	marks  *slab.Array[uint32] // by index, see Turn.mark; only the owner looks, allocated when first needed
	output output

	loops  []*loop
	pool   pool
	closer *Turn   // of Close; it serves nothing, and has no buffers
	turns  []*Turn // of loops, then of workers, then closer; Turn.id is the index + 1
	timers timers

	conns   atomic.Int64 // open, without the refused
	refused atomic.Int64 // open only to be told so

	acceptor acceptor
	adopted  adoptions
	stats    stats

	life    sync.Mutex // guards what has been called; taken before acceptor.mu and loop.mu
	started bool
	failed  bool // Start has
	stopped bool
	closed  bool

	closing    atomic.Bool // Close has begun: loops and workers stop where they are
	late       atomic.Bool // Close waits no longer: a goroutine that leaves later closes its own connection
	stop       chan struct{}
	left       chan struct{} // a token of each loop and worker that has ended; capacity for all
	inners     atomic.Int32  // who may still use the loops' inner epoll sets: loops, and Close
	closeOnce  sync.Once
	closeErr   error
	idleSignal chan struct{} // a token when conns+refused has come to zero; capacity 1
}

// New creates a reactor that serves h. It opens its epoll descriptors, and starts nothing.
func New(cfg Config, h Handler) (*Reactor, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	capacity := cfg.MaxConns + cfg.Spare
	r := &Reactor{
		cfg:        cfg,
		handler:    h,
		slots:      slab.NewPool[slot](capacity),
		peers:      slab.NewArray[peer](capacity),
		marks:      slab.NewArray[uint32](capacity),
		stop:       make(chan struct{}),
		left:       make(chan struct{}, cfg.Loops+cfg.Workers),
		idleSignal: make(chan struct{}, 1),
	}
	r.timers.init(capacity)
	r.output.init(cfg, capacity, &r.timers.now)
	r.stats.r = r
	r.pool.r = r
	for i := range cfg.Loops {
		l, err := newLoop(r, i)
		if err != nil {
			for _, l := range r.loops {
				l.closeInner()
			}
			return nil, err
		}
		r.loops = append(r.loops, l)
		r.initTurn(&l.turn)
		l.turn.makeBuffers()
	}
	r.inners.Store(int32(len(r.loops)) + 1)
	r.acceptor.init(r)
	for i := range cfg.Workers {
		w := &worker{r: r, index: i, wake: make(chan struct{}, 1)}
		r.pool.workers = append(r.pool.workers, w)
		r.initTurn(&w.turn)
		w.turn.makeBuffers()
	}
	r.closer = new(Turn)
	r.initTurn(r.closer)
	return r, nil
}

func (r *Reactor) initTurn(t *Turn) {
	t.r = r
	if r.cfg.NewLocal != nil {
		t.local = r.cfg.NewLocal()
	}
	r.turns = append(r.turns, t)
	t.id = uint32(len(r.turns))
	r.output.corks = append(r.output.corks, &t.cork)
}

func (t *Turn) makeBuffers() {
	t.buf = make([]byte, t.r.cfg.ReadBuffer)
	t.cork.buf = make([]byte, 0, t.r.cfg.SendBuffer)
}

// tooLate returns why nothing can be added any more, nil if it can. It expects life.
func (r *Reactor) tooLate() error {
	switch {
	case r.closed:
		return ErrReactorClosed
	case r.failed:
		return ErrStarted
	case r.stopped:
		return ErrStopped
	}
	return nil
}

// Start starts the workers and the loops, and with them accepting. If it fails because a loop or a
// listener cannot be started, the reactor can only be closed: Listen and Adopt return ErrStarted.
//
// Errors: those of the system; ErrStarted for a second call, ErrStopped after StopAccepting,
// ErrReactorClosed after Close.
func (r *Reactor) Start() error {
	r.life.Lock()
	defer r.life.Unlock()
	switch err := r.tooLate(); {
	case r.closed:
		return err
	case r.started:
		return ErrStarted
	case err != nil:
		return err
	}
	r.started, r.failed = true, true
	for _, w := range r.pool.workers {
		go w.turn.keep(w.run)
	}
	for _, l := range r.loops {
		if err := l.start(); err != nil {
			return err
		}
	}
	if err := r.acceptor.resumeAll(); err != nil {
		return err
	}
	r.failed = false
	return nil
}

// StopAccepting accepts what already waits in the listeners' backlogs, since closing a
// listener resets those connections, and closes the listeners.
func (r *Reactor) StopAccepting() {
	r.life.Lock()
	r.stopped = true
	r.life.Unlock()
	r.acceptor.close()
}

// Wake asks for a turn of c with the reason Woken.
func (r *Reactor) Wake(c Conn) error {
	if !r.wake(c, Woken) {
		return ErrClosed
	}
	return nil
}

// known reports whether c can be that of a connection, past or present.
func (r *Reactor) known(c Conn) bool { return c.Gen() != 0 && c.Index() < r.slots.High() }

func (r *Reactor) wake(c Conn, why Reason) bool {
	if !r.known(c) {
		return false
	}
	enlist, ok := r.slots.At(c.Index()).mark(c, why)
	if enlist {
		r.pool.enlist(c.Index())
	}
	return ok
}

// Capacity returns a number above every index of a Conn.
func (r *Reactor) Capacity() int { return r.cfg.MaxConns + r.cfg.Spare }

// High returns a number above every index in use so far.
func (r *Reactor) High() uint32 { return r.slots.High() }

// At returns the connection that now uses slot index, 0 when it is free.
func (r *Reactor) At(index uint32) Conn {
	if index >= r.slots.High() {
		return 0
	}
	s := r.slots.At(index)
	s.wmu.Lock()
	defer s.wmu.Unlock()
	gen := uint32(s.word.Load() >> 32)
	if s.fd < 0 || gen == 0 { // closed, or never used; 0 is a descriptor like others
		return 0
	}
	return MakeConn(index, gen)
}

// CloseTimeout returns Config.CloseTimeout.
func (r *Reactor) CloseTimeout() time.Duration { return r.cfg.CloseTimeout }
