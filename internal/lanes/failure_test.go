package lanes_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A call that panics or ends its goroutine costs the pool nothing: it is told of, the next calls of
// the key are made, the lane is drained, and the pool keeps its size.
func TestFailedCalls(t *testing.T) {
	broken := errors.New("broken")
	raise := func(v any) { panic(v) }
	for name, tt := range map[string]struct {
		call func()
		want string
	}{
		"panic":          {func() { panic(broken) }, "broken"},
		"panic with nil": {func() { raise(nil) }, "panic called with nil"},
		"Goexit":         {func() { runtime.Goexit() }, "<nil>"},
		"Goexit beside a panic": {func() {
			defer func() { _ = recover() }()
			defer runtime.Goexit()
			panic(broken)
		}, "<nil>"},
	} {
		for _, exitAgain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, Failed exits %v", name, exitAgain), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var failed []string
					var drained []uint64
					p := newPool(t, config{
						Size: 1,
						Failed: func(key uint64, v any) {
							failed = append(failed, fmt.Sprint(key, " ", v))
							if exitAgain {
								runtime.Goexit()
							}
						},
						Drained: func(key uint64) { drained = append(drained, key) },
					})
					for range 3 {
						made := false
						p.Post(7, tt.call)
						p.Post(7, func() { made = true })
						p.Post(8, tt.call)
						synctest.Wait()
						if !made {
							t.Error("the key's next call was not made")
						}
						wantStats(t, p, 1, 0, 0)
					}
					if len(failed) != 6 || !strings.HasPrefix(failed[0], "7 "+tt.want) || !strings.HasPrefix(failed[1], "8 "+tt.want) {
						t.Errorf("told of %q, want three times 7 and 8 with %q", failed, tt.want)
					}
					slices.Sort(drained)
					if want := []uint64{7, 7, 7, 8, 8, 8}; !slices.Equal(drained, want) {
						t.Errorf("drained %v, want %v", drained, want)
					}
				})
			})
		}
	}
}

// The stack that Failed sees is that of the panic.
func TestFailedSeesTheStack(t *testing.T) {
	stack := make(chan string, 1)
	p := newPool(t, config{Size: 1, Failed: func(uint64, any) {
		b := make([]byte, 16<<10)
		stack <- string(b[:runtime.Stack(b, false)])
	}})
	p.Post(1, panicsInItself)
	if s := <-stack; !strings.Contains(s, "panicsInItself") {
		t.Errorf("the stack does not name the function that panicked:\n%s", s)
	}
}

func panicsInItself() { panic("here") }

// Close waits for calls until its context is over, says what is left, and does not take idle
// goroutines for stuck ones. What was stuck still ends in order later.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, config{Size: 3})
		stuck := hold(p, 1)
		for key := uint64(2); key <= 5; key++ {
			p.Post(key, func() {})
		}
		synctest.Wait() // two goroutines are idle now
		last := false
		p.PostLast(1, "", func() { last = true })
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		begin := time.Now()
		if left := p.Close(ctx); left.Busy != 1 || left.Waiting != 0 {
			t.Errorf("left when time is up: %+v, want one call", left)
		}
		if d := time.Since(begin); d != time.Second {
			t.Errorf("Close took %v, want 1 s", d)
		}
		late := false
		p.Post(6, func() { late = true })
		synctest.Wait()
		if !late || last {
			t.Errorf("call posted after Close was made: %v, call behind the stuck one: %v, want true and false", late, last)
		}
		done := make(chan int)
		go func() { left := p.Close(context.Background()); done <- left.Busy + left.Waiting }()
		synctest.Wait()
		close(stuck.leave)
		if n := <-done; n > 0 || !last {
			t.Errorf("%d left, call behind the stuck one was made: %v", n, last)
		}
	})
}

// Close makes the calls that wait, and a context that is over does not hold it up.
func TestCloseMakesWaitingCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, config{Size: 1})
		first, made := hold(p, 1), 0
		for key := uint64(2); key <= 5; key++ {
			p.Post(key, func() { made++ })
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if left := p.Close(ctx); left.Busy != 1 || left.Waiting != 4 {
			t.Errorf("left: %+v, want 1 busy and 4 waiting", left)
		}
		go func() { time.Sleep(time.Second); close(first.leave) }()
		if left := p.Close(context.Background()); left.Busy != 0 || left.Waiting != 0 || made != 4 {
			t.Errorf("left: %+v; %d calls made, want 4", left, made)
		}
	})
}

// Goroutines start when they are needed and end when they have been idle for a while.
func TestIdleGoroutinesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, config{Size: 5, IdleTimeout: time.Second})
		before := runtime.NumGoroutine()
		goroutines := func() int { synctest.Wait(); return runtime.NumGoroutine() - before }
		if n := goroutines(); n != 0 {
			t.Errorf("%d goroutines before the first call", n)
		}
		var calls []held
		for key := range uint64(5) {
			calls = append(calls, hold(p, key))
		}
		if n := goroutines(); n != 5 {
			t.Errorf("%d goroutines for 5 calls", n)
		}
		for i, c := range calls {
			if i == 4 { // the others have been idle for 0.9 s
				time.Sleep(900 * time.Millisecond)
			}
			close(c.leave)
		}
		time.Sleep(200 * time.Millisecond)
		if n := goroutines(); n < 1 {
			t.Errorf("%d goroutines 0.2 s after the last call, want that one's at least", n)
		}
		for range 30 { // one key's calls keep one goroutine
			p.Post(1, func() {})
			time.Sleep(100 * time.Millisecond)
		}
		if n := goroutines(); n != 1 {
			t.Errorf("%d goroutines after 3 s with one call at a time, want 1", n)
		}
		time.Sleep(2*time.Second + time.Millisecond)
		if n := goroutines(); n != 0 {
			t.Errorf("%d goroutines after 2 s without calls", n)
		}
		made := false
		p.Post(1, func() { made = true })
		if synctest.Wait(); !made {
			t.Error("no call after the goroutines have ended")
		}
	})
}

// A call that takes long is named once; the next one of the same key is another call.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, config{Size: 3})
		slow := func() []uint64 {
			synctest.Wait()
			time.Sleep(50 * time.Millisecond)
			return p.Slow(time.Now(), 100*time.Millisecond)
		}
		p.Post(9, func() {}) // leaves an idle goroutine behind
		for range 2 {
			first := hold(p, 1)
			for i, want := range []int{0, 0, 1, 0, 0, 0} {
				if got := slow(); len(got) != want || want > 0 && got[0] != 1 {
					t.Errorf("look %d at a call that stays: %v, want %d of key 1", i, got, want)
				}
			}
			close(first.leave)
		}
		for range 10 { // busy all the time, but never with one call for long
			next := hold(p, 2)
			if got := slow(); len(got) > 0 {
				t.Errorf("%v are slow", got)
			}
			close(next.leave)
		}
	})
}

// Posting, forgetting and failing beside each other loses no lane: each key's last call is made.
func TestForgetBesidePosts(t *testing.T) {
	p := newPool(t, config{Size: 2, Failed: func(uint64, any) {}})
	var all, last sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 2000 {
				key := uint64(n % 3)
				switch (n + i) % 4 {
				case 0:
					p.Forget(key)
				case 1:
					p.Post(key, runtime.Goexit)
				default:
					p.Post(key, runtime.Gosched)
				}
			}
		})
	}
	all.Wait()
	last.Add(3)
	for key := range uint64(3) {
		p.Post(key, last.Done)
	}
	last.Wait()
	if left := p.Close(context.Background()); left.Busy+left.Waiting > 0 {
		t.Errorf("left: %+v", left)
	}
	for key := range uint64(3) {
		if p.Busy(key) {
			t.Errorf("a lane of key %d is left", key)
		}
	}
}
