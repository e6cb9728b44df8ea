package session

import (
	"testing"
	"time"
)

func TestBucket(t *testing.T) {
	for _, start := range []uint32{0, 1, 1<<27 - 5, 1<<27 + 3, 1<<32 - 10_000, 1<<32 - 1} {
		r := makeRate(10, 20)
		b := fullBucket(start)
		for i := range 20 {
			if !b.take(r, start, 1) {
				t.Fatalf("from %d: token %d is missing", start, i)
			}
		}
		if b.take(r, start, 1) {
			t.Fatalf("from %d: more than the burst", start)
		}
		if b.take(r, start+99, 1) {
			t.Fatalf("from %d: a token too early", start)
		}
		if !b.take(r, start+100, 1) || b.take(r, start+199, 1) {
			t.Fatalf("from %d: not one token in 100 ms", start)
		}
		if !b.take(r, start+5000, 20) || b.take(r, start+5000, 1) {
			t.Fatalf("from %d: not full after a while", start)
		}
	}
}

// However long a client is silent, it is never judged by a time long past.
func TestBucketAfterSilence(t *testing.T) {
	r := makeRate(10, 20)
	for _, silence := range []uint32{2001, 1 << 20, 1 << 26, 1<<27 - 101} {
		b := fullBucket(1000)
		if !b.take(r, 1000, 20) || !b.take(r, 1000+silence, 1) {
			t.Errorf("refused after %d ms", silence)
		}
	}
}

// A rate that passes over a second lets exactly as much through.
func TestBucketRate(t *testing.T) {
	for _, perSecond := range []int{1, 10, 1000, 10_000} {
		r := makeRate(perSecond, perSecond)
		b := fullBucket(1 << 31)
		n := 0
		for ms := range uint32(10_000) {
			for b.take(r, 1<<31+ms, 1) {
				n++
			}
		}
		if least, most := perSecond*10, perSecond*12; n < least || n > most {
			t.Errorf("%d a second: %d in 10 s", perSecond, n)
		}
	}
}

// One that is looked at now and then is never taken for empty, over days.
func TestBucketRefresh(t *testing.T) {
	r := makeRate(10, 200)
	b := fullBucket(0)
	for now := uint32(0); now < 1<<30; now += 47_000 {
		b.refresh(r, now)
		probe := b
		if !probe.take(r, now, 200) {
			t.Fatalf("not full at %d ms", now)
		}
	}
}

// Owing a token stops for as long as it takes, and no more than one is owed.
func TestBucketOwes(t *testing.T) {
	for _, start := range []uint32{0, 1<<27 - 5, 1<<32 - 150, 1<<32 - 1} {
		r := makeRate(10, 20)
		b := fullBucket(start)
		for i := range 20 {
			if b.owe(r, start) {
				t.Fatalf("from %d: token %d is owed", start, i)
			}
		}
		if b.wait(r, start) != 0 {
			t.Fatalf("from %d: an empty bucket waits", start)
		}
		for range 5 {
			if !b.owe(r, start) {
				t.Fatalf("from %d: more than the burst", start)
			}
		}
		b.refresh(r, start)
		if w := b.wait(r, start); w != 100*time.Millisecond {
			t.Fatalf("from %d: waits %v", start, w)
		}
		if b.wait(r, start+99) == 0 || b.wait(r, start+100) != 0 {
			t.Fatalf("from %d: does not wait for 100 ms", start)
		}
	}
}

// An offence is kept up by exceeding the rate again and again, and ended by a second without it.
func TestRecordFlood(t *testing.T) {
	const wait, patience = 100 * time.Millisecond, 2 * time.Second
	for _, start := range []uint32{0, 1, 5000, 1<<32 - 1000, 1<<32 - 1} {
		var rec record
		rec.flags.Store(flagHeld)
		now := start
		for ; !rec.flood(now, wait, patience); now += 250 {
			if now-start > 10_000 {
				t.Fatalf("from %d: no abuse after %d ms", start, now-start)
			}
		}
		if now-start <= 2000 || now-start > 2300 {
			t.Errorf("from %d: abuse after %d ms", start, now-start)
		}
		for range 10 {
			now += 1200
			if rec.flood(now, wait, patience) {
				t.Fatalf("from %d: a break does not end the offence", start)
			}
		}
		if rec.flags.Load()&^lastFlood != flagHeld {
			t.Errorf("flags: %x", rec.flags.Load())
		}
	}
}
