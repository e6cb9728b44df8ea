package netpoll

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"
)

var (
	// ErrWrite is passed to Handler.Closed when the socket failed while being written to.
	ErrWrite = errors.New("netpoll: write failed")
	// ErrCloseTimeout is passed to Handler.Closed when the peer made no progress in an orderly close
	// for Config.CloseTimeout. A handler that waits for an answer to its own Close frame passes it to
	// Turn.Abort.
	ErrCloseTimeout = errors.New("netpoll: close timed out")
	// ErrPanic is passed to Handler.Closed when a call of the handler panicked, or called
	// runtime.Goexit.
	ErrPanic = errors.New("netpoll: panic while serving")
	// ErrReactorClosed is passed to Handler.Closed when the reactor itself was closed, and
	// returned by Listen, Adopt and Start after Close.
	ErrReactorClosed = errors.New("netpoll: reactor closed")
	// ErrStarted is returned by a second call of Start, whether the first one succeeded or not.
	ErrStarted = errors.New("netpoll: the reactor has been started")
	// ErrStopped is returned by Listen, Adopt and Start after StopAccepting.
	ErrStopped = errors.New("netpoll: the reactor has stopped accepting")
	// ErrHandlerStuck is returned by Close when calls of the handler have not returned within
	// Config.HandlerTimeout.
	ErrHandlerStuck = errors.New("netpoll: calls of the handler do not return")

	errFlushed = errors.New("netpoll: orderly close complete")
)

// Config holds the settings of a Reactor. The zero value of a field means its default;
// negative values are refused.
type Config struct {
	Loops   int // event loops, at most MaxLoops; default GOMAXPROCS/4, at least 1
	Workers int // size of the worker pool, at most MaxWorkers; default GOMAXPROCS

	// MaxConns is how many connections may be open at once. Default and upper bound:
	// what RLIMIT_NOFILE leaves after a reserve, see FDBudget.
	MaxConns int
	// Spare is how many connections over MaxConns may be open just to be refused in an
	// orderly way. With that many, accepting pauses and clients wait in the backlog.
	// Default: what FDBudget says, at most 128.
	Spare int

	// InlineBatch is the largest batch of ready inline connections that a loop serves itself.
	// Larger batches show that the loop cannot keep up, and are spread over the workers. Default
	// 64, which is some 400 µs of work. NoInline sends all connections to the workers.
	InlineBatch int

	TurnBytes  int // input bytes a connection may read in one turn, before others get theirs; default 64 KiB
	ReadBuffer int // bytes of each turn's input buffer; default 64 KiB
	SendBuffer int // bytes of each turn's output buffer; default 32 KiB

	// QueueBytes is the mark of a connection's outbound queue, in bytes. While fewer bytes wait,
	// one more message is accepted, whatever its size. So a queue holds at most QueueBytes and one
	// message. Default 1 MiB.
	QueueBytes      int
	QueueMessages   int           // bound of that queue in messages; default 8192
	QueueTotalBytes int64         // bound of all queues together, in bytes, which only Close frames may exceed; default 256 MiB
	ReadHighWater   int           // with more bytes queued than this, a connection is not read; default 64 KiB
	WriteStall      time.Duration // queue without progress for this long: reason Stalled; default 45 s
	// CloseTimeout is how long an orderly close goes on without progress of the peer
	// (Turn.Progress), before it ends with ErrCloseTimeout; see Turn.CloseFlushed. Default 5 s.
	CloseTimeout   time.Duration
	HandlerTimeout time.Duration // how long Close waits for calls of the handler that are under way; default 10 s

	Socket SocketOptions

	NewLocal func() any   // makes the value of Turn.Local, once per loop and worker, and once for Close; called by New
	Logger   *slog.Logger // default: discard
}

// DefaultCloseTimeout is the default of Config.CloseTimeout.
const DefaultCloseTimeout = 5 * time.Second

// NoInline as Config.InlineBatch sends every ready connection to the workers.
const NoInline = 1 << 30

// Upper bounds of a Config. Loops and workers never block, so more of them only take memory: each
// has buffers of its own.
const (
	MaxLoops      = 1024
	MaxWorkers    = 4096
	MaxQueueBytes = 1<<31 - 1 // of QueueBytes and QueueTotalBytes: slot.queued has 32 bits
)

// SocketOptions are set on listeners, and on TCP connections that are adopted. In Linux an accepted
// connection inherits them from its listener (tcp(7)), so that they cost no system call for each.
// Those that a socket does not know are not set on it: multipath TCP does not know all.
type SocketOptions struct {
	KeepIdle  time.Duration // TCP keepalive: idle time before the first probe; default 60 s
	KeepIntvl time.Duration // between probes; default 15 s
	KeepCount int           // probes without answer; default 4
	// UserTimeout is TCP_USER_TIMEOUT: how long output may be without an acknowledgement, or the
	// peer's window shut. The kernel also counts a window that never has room for the whole of the
	// next segment, of up to 64 KiB: it resets peers with a small receive buffer that read
	// steadily. So the default is not to set it. Progress and deadlines find dead peers.
	UserTimeout time.Duration
	// NotSentLowat is TCP_NOTSENT_LOWAT, in bytes. A socket takes no more output while it holds
	// this much that has not been sent yet. The rest waits in the outbound queue, where it is
	// bounded and an urgent message overtakes it. Default 64 KiB, the fastest value in
	// BenchmarkBulk.
	NotSentLowat int
}

func def[T int | int64 | time.Duration](name string, v *T, d T, err *error) {
	switch {
	case *v < 0 && *err == nil:
		*err = fmt.Errorf("netpoll: Config.%s is negative", name)
	case *v == 0:
		*v = d
	}
}

func (c Config) withDefaults() (Config, error) {
	var err error
	procs := runtime.GOMAXPROCS(0)
	def("Loops", &c.Loops, min(max(1, procs/4), MaxLoops), &err)
	def("Workers", &c.Workers, min(procs, MaxWorkers), &err)
	budget, spare, berr := FDBudget()
	if berr != nil && err == nil {
		err = berr
	}
	def("Spare", &c.Spare, spare, &err)
	def("MaxConns", &c.MaxConns, budget, &err)
	def("InlineBatch", &c.InlineBatch, 64, &err)
	def("TurnBytes", &c.TurnBytes, 64<<10, &err)
	def("ReadBuffer", &c.ReadBuffer, 64<<10, &err)
	def("SendBuffer", &c.SendBuffer, 32<<10, &err)
	def("QueueBytes", &c.QueueBytes, 1<<20, &err)
	def("QueueMessages", &c.QueueMessages, 8192, &err)
	def("QueueTotalBytes", &c.QueueTotalBytes, 256<<20, &err)
	def("ReadHighWater", &c.ReadHighWater, 64<<10, &err)
	def("WriteStall", &c.WriteStall, 45*time.Second, &err)
	def("CloseTimeout", &c.CloseTimeout, DefaultCloseTimeout, &err)
	def("HandlerTimeout", &c.HandlerTimeout, 10*time.Second, &err)
	def("Socket.KeepIdle", &c.Socket.KeepIdle, 60*time.Second, &err)
	def("Socket.KeepIntvl", &c.Socket.KeepIntvl, 15*time.Second, &err)
	def("Socket.KeepCount", &c.Socket.KeepCount, 4, &err)
	def("Socket.NotSentLowat", &c.Socket.NotSentLowat, 64<<10, &err)
	def("Socket.UserTimeout", &c.Socket.UserTimeout, 0, &err)
	c.WriteStall = min(c.WriteStall, maxDeadline)
	c.Socket.UserTimeout = min(c.Socket.UserTimeout, maxDeadline)
	c.Socket.NotSentLowat = min(c.Socket.NotSentLowat, MaxQueueBytes)
	if err == nil && (c.Loops > MaxLoops || c.Workers > MaxWorkers) {
		err = fmt.Errorf("netpoll: Config.Loops must not be more than %d, and Workers not more than %d: each has buffers of its own", MaxLoops, MaxWorkers)
	}
	if err == nil && c.MaxConns > budget {
		err = fmt.Errorf("netpoll: Config.MaxConns is %d, but the limit of open files leaves room for %d: raise RLIMIT_NOFILE", c.MaxConns, budget)
	}
	if err == nil && (c.QueueBytes > MaxQueueBytes || c.QueueTotalBytes > MaxQueueBytes) {
		err = fmt.Errorf("netpoll: Config.QueueBytes and QueueTotalBytes must not be more than %d", int64(MaxQueueBytes))
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, err
}
