package session

import (
	"math/rand/v2"
	"sync"
	"testing"

	"wsgateway/netpoll"
)

// While a channel grows and its members are spread over parts, nobody who stays is passed over or
// found twice, and everyone can leave.
func TestChannelGrows(t *testing.T) {
	const stay, come = sliceLen / 2, 4 * sliceLen
	for range 50 {
		cs := newChannels(stay+come, 2, 3)
		heads := make([]uint32, stay+come)
		c := func(i int) conn { return netpoll.MakeConn(uint32(i), 1) }
		locked := func(i int, f func(c conn, head *uint32)) {
			lock := cs.owner(c(i))
			lock.Lock()
			defer lock.Unlock()
			f(c(i), &heads[i])
		}
		join := func(i int) {
			locked(i, func(c conn, head *uint32) {
				if joined, err := cs.join(c, head, "x", 2); !joined || err != nil {
					t.Error(joined, err)
				}
			})
		}
		for i := range stay {
			join(i)
		}
		ch := cs.find("x")
		var work, look sync.WaitGroup
		stop := make(chan struct{})
		look.Go(func() {
			for {
				var seen [stay]int
				for list := range ch.all() {
					for _, c := range list {
						if i := c.Index(); i < stay {
							seen[i]++
						}
					}
				}
				for i, n := range seen {
					if n != 1 {
						t.Errorf("member %d found %d times", i, n)
						return
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		for w := range 4 {
			work.Go(func() {
				for i := stay + w; i < stay+come; i += 4 {
					join(i)
					if rand.IntN(2) == 0 {
						locked(i, func(c conn, head *uint32) {
							if !cs.leave(c, head, "x") || cs.leave(c, head, "x") {
								t.Error("a member could not leave once")
							}
						})
					}
				}
			})
		}
		work.Wait()
		close(stop)
		look.Wait()
		if ch.spread.Load() == nil {
			t.Fatal("the channel has not grown")
		}
		for i := range heads {
			locked(i, cs.leaveAll)
		}
		left := len(ch.one.list)
		for list := range ch.all() {
			left += len(list)
		}
		if left > 0 {
			t.Errorf("%d members are left", left)
		}
		if cs.find("x") != nil || cs.count.Load() != 0 {
			t.Error("the channel is left")
		}
	}
}

// A channel that everybody leaves is not forgotten while publications to it are on their way, or they
// could be overtaken on their way to who comes back.
func TestChannelWaitsForPublications(t *testing.T) {
	cs := newChannels(1, 1, 1)
	var head uint32
	c := netpoll.MakeConn(0, 1)
	join := func() *channel {
		if _, err := cs.join(c, &head, "x", 1); err != nil {
			t.Fatal(err)
		}
		return cs.find("x")
	}
	ch := join()
	ch.pending.Add(2)
	cs.leave(c, &head, "x")
	if join() != ch {
		t.Fatal("another channel")
	}
	cs.sent(ch)
	cs.leave(c, &head, "x")
	if cs.find("x") != ch {
		t.Fatal("it is gone while something is on its way")
	}
	cs.sent(ch)
	if cs.find("x") != nil || cs.count.Load() != 0 {
		t.Fatal("it is still there")
	}
	if next := join(); next == ch || cs.count.Load() != 1 {
		t.Fatal("it is there again")
	}
}
