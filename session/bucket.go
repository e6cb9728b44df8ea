package session

import "time"

// bucket is a token bucket of one client: the time at which it will be full again, in ticks of
// 1/32 ms of the gateway's time, wrapping around.
type bucket uint32

// fullBucket returns one that is full.
func fullBucket(now uint32) bucket { return bucket(now * ticksPerMS) }

const ticksPerMS = 32

// rate is how fast a bucket fills, and how large it is.
type rate struct {
	interval uint64 // ticks for one token
	size     uint64 // ticks for all of them
}

// makeRate returns the rate of so many tokens a second, and at most burst at once. More than
// 32,000 a second are not told apart, and the burst is cut to what fills within nine hours.
func makeRate(perSecond, burst int) rate {
	interval := uint64(max(1, 1000*ticksPerMS/perSecond))
	return rate{interval, min(interval*uint64(burst), 1<<30)}
}

// refresh keeps the bucket of a client that takes nothing from seeming empty when ticks have wrapped
// around, every 37 hours. It is to be called more often than that.
func (b *bucket) refresh(r rate, now uint32) {
	if uint64(uint32(*b)-now*ticksPerMS) > r.size+r.interval {
		*b = fullBucket(now)
	}
}

// ahead returns in how many ticks the bucket is full. It may owe one token.
func (b *bucket) ahead(r rate, now uint32) uint64 {
	ahead := uint64(uint32(*b) - now*ticksPerMS)
	if ahead > r.size+r.interval {
		return 0 // that was in the past
	}
	return ahead
}

// take takes n tokens, and reports false if there are not as many.
func (b *bucket) take(r rate, now uint32, n uint32) bool {
	ahead := b.ahead(r, now) + uint64(n)*r.interval
	if ahead > r.size {
		return false
	}
	*b = bucket(now*ticksPerMS + uint32(ahead))
	return true
}

// owe takes a token. If there is none it is owed, and owe reports true.
func (b *bucket) owe(r rate, now uint32) bool {
	ahead := min(b.ahead(r, now)+r.interval, r.size+r.interval)
	*b = bucket(now*ticksPerMS + uint32(ahead))
	return ahead > r.size
}

// wait returns when nothing is owed any more.
func (b *bucket) wait(r rate, now uint32) time.Duration {
	ahead := b.ahead(r, now)
	if ahead <= r.size {
		return 0
	}
	return max(time.Millisecond, time.Duration(ahead-r.size)*time.Millisecond/ticksPerMS)
}
