package netpoll

import (
	"context"
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
	dues   *slab.Array[atomic.Uint32] // deadlines by index: ticks in ms, 0 for none
	peers  *slab.Array[peer]          // addresses by index
	marks  *slab.Array[uint32]        // by index, see Turn.mark; only the owner looks, allocated when first needed
	output output

	loops   []*loop
	workers []*worker
	closer  *Turn   // of Close; it serves nothing, and has no buffers
	turns   []*Turn // of loops, then of workers, then closer; Turn.id is the index + 1
	robin   atomic.Uint32

	now  atomic.Uint32 // ms, advanced by Advance
	rest time.Duration // less than a ms, of Advance

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

	closing   atomic.Bool // Close has begun: loops and workers stop where they are
	late      atomic.Bool // Close waits no longer: who leaves later closes what he has left behind
	stop      chan struct{}
	left      chan struct{} // a token of each loop and worker that has ended; capacity for all
	inners    atomic.Int32  // who may still use the loops' inner epoll sets: loops, and Close
	closeOnce sync.Once
	closeErr  error
	gone      chan struct{} // a token when conns+refused has come to zero; capacity 1
}

// New creates a reactor that serves h. It opens its epoll descriptors, and starts nothing.
func New(cfg Config, h Handler) (*Reactor, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	capacity := cfg.MaxConns + cfg.Spare
	r := &Reactor{
		cfg:     cfg,
		handler: h,
		slots:   slab.NewPool[slot](capacity),
		dues:    slab.NewArray[atomic.Uint32](capacity),
		peers:   slab.NewArray[peer](capacity),
		marks:   slab.NewArray[uint32](capacity),
		stop:    make(chan struct{}),
		left:    make(chan struct{}, cfg.Loops+cfg.Workers),
		gone:    make(chan struct{}, 1),
	}
	r.now.Store(1)
	r.output.init(cfg, capacity, &r.now)
	r.stats.r = r
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
	for range cfg.Workers {
		w := &worker{r: r, wake: make(chan struct{}, 1)}
		r.workers = append(r.workers, w)
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

// Start starts the workers and the loops, and with them accepting. It may be called once:
// then, whether it succeeded or not, it returns ErrStarted, after StopAccepting ErrStopped, and
// after Close ErrReactorClosed. When a loop or a listener cannot be started, all that is left to
// do is Close: Listen and Adopt return ErrStarted.
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
	for _, w := range r.workers {
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

// Close ends the reactor at once: listeners, loops and workers stop, and every connection
// that is left is closed with ErrReactorClosed. It returns when the last call of the handler
// has returned.
//
// It waits for the calls that are under way for Config.HandlerTimeout. Then it closes all
// connections but those that are being served, logs how many goroutines are, and returns
// ErrHandlerStuck. A connection that is being served is closed when that call of the handler
// returns, by its goroutine, which serves nothing further. A Closed that does not return while
// Close closes what is left has Close return, too, after HandlerTimeout without progress; what
// is left then is closed when it returns.
//
// A Handler must not call Close: it would wait for itself for HandlerTimeout. Later calls wait
// for the first, and return what it does.
func (r *Reactor) Close() error { return r.CloseWithin(r.cfg.HandlerTimeout) }

// CloseWithin is Close with another bound than Config.HandlerTimeout: d, which must be positive. Where calls of
// the handler do not return it takes twice as long.
func (r *Reactor) CloseWithin(d time.Duration) error {
	r.closeOnce.Do(func() { r.closeErr = r.close(d) })
	return r.closeErr
}

func (r *Reactor) close(d time.Duration) error {
	r.life.Lock()
	r.closed = true
	stuck := len(r.loops) // those that have not been started end at once
	if r.started {
		stuck += len(r.workers)
	}
	r.life.Unlock()
	r.acceptor.close()
	r.closing.Store(true)
	close(r.stop)
	for _, l := range r.loops {
		go l.end()
	}
	stuck -= r.await(stuck, d)
	if stuck > 0 {
		// Whoever does not see this has given his connection up before, so that it is seen below.
		r.late.Store(true)
	}
	if !r.closeApart(d) {
		stuck++
	}
	r.dropInners()
	if stuck > 0 {
		r.cfg.Logger.Error("calls of the handler do not return", "goroutines", stuck, "waited", d)
		return ErrHandlerStuck
	}
	return nil
}

// await waits until n goroutines have left, for d, and returns how many have.
func (r *Reactor) await(n int, d time.Duration) (left int) {
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	for left < n {
		select {
		case <-r.left:
			left++
		case <-timeout.C:
			return left
		}
	}
	return left
}

// closeApart closes what is left on a goroutine of its own, which Closed may end or hold up, and
// waits for it. It returns false when nothing has been closed for d.
func (r *Reactor) closeApart(d time.Duration) bool {
	done := make(chan struct{})
	go r.closer.keep(func() { // awaited here, or ended by the handler's return
		r.closeRest(r.closer)
		close(done)
	})
	tick := time.NewTicker(d)
	defer tick.Stop()
	for closed := r.stats.closed.Load(); ; {
		select {
		case <-done:
			return true
		case <-tick.C:
		}
		before := closed
		if closed = r.stats.closed.Load(); closed == before {
			return false
		}
	}
}

// closeRest closes every connection that nobody is serving. A sender may still hold a write lock
// for the time of one write.
func (r *Reactor) closeRest(t *Turn) {
	for i := range r.slots.High() {
		c := r.At(i)
		if c == 0 || !r.slots.At(i).seize(c) {
			continue
		}
		t.attach(c, r.slots.At(i))
		t.Abort(ErrReactorClosed)
		t.finish(0)
	}
}

// leave is the last that a loop's or worker's goroutine does with its turn t. A call of the
// handler that Close has waited for in vain has returned by now, and its connection has been
// given up behind the back of Close.
func (r *Reactor) leave(t *Turn) {
	if r.late.Load() {
		r.closeRest(t)
	}
	if t.OnLoop() {
		r.dropInners()
	}
	r.left <- struct{}{}
}

// dropInners closes the inner epoll sets when nobody is left who could use one: a loop adds what
// it accepts to any of them.
func (r *Reactor) dropInners() {
	if r.inners.Add(-1) == 0 {
		for _, l := range r.loops {
			l.closeInner()
		}
	}
}

// Wait returns when no connection is open any more, or with the error of ctx.
func (r *Reactor) Wait(ctx context.Context) error {
	for r.conns.Load()+r.refused.Load() > 0 {
		select {
		case <-r.gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.tellGone() // the next one who waits
	return nil
}

func (r *Reactor) tellGone() {
	if r.conns.Load()+r.refused.Load() == 0 {
		select {
		case r.gone <- struct{}{}:
		default:
		}
	}
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
		r.enlist(c.Index())
	}
	return ok
}

// Capacity returns a number above every index of a Conn.
func (r *Reactor) Capacity() int { return r.cfg.MaxConns + r.cfg.Spare }

// Turns returns how many turns there are at most at a time: loops, workers, and Close.
func (r *Reactor) Turns() int { return len(r.turns) }

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

// Now returns the reactor's time in milliseconds, as of the last Advance. It wraps around after
// 49 days: compare with Since.
func (r *Reactor) Now() uint32 { return r.now.Load() }

// Since returns b-a for two values of Now that are less than 24 days apart.
func Since(a, b uint32) time.Duration { return time.Duration(int32(b-a)) * time.Millisecond }

// maxDeadline is 12 days, half of what a comparison can tell apart.
const maxDeadline = 1 << 30 * time.Millisecond

func (r *Reactor) setDue(c Conn, d time.Duration) {
	var due uint32
	if d > 0 {
		due = max(1, r.now.Load()+uint32(min(d, maxDeadline)/time.Millisecond))
	}
	r.dues.At(c.Index()).Store(due)
}

func (r *Reactor) due(c Conn) bool {
	due := r.dues.At(c.Index()).Load()
	return due != 0 && int32(r.now.Load()-due) >= 0
}

// Advance advances the reactor's time. The caller decides how fast time goes: after the process
// has been stopped for a minute, no client is to blame for it. Calls must not run
// concurrently with each other or with Sweep.
func (r *Reactor) Advance(d time.Duration) {
	d += r.rest
	r.now.Add(uint32(d / time.Millisecond))
	r.rest = d % time.Millisecond
}

// Sweep gives a turn to every connection whose deadline has passed or whose queue has not moved
// for too long. It looks at one of parts equal parts of all connections: looking at one after
// the other, a little apart, keeps those whose time is up together, after a storm of
// connects, from getting their turns together.
func (r *Reactor) Sweep(part, parts int) {
	now := r.now.Load()
	var due list
	wake := func(c Conn, why Reason) {
		if enlist, _ := r.slots.At(c.Index()).mark(c, why); enlist {
			due.push(r, c.Index())
		}
	}
	high := r.slots.High()
	for base := uint32(part) * slab.ChunkLen; base < high; base += uint32(parts) * slab.ChunkLen {
		chunk := r.dues.Chunk(base)
		if chunk == nil {
			continue // its first connection is being admitted
		}
		for i := range chunk {
			at := chunk[i].Load()
			if at != 0 && int32(now-at) >= 0 {
				if c := r.At(base + uint32(i)); c != 0 {
					wake(c, Deadline)
				}
			}
		}
	}
	stall := uint32(r.cfg.WriteStall / time.Millisecond)
	queues := r.output.queues
	high = queues.High()
	for base := uint32(part) * slab.ChunkLen; base < high; base += uint32(parts) * slab.ChunkLen {
		for i := base; i < min(high, base+slab.ChunkLen); i++ {
			q := queues.At(i)
			if c := Conn(q.conn.Load()); c != 0 && now-q.moved.Load() >= stall {
				wake(c, Stalled)
			}
		}
	}
	r.nudge()
	if due.n > 0 {
		// To one worker, however many they are: nobody is in a hurry, and the others' cores
		// stay free for clients that are.
		r.nextWorker().push(due, time.Now())
	}
}

// CloseTimeout returns Config.CloseTimeout.
func (r *Reactor) CloseTimeout() time.Duration { return r.cfg.CloseTimeout }
