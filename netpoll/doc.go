// Package netpoll is the gateway's reactor. It watches idle sockets with epoll, and a bounded pool
// of workers serves those that are ready. It knows nothing of WebSocket.
//
// # Shape
//
// A [Reactor] has a few loops and a few workers, and no goroutine per connection. Each loop is one
// mailru/easygo Epoll, whose goroutine sleeps in epoll_wait. easygo watches one descriptor a loop,
// level-triggered: an inner epoll set of this package, in which that loop's listeners and clients
// are registered. easygo keeps a closure and a map entry behind a lock for each descriptor that it
// watches. This way there is one for each loop, not one for each client. The package also sees the
// end of a batch of events, which easygo does not tell.
//
// Clients are raw non-blocking descriptors from accept4(2). Each is registered once, for
// EPOLLIN|EPOLLPRI|EPOLLOUT|EPOLLRDHUP with EPOLLET, and never modified (epoll(7)). The event's
// data carries the slot index and the generation of its use.
//
// # The life of a connection
//
//	accept4 or Adopt -> slot, generation -> epoll set -> Opened
//	event -> state word idle to queued -> served inline, or linked into a worker's list
//	worker -> running: flush, read until EAGAIN or the turn's budget is spent, Data, Notice
//	       -> one write of everything that was sent meanwhile -> idle, or queued again
//	CloseFlushed -> queue flushed -> FIN -> input discarded until the peer's FIN -> Closed
//	or Detach -> out of the epoll set, the socket is the handler's -> Closed
//
// The state word (see the table at its type) makes the goroutine that moves it from queued to
// running the owner of the connection's read side. Only the owner closes the connection. Other
// goroutines mark a reason in the word, and the connection gets a turn. A write lock guards
// writing. Goroutines other than the owner may use the descriptor only under this lock. It is held
// across the non-blocking send(2) of that connection, and across no other system call.
//
// # Bounds
//
//   - Connections: Config.MaxConns are served. Config.Spare more are accepted and refused in an
//     orderly way. Beyond that clients wait in the kernel's backlog.
//   - Lists: they are intrusive, and a connection is in at most one.
//   - Output: a connection's queue holds at most Config.QueueBytes and one more message of any
//     size, and at most QueueMessages. QueueTotalBytes bounds all queues together, except for Close
//     frames.
//   - Input: one buffer for each loop and worker. A connection is not read while more than
//     ReadHighWater bytes of its output wait, so that a client cannot make the gateway hold more by
//     sending.
//   - Time: WriteStall and CloseTimeout each count only while the peer makes no progress.
//     SocketOptions.UserTimeout, off by default, may also hit peers that read steadily. The handler
//     has one deadline for each connection.
//
// # Locks
//
// No lock is held while a Handler is called. A lock to the left may be held while one to its right
// is taken:
//
//	directory of a socket file (flock, shared with other processes) -> Reactor.life
//	Reactor.life -> acceptor.mu -> a listener's lock
//	Reactor.life -> a loop's lock, the lock of adoptions
//	Reactor.life -> a connection's write lock, a worker's lock (in Adopt)
//	acceptor.closing -> acceptor.mu
//	a connection's write lock -> the locks of the pool of queues and of rare counters
//
// Otherwise a worker's lock is taken alone.
//
// # Faults of a handler
//
// A panic closes the connection that it happened on. So does runtime.Goexit, which also ends the
// goroutine. What the goroutine had yet to do is recorded in its loop or worker, and another
// goroutine goes on with it. A call that does not return keeps its goroutine and its connection.
// Reactor.Close takes over all other connections by their state words. When the call returns at
// last, its goroutine closes the connection.
package netpoll
