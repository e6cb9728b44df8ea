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
// A request is refused with an HTTP status if it is malformed, has no route or is no WebSocket
// handshake (RFC 6455 §4.2). Pings are answered by the server. The end comes in one of these
// ways, and [CloseInfo] says which: the client sends a Close frame, which is answered with
// the same code; [Session.Close] is called and the client answers, or does not in time; the
// client breaks the protocol, is too slow, or falls silent, and the server gives up on it; the
// connection breaks.
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
// For one session the calls of its handler come one at a time, in order. [Mode] says where: in a pool of
// goroutines, where they may block (the default), on the server's workers, or on an event loop. While a
// call in the pool waits or runs, its client is not read from. OnClose comes once for each OnOpen, after
// everything else; until it has returned the session's value, path and address are known. Sending never
// blocks. A panic closes its session with 1011.
//
// Message.Data belongs to the server and is valid until OnMessage returns. What is passed to the
// methods that send is the caller's again when they return; a [Prepared] is immutable.
//
// What a session sends from one goroutine arrives in that order or not at all: a message that is
// refused with [ErrQueueFull] closes the session, and nothing is sent behind it, so that there is never
// a gap within it. Where Route.Outbound says that messages may be dropped there are gaps, which
// Stats counts; and with [KeepLatest] a message takes the place of the one with its key that waits, in
// front of what was sent in between, or a symbol that changes all the time would never come to the front.
// A publication to a large channel is sent by others, and may arrive after what its publisher sends next
// (see Channels).
//
// # Clients that do not read
//
// What the socket does not take waits in a queue, bounded by Config.Reactor. When that is full, Route.Outbound
// says what happens: [CloseSlow], [DropOldest], [DropNewest], or [KeepLatest] of the messages with one key
// ([PrepareKeyed], [Session.SendKeyed]). [Session.BufferedAmount] looks at the queue. A client that reads
// nothing at all for Config.Reactor.WriteStall is closed in any case.
//
// # Clients that send too much
//
// [Rate] bounds messages and bytes a second. Beyond, the client is not read from, and TCP slows it down;
// [Session.PauseReading] does the same at will. So does Config.ControlRate for pings and pongs. Who keeps
// it up for long is closed with 1008. While it is not read from nothing of the client's is answered, its
// pings neither. Of pings behind a socket that is full only the latest is answered. Tiny fragments have a
// rate too, beyond which a client is closed with 1008 at once.
//
// # Before the upgrade
//
// Route.Origins, Route.OnUpgrade and Route.Subprotocols decide about a handshake that is correct;
// Route.HTTP answers requests that are none. A refusal ends the connection: no second request is
// ever read from it. Config.OnFail is told of those that fail, Config.AccessLog has a line for each.
//
// [Middleware] wraps a handler, [ChainUpgrade] joins checks of handshakes, [SameOrigin] is one for pages
// that the server itself serves.
//
// # Compression
//
// Route.Deflate offers permessage-deflate (RFC 7692), without context takeover. Messages from
// Route.DeflateThreshold bytes on are then compressed by whichever goroutine sends them; a
// Prepared once for all. Config.Deflate bounds how many at a time.
//
// # Channels
//
// A channel is a named set of sessions: [Session.Join] and [Session.Leave] change it,
// [Server.Publish] sends to it, [Server.Members] looks into it. It needs no creation. A subscription
// costs some 30 bytes and at most 64, the channel another 140 with a short name. All of a session's are
// gone before OnClose is called.
//
// A channel has one order: each publication has a number, see [Published], and all members see all
// publications in the order of these numbers, whoever published. From Join to Leave there is no gap.
//
// A message is encoded once. Channels of up to 64 members are sent to at once, by the publisher, one
// publisher at a time. Larger ones are spread over a few goroutines that belong to the server, each of
// which has its share of the members of every channel: so no delivery holds up a loop or a worker. What
// waits for them is bounded (Config.Publications, Config.PublicationBytes): beyond, Publish returns
// [ErrBusy] and nobody gets the message.
//
// Config.OnMembership is told who comes and goes, gathered so that who reconnects quickly never left.
//
// [Session.SetUser] makes a session one of a user's, whom [Server.SendUser] reaches wherever he is
// connected; [Server.SendAll] reaches everybody.
//
// # Liveness
//
// A sweeper looks at all clients four times a second. It pings those that have been silent for
// Config.PingInterval, give or take a tenth, and ends the sessions of those that have then
// been silent for Config.PingTimeout. Time in which the process itself stood still does not
// count.
//
// # Memory
//
// A session that waits costs about 110 bytes here and in netpoll, in records without pointers.
// Buffers exist for as long as something is incomplete or unsent, and are bounded for each
// client (Route.MaxMessage, Config.Head, Reactor.QueueBytes) and for all together
// (Config.InboundBytes, Reactor.QueueTotalBytes).
//
// # Locks
//
// A handler runs without any lock of the server. The lock of a session's memberships comes before that of
// its details, and before those of package hub, which has its own list. While two goroutines publish to
// one channel of up to 64 members, one waits until the other has sent; sending never blocks.
//
// Not here: tokens, TLS.
package session
