// Package wsproto is the server's side of the WebSocket protocol. It turns the bytes of a client
// into requests, messages and control frames, and turns answers into bytes. The result depends on
// the bytes alone: the package has no sockets, goroutines, clock, log or global state.
//
// It implements:
//
//   - RFC 6455: the opening handshake (§4.2), frames (§5), UTF-8 (§8.1) and the Close frame
//     (§5.5.1, §7.4)
//   - RFC 9112, as strict as a server may be, for the HTTP part of the handshake
//   - RFC 7692, permessage-deflate, without context takeover: a connection holds no memory for it
//     between two messages
//
// The caller is responsible for deadlines, rates, the order of the closing handshake, origins and
// authentication.
//
// The 101 response is written by the zero-copy Upgrader of github.com/gobwas/ws, over memory.
// Header types, opcodes and masking come from the same module.
//
// # The life of a connection
//
// The caller gathers bytes until HeadEnd finds the end of the request head. ParseRequest makes a
// Request of the head, and CheckUpgrade judges it as a handshake. The caller then decides about
// path, host and origin. Upgrader.Upgrade appends the 101.
//
// Each of these functions may return a *RequestError instead. AppendRefusal makes the answer from
// it, and the connection ends. A client must not send anything behind the head before it has the
// answer. If it does, the caller refuses the request with ErrEarlyData.
//
// After the 101 the caller gives all bytes to Decoder.Next. It returns messages, pings, pongs and
// the peer's Close, one at a time. A *ProtocolError has the status code with which the connection
// must be failed; AppendClose encodes it. After an error or a Close the Decoder decodes nothing
// more.
//
// A Decoder at rest holds nothing. An idle connection needs none: the caller may lend it one when
// bytes arrive.
//
// # Memory
//
// Input is judged before memory is spent on it. HeadLimits bounds a head. A frame is judged by its
// header, and a message by Limits. Memory for what must be kept between two calls comes from
// Buffers, which may refuse. A complete frame is unmasked where it lies, and returned as a view.
package wsproto
