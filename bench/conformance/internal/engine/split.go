package engine

import (
	"hash/fnv"
	"math/rand/v2"
)

// Splits are the ways in which each case is written: whole, one byte a write, and
// three times at random. Of an input over bigInput bytes, one byte a write is the
// beginning and the end, edgeBytes each; the middle goes in chunks.
var Splits = []string{"whole", "bytes", "few", "small", "head"}

const (
	bigInput  = 8 << 10
	edgeBytes = 2 << 10
	chunk     = 1461 // the middle of a big input: odd, so that it drifts over the masking key
)

// rng is the source of randomness of one split of one case: it depends on nothing
// else, so that a single case can be repeated by its seed.
func rng(seed uint64, id, split string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id + "/" + split)) // never fails
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// cut cuts b into the pieces that are written one by one. Concatenated they are b.
func cut(b []byte, split string, r *rand.Rand) [][]byte {
	switch split {
	case "bytes":
		return cutSized(b, func(at int) int {
			if len(b) > bigInput && at >= edgeBytes && at < len(b)-edgeBytes {
				return min(chunk, len(b)-edgeBytes-at)
			}
			return 1
		})
	case "few": // up to three cuts anywhere
		n := max(1, len(b)/2)
		return cutSized(b, func(int) int { return 1 + r.IntN(n) })
	case "small": // pieces of up to 16 bytes, or some 200 pieces of a big input
		n := max(16, len(b)/100)
		return cutSized(b, func(int) int { return 1 + r.IntN(n) })
	case "head": // short pieces at the beginning, where the headers are
		return cutSized(b, func(at int) int {
			if at < 20 {
				return 1 + r.IntN(5)
			}
			return len(b)
		})
	}
	return cutSized(b, func(int) int { return len(b) })
}

// cutSized cuts pieces of the size that next returns for each offset.
func cutSized(b []byte, next func(at int) int) (out [][]byte) {
	for at := 0; at < len(b); {
		n := min(next(at), len(b)-at)
		out = append(out, b[at:at+n])
		at += n
	}
	return out
}
