package session

import (
	"testing"
	"time"
)

// A client that always has something to send gets its rate, however small its burst is, although it is
// looked at every quarter of a second only.
func TestThrottleGivesTheRate(t *testing.T) {
	for _, r := range []Rate{{Messages: 1000, MessageBurst: 10}, {Messages: 200, MessageBurst: 20}, {Messages: 10}, {Messages: 100, MessageBurst: 500}} {
		if err := r.withDefaults(); err != nil {
			t.Fatal(err)
		}
		var th throttle
		th.start(&r, 1000)
		got := 0
		const seconds = 20
		for now := uint32(1000); now < 1000+seconds*1000; now += 250 {
			th.refill(&r, now)
			for th.wait(&r) == 0 {
				th.take(1)
				got++
			}
		}
		if want := r.MessageBurst + seconds*r.Messages; got < want*8/10 || got > want*11/10 {
			t.Errorf("%+v: %d messages in %d s", r, got, seconds)
		}
	}
}

// What may come at once is the burst, however long a client has been silent.
func TestThrottleBurst(t *testing.T) {
	r := Rate{Messages: 100, MessageBurst: 50}
	_ = r.withDefaults()
	var th throttle
	th.start(&r, 0)
	for _, now := range []uint32{5000, 100_000} {
		th.refill(&r, now)
		n := 0
		for ; th.wait(&r) == 0; n++ {
			th.take(1)
			th.refill(&r, now)
		}
		if n != 51 { // the last one is owed
			t.Errorf("%d at once", n)
		}
	}
}

// Being stopped is no break, however long it takes; a second of keeping to the rate is.
func TestThrottlePatience(t *testing.T) {
	r := Rate{Bytes: 1000, Patience: 5 * time.Second}
	_ = r.withDefaults()
	var th throttle
	th.start(&r, 0)
	now, abuse := uint32(0), false
	for ; now < 60_000 && !abuse; now += uint32(max(1, th.wait(&r)/time.Millisecond)) {
		th.refill(&r, now)
		th.take(5000) // each takes five seconds
		abuse = th.stop(&r, now)
	}
	if !abuse || now > 20_000 {
		t.Errorf("abuse %v after %d ms", abuse, now)
	}
	th.start(&r, now)
	for range 20 {
		th.refill(&r, now)
		th.take(3000)
		if th.stop(&r, now) {
			t.Fatal("a client that makes breaks is taken for one that does not")
		}
		now += uint32(th.wait(&r)/time.Millisecond) + 1500
	}
}

// Messages without content are no way around a rate of bytes alone.
func TestThrottleEmptyMessages(t *testing.T) {
	r := Rate{Bytes: 6000}
	_ = r.withDefaults()
	var th throttle
	th.start(&r, 0)
	n := 0
	for ; th.wait(&r) == 0 && n < 10_000; n++ {
		th.take(0)
	}
	if n != 1001 {
		t.Errorf("%d empty messages at once", n)
	}
}
