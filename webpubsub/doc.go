// Package webpubsub lets clients publish and subscribe by themselves, without a backend. They speak
// json.webpubsub.azure.v1, the JSON subprotocol of Azure Web PubSub. The client libraries of Azure
// work unchanged, with the protocol that does not recover connections. In JavaScript that is
// WebPubSubJsonProtocol().
//
// # Use
//
//	target, err := webpubsub.New(webpubsub.Config{Open: true})
//	srv, err := session.NewServer(session.Config{Routes: target.Routes("/channels")})
//
// # What a client sends
//
// One JSON object a message, in a text frame, or as UTF-8 in a binary one:
//
//	{"type":"joinGroup","group":G,"ackId":N}
//	{"type":"leaveGroup","group":G,"ackId":N}
//	{"type":"sendToGroup","group":G,"dataType":T,"data":D,"noEcho":B,"ackId":N}
//	{"type":"event","event":E,"dataType":T,"data":D,"ackId":N}
//	{"type":"invoke","invocationId":I,"target":"event","event":E,"dataType":T,"data":D}
//	{"type":"ping"}
//	{"type":"sequenceAck","sequenceId":N}
//
// T says what D is. "json", the default, is any JSON value. "text" is a string. "binary" is a
// string with base64 (RFC 4648 §4, with padding). "protobuf" is refused. JSON is passed on byte for
// byte, so that no number changes. A sender that is a member gets its own message too, unless
// noEcho is true.
//
// Events and invocations are refused, because no backend handles them. A sendToGroup with a member
// "stream" is refused too. Messages that belong to these features are ignored: sequenceAck,
// cancelInvocation, streamData, streamEnd. Members with other names are ignored, also names with
// half a surrogate. A member that is null counts as absent, except for data.
//
// # What a client gets
//
//	{"type":"system","event":"connected","userId":U,"connectionId":C}
//	{"type":"ack","ackId":N,"success":true}
//	{"type":"ack","ackId":N,"success":false,"error":{"name":X,"message":M}}
//	{"type":"message","from":"group","fromUserId":U,"group":G,"dataType":T,"data":D}
//	{"type":"invokeResponse","success":false,"invocationId":I,"error":{"name":X,"message":M}}
//	{"type":"streamClosed","streamId":S,"error":{"name":X,"message":M}}
//	{"type":"pong"}
//	{"type":"system","event":"disconnected","message":M}
//
// The first comes before everything else; the last before the server closes a session, see below.
// userId and fromUserId are missing for clients without one. What one client sends to one group reaches
// every member in that order, see session.Server.Publish.
//
// # Errors
//
// An error ack names one of these:
//
//	Forbidden            no permission for this group
//	Duplicate            a request with this ackId has been served before; it is not served again
//	InternalServerError  too many publications wait: try again later, with the same ackId if you like
//	BadRequest           it cannot be served, and cannot if it is repeated
//
// The first three are those of Azure, whose clients must expect others. A request without ackId waives
// the answer, if it has no other id: where it is refused it is dropped, and counted (Stats.Unanswered).
//
// A message that is no request at all gets "disconnected", and the session is closed with 1008: no
// JSON object, one nested deeper than MaxDepth, no type, a type that is not known and no ackId to
// refuse it by, a member of the wrong JSON type, or a member that is used here and stands twice. A binary
// message that is not UTF-8 is closed with 1007.
//
// # ackId
//
// A number from 0 to 2^64-1 that the client gives a request, usually 1, 2, 3. Served requests are
// remembered as long as the connection lives, refused ones are not: they may be repeated. Numbers may
// come in any order, and far from each other: what is remembered are intervals of served numbers, up to
// MaxAckIntervals of them. When there would be more the lowest one is forgotten. The numbers in it and
// below then get BadRequest: nobody can tell whether they have been served, and client libraries take
// Duplicate for success.
//
// # Clients that do not keep up
//
// Messages for a member that does not read are queued. Config.Reactor.QueueMessages and QueueBytes
// of package session bound the queue; in the gateway these are -queue-messages and -queue-bytes. A
// member whose queue is full is closed with 1013, unless Route.Outbound says something else. The
// client library then connects again, joins its groups, and sends again what has not been
// acknowledged. So this member misses what is published meanwhile, and its own messages may reach
// the others twice.
//
// Clients that send without waiting for acks do not read while they send, and so may fill their
// queue. With queues of 256 messages and 256 KiB this happened to two Node.js processes that sent
// 5,000 messages of 1 KB each. With at most 64 unacknowledged at a time, or with small messages,
// all 10,000 arrived, in order. So await the acks, limit how many are outstanding, or make the
// queues larger.
//
// # The end of a session
//
// "disconnected" comes before a Close frame and gives its reason: a message that is not a request,
// the server's shutdown (1001), or session.Session.Close. It does not come if a client breaks a
// rule of WebSocket, does not keep up (1013) or does not answer pings.
//
// # Memory
//
// A session costs 48 bytes here and some 100 in package session for keeping them, beside its
// permissions; 16 more with its first ackId, and up to 2 KiB if there are gaps between its ackIds.
//
// # Groups and channels
//
// A group is the channel of package session whose name is Config.Prefix and the group's: clients reach
// no other channels of the server. A group's name has 1 to MaxGroup bytes, whatever the prefix, without
// control characters (U+0000 to U+001F, U+007F to U+009F). Session.Value is taken by this package.
package webpubsub
