// Package wsproto is the server's side of the WebSocket protocol as a pure
// function of bytes: it turns what a client sends into requests, messages and
// control frames, and answers into bytes.
//
// It implements RFC 6455: the opening handshake (§4.2) with the strictness of
// RFC 9112 for its HTTP part, data framing (§5), UTF-8 (§8.1) and the Close frame
// (§5.5.1, §7.4). The response to a handshake is written by the zero-copy
// Upgrader of github.com/gobwas/ws, over memory; its header types, opcodes and
// masking serve the frames.
//
// It implements permessage-deflate (RFC 7692) without context takeover, so that a
// connection costs nothing between messages: decompression in the Decoder, by an
// Inflater that the caller lends for the call; compression by a Compressor from a
// bounded Deflater.
//
// There are no sockets, goroutines, clocks, logs or global state in it. Deadlines,
// rates, the order of the closing handshake, origins and authentication are the
// caller's.
//
// # The life of a connection
//
// Bytes are gathered until HeadEnd finds the end of the request head, or a reason
// to refuse it. ParseRequest makes a Request of it, CheckUpgrade judges it as a
// handshake, the caller decides about path, host and origin, and Upgrader.Upgrade
// appends the 101. Any of them may return a *RequestError instead, for which
// AppendRefusal has the answer; the connection then ends. Bytes behind the head
// before it was answered are ErrEarlyData: a client has to wait.
//
// After that the bytes go to Decoder.Next, which returns messages, pings, pongs
// and the peer's Close one at a time. A *ProtocolError carries the status code
// with which to fail the connection, which AppendClose encodes; after it, and
// after a Close, nothing more is decoded. A Decoder at rest holds nothing, so
// that an idle connection needs none.
//
// # Memory
//
// All input is judged before memory is spent on it: a head by HeadLimits, a frame
// by its header, a message by Limits, and what has to be kept between two calls
// is asked of Buffers, which may refuse. A complete frame is unmasked where it
// lies and returned as a view.
package wsproto
