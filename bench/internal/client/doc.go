// Package client holds many WebSocket client connections in one process and
// drives load over them.
//
// An Engine owns one or more loops. Each loop is one goroutine with its own
// edge-triggered epoll set, its own connections, buffers and counters: nothing
// on the path of a message is shared, locked or allocated. A connection is a
// small record without buffers; those exist only while a frame is incomplete
// or the socket is full.
//
// What the connections do is a phase (connect, round, load, publish, drain,
// resume, churn, stall, hold, close, cut), started by Engine.Do. One phase runs
// at a time. A phase ends by itself, except load, publish and hold, which run
// until OpStop.
//
// Every payload is a function of a run-wide secret, the connection and the
// message number, so that every answer is compared in full although none is
// stored.
package client
