// Package netpoll is the gateway's reactor: it watches idle sockets with epoll, and has those
// that are ready served by a bounded pool of workers. It knows nothing of WebSocket.
//
// # Shape
//
// A [Reactor] has a few loops and a few workers, and no goroutine per connection. Each loop is
// one mailru/easygo Epoll, whose goroutine sleeps in epoll_wait. What easygo watches is one
// descriptor a loop, level-triggered: an inner epoll set in which that loop's listeners and
// clients are registered. To say it plainly: the clients are watched by this package's epoll
// sets, and the sets are watched by easygo. easygo's own per-descriptor bookkeeping (a
// closure and a map entry behind a lock) is thereby paid once a loop, not once a client, and
// the end of a batch of events is known, which easygo does not tell.
//
// Clients are raw non-blocking descriptors from accept4(2). Each is registered once, for
// EPOLLIN|EPOLLOUT|EPOLLRDHUP with EPOLLET, and never modified (epoll(7)). The event's data
// carries the slot index and the generation of its use.
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
// running the owner of the connection's read side. Only the owner closes: everybody else
// marks a reason in the word, which brings about a turn. Writing is guarded by a lock of the
// connection, under which alone its descriptor may be used by others than the owner; it is
// held across the non-blocking send(2) of that connection and nothing else.
//
// # Bounds
//
// Connections: Config.MaxConns, and Config.Spare to refuse more in an orderly way; beyond, clients
// wait in the kernel's backlog. Lists: intrusive, a connection stands in one at most.
// Output: a connection's queue holds at most Config.QueueBytes and one message of any size, and at
// most QueueMessages; QueueTotalBytes bounds all queues together, but for Close frames. Input:
// a buffer per loop and worker. Input is not read while more than ReadHighWater bytes of
// output wait, so that a client cannot make the gateway hold more by sending than by not
// reading. Time: WriteStall, CloseTimeout and
// TCP_USER_TIMEOUT, each without progress of the peer, and one deadline a connection for the handler.
//
// # Locks
//
// Under the write lock of a connection only the locks of the pool of queues and of rare counters
// are taken, which take none. Reactor.life is also taken before that of adoptions, and, by Adopt,
// before a connection's write lock and a worker's lock. acceptor.closing is taken before acceptor.mu, and that before a
// listener's. Reactor.life is taken before acceptor.mu and before a loop's, and the lock of a socket
// file's directory, which other processes may hold, before Reactor.life. Otherwise a worker's lock is taken alone. No
// lock is held while a Handler is called.
//
// # Faults of a handler
//
// A panic costs the connection that it happened on. So does runtime.Goexit, and the goroutine,
// which cannot be stopped from ending: what it had yet to do stands in its loop or worker, and
// another goroutine goes on with that. A call that does not return keeps its goroutine and its
// connection; Reactor.Close takes all others over by their state words, and the goroutine that
// comes back late closes what it has left behind.
package netpoll
