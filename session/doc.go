// Package session serves WebSocket clients: it turns the connections of netpoll and the frames of
// wsproto into sessions, and tells handlers about them.
//
// # Use
//
// A [Server] has routes, each with a [Handler]. A handler gets a [Session] for every client. A
// Session is a small value that may be kept and compared. Any goroutine may use it at any time. See
// the example of Server.
//
// # The life of a session
//
//	request head -> route -> 101 -> OnOpen { OnMessage | OnBinary | OnPing | OnPong } [ OnError ] OnClose
//
// A request is refused with an HTTP status if it is malformed, has no route, or is not a WebSocket
// handshake (RFC 6455 §4.2). The server answers pings by itself. A session ends in one of these
// ways, and [CloseInfo] says which:
//
//   - The client sends a Close frame. It is answered with the same code.
//   - [Session.Close] or [Server.Shutdown] is called. The client answers with its own Close frame,
//     or the time for that runs out.
//   - The client breaks the protocol, is too slow, sends too much, or falls silent. The server then
//     ends the session.
//   - The connection breaks, or [Session.Terminate] breaks it.
//
// # Routes
//
// Route.Path is a pattern of http.ServeMux: /room/{id}, /files/{rest...}, example.com/chat.
// [Session.PathValue], [Upgrade.PathValue] and Request.PathValue return the value of a wildcard.
// [Server.SetRoutes] replaces all routes at once while the server runs. Open sessions keep the
// route that they were opened with until they end.
//
// # Contracts
//
// For one session the calls of its handler come one at a time, in order. [Mode] says where they run:
// in the route's own pool of goroutines, where they may block (the default), on the server's workers,
// or on an event loop. While a call in a pool waits or runs, its client is not read from. A route whose
// calls are all stuck does not hold up another route.
//
// OnClose is called once for each OnOpen, and is the last call. Until it has returned, the
// session's value, path and address are known. Sending never blocks. A panic in a call closes its
// session with 1011. [Session.Context] ends with the session.
//
// Message.Data belongs to the server and is valid until OnMessage returns. A slice that is passed
// to a method that sends is the caller's again when the method returns. A [Prepared] is immutable.
//
// What one goroutine sends to a session arrives in that order, without a gap. A message that is
// refused with [ErrQueueFull] closes the session, and no later message is sent. There are two
// exceptions. First, a route whose Route.Outbound drops messages leaves gaps, which Stats counts.
// [KeepLatest] replaces the queued message in place, so that a busy key is not starved. Second,
// other goroutines send a publication to a large channel. It may arrive after what its publisher
// sends next (see Channels).
//
// # Clients that do not read
//
// What the socket does not take waits in a queue, bounded by Config.Reactor. When the queue is full,
// Route.Outbound says what happens: [CloseSlow], [DropOldest], [DropNewest], or [KeepLatest], which
// keeps the latest message of each key ([PrepareKeyed], [Session.SendKeyed]).
// [Session.BufferedAmount] returns the bytes in the queue. A client that reads nothing at all for
// Config.Reactor.WriteStall is closed in any case.
//
// # Clients that send too much
//
// [Rate] bounds messages and bytes a second, and Config.ControlRate pings and pongs. A client
// beyond its rate is not read from for a while, and TCP slows it down. If it stays beyond its rate
// for too long, it is closed with 1008. Tiny fragments have a rate too (Config.FragmentRate). A
// client beyond that is closed with 1008 at once.
//
// [Session.PauseReading] stops reading until [Session.ResumeReading]. While reading is paused
// nothing is answered, pings included. If a client's socket is full, only its latest ping is
// answered.
//
// # Before the upgrade
//
// Route.Origins, Route.OnUpgrade and Route.Subprotocols decide about a correct handshake. Route.HTTP
// answers requests that are not handshakes. A refusal ends the connection: no second request is ever
// read from it. The server calls Config.OnFail for each request that fails. Config.AccessLog gets a
// line for each handshake.
//
// [Middleware] wraps a handler, and [ChainUpgrade] joins checks of handshakes. [SameOrigin] is a check
// for pages that the server itself serves.
//
// # Where clients come from
//
// [Server.ListenAndServe] and [Server.Serve] serve addresses and listeners until the server ends.
// [Server.Listen], [Server.ListenWith], [Server.ListenOn] and [Server.ListenFD] add some before or
// after [Server.Start]. A Server is an http.Handler too: [Server.ServeHTTP] takes over connections of
// net/http, so that pages and sessions share a port.
//
// # Compression
//
// Route.Deflate offers permessage-deflate (RFC 7692), without context takeover. The goroutine that
// sends a message compresses it, if it has at least Route.DeflateThreshold bytes. A Prepared is
// compressed once, however many sessions get it. Config.Deflate bounds how many messages are
// compressed at a time.
//
// # Channels
//
// A channel is a named set of sessions. [Session.Join] and [Session.Leave] change it,
// [Server.Publish] sends to it, and [Server.Members] lists its sessions. The first Join creates it.
// A membership takes some 30 bytes and at most 64, a channel another 140 with a short name. A
// session has left all its channels before OnClose is called.
//
// A channel has one order. Each publication has a number, see [Published]. All members see all
// publications in the order of their numbers, whoever published. A member gets all of them from Join
// to Leave.
//
// A message is encoded once. A channel of up to 64 members is served by the publisher itself, one
// publisher at a time. A larger channel is served by a few goroutines of the server, so that no
// delivery holds up a loop or a worker. Config.Publications and Config.PublicationBytes bound what
// waits for these goroutines. Beyond that Publish returns [ErrBusy], and nobody gets the message.
//
// The server calls Config.OnMembership with the sessions that joined and left. Changes are
// gathered, so that a client that reconnects quickly does not show up in them.
//
// [Session.SetUser] says which user a session belongs to. [Server.SendUser] sends to all sessions
// of a user, and [Server.SendAll] to all sessions.
//
// # Liveness
//
// A sweeper looks at all clients four times a second. It pings a client that has been silent for
// Config.PingInterval, give or take a tenth. If the client then stays silent for
// Config.PingTimeout, its session ends. Bytes that a client acknowledges or sends are signs of
// life. A unix socket does not tell when its client last read. So a client with unread output gets
// Config.PingTimeout a second time, at its first silence. Time in which the process itself stood
// still does not count.
//
// # The end
//
// [Server.Shutdown] ends the server in an orderly way. What was published is delivered, and running
// calls may finish. Then every session is closed with 1001. The context bounds all of that.
// [Server.Close] ends everything at once.
//
// # Memory
//
// An idle session costs about 110 bytes here and in netpoll, in records without pointers. Buffers
// exist only while something is incomplete or unsent. They are bounded for each client
// (Route.MaxMessage, Config.Head, Reactor.QueueBytes) and for all together (Config.InboundBytes,
// Reactor.QueueTotalBytes).
//
// # Locks
//
// The server holds no lock while a handler runs. The lock of a session's memberships comes before
// that of its details, and before those of package hub, which lists its own. If two goroutines
// publish to one channel of up to 64 members, one waits until the other has sent. Sending never
// blocks, so that wait is short.
//
// The package has no tokens and no TLS.
package session
