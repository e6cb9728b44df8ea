// Package peertest runs the gateway binary against peers that share no code
// with it: Chromium, the clients ws and undici of Node, websockets of Python and
// gorilla, coder and gws of Go (in the module bench/peers), HAProxy, Prometheus, the
// kernel's packet filter, and a client written here from RFC 6455 alone.
//
// The same peers talk to a session.Server that is mounted in a mux of net/http, see
// internal/muxserver.
//
// The package has tests only. They build the gateway from this module and start
// it as a process of its own, so that flags, signals, exit codes, descriptor
// limits and metrics are those an operator sees.
//
// A test whose peer is not installed skips and says what is missing. With
// WSGATEWAY_REQUIRE_PEERS=1 it fails instead: continuous integration sets it, so
// that a forgotten package cannot pass for a green run. WSGATEWAY_BINARY names a
// ready binary to test in place of a fresh build.
//
// Traffic stays on loopback and in network namespaces the tests make themselves.
package peertest
