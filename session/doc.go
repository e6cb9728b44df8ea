// Package session serves WebSocket clients: it turns the connections of netpoll and the frames of
// wsproto into sessions, and tells handlers about them.
//
// # Use
//
// A [Server] has routes, each with a [Handler]. A handler gets a [Session] for every client: a
// small value that stands for the client, may be kept and compared, and is safe to use from any
// goroutine at any time. See the example of Server.
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
//   - [Session.Close] or [Server.Shutdown] is called. The client answers, or does not in time.
//   - The client breaks the protocol, is too slow, floods, or falls silent, and the server gives up
//     on it.
//   - The connection breaks, or [Session.Terminate] breaks it.
//
// # Routes
//
// Route.Path is a pattern of http.ServeMux: /room/{id}, /files/{rest...}, example.com/chat.
// [Session.PathValue], [Upgrade.PathValue] and Request.PathValue tell what stands in the place of a
// wildcard. [Server.SetRoutes] replaces all routes at once while the server runs. Sessions that are open
// keep the route that they were opened with, to their end.
//
// # Contracts
//
// For one session the calls of its handler come one at a time, in order. [Mode] says where they run:
// in the route's own pool of goroutines, where they may block (the default), on the server's workers,
// or on an event loop. While a call in a pool waits or runs, its client is not read from. A route whose
// calls are all stuck does not hold up another route.
// OnClose comes once for each OnOpen, after everything else. Until it has returned, the session's
// value, path and address are known. Sending never blocks. A panic closes its session with 1011.
// [Session.Context] ends with the session.
//
// Message.Data belongs to the server and is valid until OnMessage returns. The methods that send copy
// what they are given, or have sent it when they return. A [Prepared] is immutable.
//
// What one goroutine sends to a session arrives in that order, without a gap: a message that is
// refused with [ErrQueueFull] closes the session, and nothing is sent behind it. There are two
// exceptions. Where Route.Outbound says that messages may be dropped there are gaps, which Stats
// counts. [KeepLatest] replaces the queued message in place, so that a busy key is not starved.
// A publication to a large channel is sent by other goroutines, and may arrive after what its
// publisher sends next (see Channels).
//
// # Clients that do not read
//
// What the socket does not take waits in a queue, bounded by Config.Reactor. When the queue is full,
// Route.Outbound says what happens: [CloseSlow], [DropOldest], [DropNewest], or [KeepLatest] of the
// messages with one key ([PrepareKeyed], [Session.SendKeyed]). [Session.BufferedAmount] looks at the
// queue. A client that reads nothing at all for Config.Reactor.WriteStall is closed in any case.
//
// # Clients that send too much
//
// [Rate] bounds messages and bytes a second, Config.ControlRate pings and pongs. A client that is
// beyond its rate is not read from for a while, and TCP slows it down. If it keeps that up for long it
// is closed with 1008. [Session.PauseReading] stops reading at will. While reading is paused nothing
// is answered, pings included. Of the pings of a client whose socket is full only the latest is
// answered. Tiny fragments have a rate too; a client beyond it is closed with 1008 at once.
//
// # Before the upgrade
//
// Route.Origins, Route.OnUpgrade and Route.Subprotocols decide about a correct handshake. Route.HTTP
// answers requests that are not handshakes. A refusal ends the connection: no second request is ever
// read from it. Config.OnFail is told of requests that fail, and Config.AccessLog has a line for each.
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
// Route.Deflate offers permessage-deflate (RFC 7692), without context takeover. Messages from
// Route.DeflateThreshold bytes on are compressed by the goroutine that sends them, a Prepared once
// for all. Config.Deflate bounds how many at a time.
//
// # Channels
//
// A channel is a named set of sessions. [Session.Join] and [Session.Leave] change it,
// [Server.Publish] sends to it, [Server.Members] looks into it. It needs no creation. A subscription
// costs some 30 bytes and at most 64, a channel another 140 with a short name. A session has left all
// its channels before OnClose is called.
//
// A channel has one order. Each publication has a number, see [Published], and all members see all
// publications in the order of their numbers, whoever published. A member gets all of them from Join
// to Leave.
//
// A message is encoded once. The publisher itself sends to a channel of up to 64 members, one
// publisher at a time. The members of larger channels are spread over a few goroutines of the server,
// so that no delivery holds up a loop or a worker. Config.Publications and Config.PublicationBytes
// bound what waits for them. Beyond, Publish returns [ErrBusy], and nobody gets the message.
//
// Config.OnMembership is told who joins and leaves. Changes are gathered, so that a client that
// reconnects quickly never left.
//
// [Session.SetUser] says whose session it is. [Server.SendUser] reaches all sessions of a user, and
// [Server.SendAll] all sessions.
//
// # Liveness
//
// A sweeper looks at all clients four times a second. It pings clients that have been silent for
// Config.PingInterval, give or take a tenth. If they are then silent for Config.PingTimeout, their
// sessions end. Bytes that a client acknowledges or sends are signs of life. Time in which the process
// itself stood still does not count.
//
// # The end
//
// [Server.Shutdown] ends the server in an orderly way: what was published is delivered, calls that run
// may finish, then every session is closed with 1001. Its context bounds all of that. [Server.Close]
// ends everything at once.
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
// A handler runs without any lock of the server. The lock of a session's memberships comes before that
// of its details, and before those of package hub, which has its own list. While two goroutines
// publish to one channel of up to 64 members, one waits until the other has sent; sending never
// blocks.
//
// Not here: tokens, TLS.
package session
