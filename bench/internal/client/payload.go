package client

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// mix is the finaliser of splitmix64: a bijection that spreads every bit.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

const golden = 0x9e3779b97f4a7c15

// seedOf names one message of one incarnation of one connection.
func seedOf(secret uint64, id, cycle, seq uint32) uint64 {
	return mix(secret+golden*mix(uint64(id)<<32|uint64(seq))) ^ mix(uint64(cycle)+golden)
}

// fill writes the payload of a seed: a splitmix64 stream.
func fill(p []byte, seed uint64) {
	for len(p) >= 8 {
		seed += golden
		binary.LittleEndian.PutUint64(p, mix(seed))
		p = p[8:]
	}
	if len(p) > 0 {
		var tail [8]byte
		binary.LittleEndian.PutUint64(tail[:], mix(seed+golden))
		copy(p, tail[:])
	}
}

// matches reports whether p is exactly what fill writes.
func matches(p []byte, seed uint64) bool {
	for len(p) >= 8 {
		seed += golden
		if binary.LittleEndian.Uint64(p) != mix(seed) {
			return false
		}
		p = p[8:]
	}
	var tail [8]byte
	binary.LittleEndian.PutUint64(tail[:], mix(seed+golden))
	return string(p) == string(tail[:len(p)])
}

// MinBroadcast is the shortest broadcast message: number, time, proof.
const MinBroadcast = 24

// fillBroadcast writes message seq of a group, published at a time.
func fillBroadcast(p []byte, secret uint64, group int, seq uint32, at int64) {
	binary.LittleEndian.PutUint64(p, uint64(seq))
	binary.LittleEndian.PutUint64(p[8:], uint64(at))
	fill(p[16:], seedOf(secret^mix(uint64(at)), uint32(group), 0, seq))
}

// readBroadcast is its inverse; ok is false for anything else.
func readBroadcast(p []byte, secret uint64, group int) (seq uint32, at int64, ok bool) {
	if len(p) < MinBroadcast {
		return 0, 0, false
	}
	n := binary.LittleEndian.Uint64(p)
	at = int64(binary.LittleEndian.Uint64(p[8:]))
	seq = uint32(n)
	return seq, at, n>>32 == 0 && matches(p[16:], seedOf(secret^mix(uint64(at)), uint32(group), 0, seq))
}

// clock reads CLOCK_MONOTONIC, which all processes of a machine share, at the
// price of time.Since.
type clock struct {
	base   time.Time
	offset int64
}

func newClock() clock {
	var ts unix.Timespec
	base := time.Now()
	// The system call cannot fail with these arguments.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return clock{base: base, offset: ts.Nano()}
}

func (k clock) now() int64 { return k.offset + int64(time.Since(k.base)) }
