// Package channels lets clients publish and subscribe by themselves, without a backend. They speak
// json.webpubsub.azure.v1, the JSON subprotocol of Azure Web PubSub, so that its client libraries
// work unchanged with their protocol that does not recover connections; in JavaScript that is
// WebPubSubJsonProtocol().
//
// # Use
//
//	target, err := channels.New(channels.Config{Open: true})
//	srv, err := session.NewServer(session.Config{Routes: []session.Route{target.Route("/channels")}})
//	target.Attach(srv) // before srv.Start
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
// T says what D is: "json", the default, any JSON value; "text", a string; "binary", a string with
// base64 (RFC 4648 §4, with padding). "protobuf" is refused. JSON is passed on byte for byte, so that
// no number changes. noEcho spares the sender, who otherwise gets his own message if he is a member.
// Events and invocations are refused, since there is nobody to handle them, and so is a sendToGroup
// with a member "stream". What then means nothing is ignored: sequenceAck, cancelInvocation, streamData,
// streamEnd. Members with other names are ignored; null is as good as absent, except for data.
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
// The first comes before everything else; the last before the target itself closes a session. userId
// and fromUserId are missing for clients without one. What one client sends to one group reaches
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
// come in any order within Window of them. A number that was skipped and has fallen out of the window
// gets BadRequest: nobody can tell whether it has been served, and client libraries take Duplicate for
// success.
//
// # Memory
//
// A session costs 48 bytes here and some 100 in package session for keeping them, beside its
// permissions; 128 more once its ackIds come out of order.
//
// # Groups and channels
//
// A group is the channel of package session whose name is Config.Prefix and the group's: clients reach
// no other channels of the server. A group's name has 1 to session.MaxChannelName bytes less those of
// the prefix, without control characters. Session.Value is taken by this package.
package channels
