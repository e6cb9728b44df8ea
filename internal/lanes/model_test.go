package lanes_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"wsgateway/internal/lanes"
)

// model is what a pool should be doing, kept in the plainest way: a list of calls a key, and which
// of them runs.
type model struct {
	*rapid.T
	pool    *pool
	size    int
	posted  map[uint64][]*modelCall // begun first, if any
	graves  map[uint64]string       // tombstones
	drained map[uint64]int          // callbacks that are due; guarded by mu
	failed  []string                // guarded by mu
	mu      sync.Mutex
	next    int
}

type modelCall struct {
	id    int
	held  held
	how   chan string // how it is to end
	began bool
}

// Whatever is posted, forgotten, ended and failed in whatever order: the pool does what the model
// says.
func TestModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, checkModel) // a bubble has no deadline to ask for
	})
}

func checkModel(rt *rapid.T) {
	m := &model{T: rt, size: rapid.IntRange(1, 4).Draw(rt, "size"), posted: map[uint64][]*modelCall{}, drained: map[uint64]int{}, graves: map[uint64]string{}}
	var err error
	m.pool, err = lanes.New[uint64, string](config{
		Size:        m.size,
		IdleTimeout: time.Second,
		MaxWaiting:  3,
		Drained:     func(key uint64) { m.mu.Lock(); defer m.mu.Unlock(); m.drained[key]-- },
		Failed: func(key uint64, v any) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.failed = append(m.failed, fmt.Sprint(key, v))
		},
	})
	if err != nil {
		rt.Fatal(err)
	}
	defer m.end()
	key := rapid.Uint64Range(1, 6)
	rt.Repeat(map[string]func(*rapid.T){
		"post":   func(rt *rapid.T) { m.post(key.Draw(rt, "key"), false) },
		"last":   func(rt *rapid.T) { m.post(key.Draw(rt, "key"), true) },
		"forget": func(rt *rapid.T) { m.forget(key.Draw(rt, "key")) },
		"return": func(rt *rapid.T) {
			m.finish(key.Draw(rt, "key"), rapid.SampledFrom([]string{"return", "panic", "exit"}).Draw(rt, "how"))
		},
		"rest": func(rt *rapid.T) { time.Sleep(time.Duration(rapid.IntRange(1, 3).Draw(rt, "seconds")) * time.Second) },
		"":     m.check,
	})
}

func (m *model) post(key uint64, last bool) {
	c := &modelCall{id: m.next, how: make(chan string, 1), held: held{entered: make(chan struct{})}}
	m.next++
	m.posted[key] = append(m.posted[key], c)
	call := func() {
		close(c.held.entered)
		switch <-c.how {
		case "panic":
			panic("call")
		case "exit":
			runtime.Goexit()
		}
	}
	if last {
		m.graves[key] = fmt.Sprint(c.id)
		m.pool.PostLast(key, m.graves[key], call)
	} else {
		m.pool.Post(key, call)
	}
}

func (m *model) forget(key uint64) {
	m.pool.Forget(key)
	delete(m.graves, key)
	if calls := m.posted[key]; len(calls) > 0 && calls[0].began {
		m.posted[key] = calls[:1]
	} else {
		delete(m.posted, key)
	}
}

func (m *model) finish(key uint64, how string) {
	calls := m.posted[key]
	if len(calls) == 0 || !calls[0].began {
		return
	}
	failures := len(m.failed)
	want := map[string]string{"panic": fmt.Sprint(key, "call"), "exit": fmt.Sprint(key, nil)}[how]
	calls[0].how <- how
	synctest.Wait()
	if got := m.failed[failures:]; len(got) > 1 || want == "" && len(got) > 0 || want != "" && (len(got) == 0 || got[0] != want) {
		m.Fatalf("told of failures %q, want %q", got, want)
	}
	m.posted[key] = calls[1:]
	if len(calls) == 1 {
		delete(m.posted, key)
		delete(m.graves, key)
		m.drained[key]++
	}
}

// check compares the pool with the model when nothing moves any more.
func (m *model) check(rt *rapid.T) {
	synctest.Wait()
	running, waiting := 0, 0
	for key, calls := range m.posted {
		for i, c := range calls {
			if began := c.held.running(); began && i > 0 {
				rt.Fatalf("call %d of key %d runs beside an earlier one", c.id, key)
			} else if began {
				c.began = true
				running++
			}
		}
		if !calls[0].began {
			waiting++
		}
	}
	if want := min(m.size, len(m.posted)); running != want {
		rt.Fatalf("%d calls run, want %d of %d keys", running, want, len(m.posted))
	}
	if got, want := m.pool.Stats(), (lanes.Stats{Size: m.size, Busy: running, Waiting: waiting}); got != want {
		rt.Fatalf("stats %+v, want %+v", got, want)
	}
	if full := m.pool.Full(); full != (waiting >= 3) {
		rt.Fatalf("full: %v, %d wait", full, waiting)
	}
	for key := uint64(1); key <= 6; key++ {
		if busy := m.pool.Busy(key); busy != (len(m.posted[key]) > 0) {
			rt.Fatalf("key %d is busy: %v, %d calls are posted", key, busy, len(m.posted[key]))
		}
		if m.drained[key] != 0 {
			rt.Fatalf("key %d: %d drained callbacks are missing", key, m.drained[key])
		}
		if got, _ := m.pool.Tombstone(key); got != m.graves[key] {
			rt.Fatalf("key %d has the tombstone %q, want %q", key, got, m.graves[key])
		}
	}
}

// end lets all calls return; none may be missing.
func (m *model) end() {
	for _, calls := range m.posted {
		for _, c := range calls {
			c.how <- "return"
		}
	}
	if left := m.pool.Close(context.Background()); left.Busy+left.Waiting > 0 {
		m.Fatalf("left after Close: %+v", left)
	}
	for _, calls := range m.posted {
		for _, c := range calls {
			if !c.held.running() {
				m.Fatalf("call %d was not made", c.id)
			}
		}
	}
}
