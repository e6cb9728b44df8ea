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
// "connected" comes before everything else. "disconnected" comes before the server closes a
// session, see below. userId and fromUserId are missing for clients without one. All members of a
// group get its messages in the same order, see session.Server.Publish.
//
// # Errors
//
// An error ack names one of these:
//
//	Forbidden            no permission for this group
//	Duplicate            a request with this ackId has been served before; it is not served again
//	InternalServerError  too many publications wait, or the server is shutting down: try again later,
//	                     with the same ackId if you like
//	BadRequest           it cannot be served, and repeating it will not help
//
// Azure has the first three too. Its clients must expect other names. A request without an ackId or
// another id gets no answer: if it is refused, it is dropped and counted (Stats.Unanswered).
//
// A message that is not a request gets "disconnected", and the session is closed with 1008. That is
// a message that is not one JSON object, is nested deeper than MaxDepth, has no type, has a member
// of the wrong JSON type, or has a member that is used here twice. It is also one with an unknown
// type and no ackId by which it could be refused. A binary message that is not UTF-8 closes the
// session with 1007.
//
// # ackId
//
// A client gives each request a number from 0 to 2^64-1, usually 1, 2, 3. The numbers of served
// requests are remembered as long as the connection lives. Refused requests are not remembered, and
// may be repeated. Numbers may come in any order and with gaps: up to MaxAckIntervals intervals of
// served numbers are remembered. If there are more, the lowest interval is forgotten. Numbers in it
// and below then get BadRequest, because the server cannot tell whether they were served.
// (Duplicate would be wrong: client libraries take it for success.)
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
// A session takes 48 bytes here, and some 100 in package session to keep them, beside its
// permissions. Its first ackId takes 16 more. Gaps between its ackIds take up to 2 KiB.
//
// # Groups and channels
//
// A group is a channel of package session. Its name is Config.Prefix and the name of the group, so
// that clients do not reach other channels of the server. A group's name has 1 to MaxGroup bytes,
// whatever the prefix, without control characters (U+0000 to U+001F, U+007F to U+009F). This
// package uses Session.Value for itself.
package webpubsub
