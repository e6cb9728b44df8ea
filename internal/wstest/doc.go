// Package wstest is what the tests of this module share: a WebSocket client and servers on loopback.
// Tests alone import it.
//
// The client is gobwas's own reader and writer, with the checks that a test wants. It does as it is
// told, so that a test can break every rule. Tests that must not trust gobwas have clients of their
// own, see internal/peertest.
//
// Nothing here sleeps to wait for others: see package waits.
package wstest
