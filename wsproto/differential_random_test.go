package wsproto_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"wsgateway/wsproto"
)

// Frames put together at random go deeper than bytes at random do.
func TestDifferentialRandomFrames(t *testing.T) {
	rnd := newRand(t)
	found := map[string]int{}
	for range 20000 {
		var in []byte
		for range 1 + rnd.IntN(6) {
			in = append(in, randomFrame(rnd)...)
		}
		if rnd.IntN(4) == 0 {
			in = in[:rnd.IntN(len(in))]
		}
		found[differential(t, in, rnd.Uint64())]++
	}
	t.Log(found)
	if found[sameVerdict] < 5000 || len(found) < 5 {
		t.Errorf("the frames lack variety: %v", found)
	}
}

func randomFrame(rnd *rand.Rand) []byte {
	ops := []byte{opText, opText, opBin, opCont, opCont, opCont, opPing, opPong, opClose, 3, 0xB}
	b0 := ops[rnd.IntN(len(ops))]
	if b0 >= 8 || rnd.IntN(2) == 0 {
		b0 |= fin
	}
	texts := []string{"", "a", "héllo", "\xE2", "\x9C", "\x93", "💩", "\xFF", long125[:125], long125, mixedText(300)}
	payload := texts[rnd.IntN(len(texts))]
	if b0&0xF == opClose {
		codes := []int{0, 999, 1000, 1004, 1005, 1006, 1011, 1012, 1014, 1015, 1016, 3000, 4999, 5000, 65535}
		payload = closePayload(codes[rnd.IntN(len(codes))], texts[rnd.IntN(8)])
	}
	switch rnd.IntN(60) {
	case 0:
		return longForm(b0, 2, payload)
	case 1:
		return longForm(b0, 8, payload)
	case 2:
		b0 ^= 1 << (4 + rnd.IntN(4))
	case 3:
		return wsproto.AppendFrame(nil, wsproto.OpText, []byte(payload)) // not masked
	}
	mask := [4]byte{}
	binary.BigEndian.PutUint32(mask[:], rnd.Uint32())
	return frameMask(b0, mask, []byte(payload))
}

// Bytes of any kind: the same events for every split, and the events of
// wsutil.Reader but for the differences listed above. The second argument decides
// about the splits and the limits.
func FuzzDifferential(f *testing.F) {
	for i, v := range vectors {
		if len(v.in) < 1<<12 {
			f.Add(v.in, roomy)
			f.Add(v.in, uint64(i)*7919)
		}
	}
	for _, d := range differences {
		f.Add(d.in, d.seed)
	}
	rnd := newRand(f)
	for range 64 {
		f.Add(cat(randomFrame(rnd), randomFrame(rnd), randomFrame(rnd), randomFrame(rnd)), rnd.Uint64())
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) { differential(t, in, seed) })
}
