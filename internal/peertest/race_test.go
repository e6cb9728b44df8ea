//go:build race

package peertest

// The gateway is built with the race detector when the tests are.
const raceEnabled = true
