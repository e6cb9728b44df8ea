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
				if joined, err := cs.join(c, head, "x"); !joined || err != nil {
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
		for i, p := range append(*ch.spread.Load(), part{list: ch.one.list}) {
			if len(p.list) > 0 {
				t.Errorf("%d members are left in part %d", len(p.list), i)
			}
		}
		if cs.find("x") != nil || cs.count.Load() != 0 {
			t.Error("the channel is left")
		}
	}
}
