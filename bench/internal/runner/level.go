package runner

import (
	"context"
	"fmt"
	"sync"
	"time"

	"wsgateway/bench/internal/proc"
	"wsgateway/bench/internal/report"
)

const (
	// leakSlack is how much a server may grow without leaking: a connection of
	// somebody's to its admin listener, a goroutine on its way out.
	leakSlack = 5
	// leakLooks is how often a grown server is looked at before it is said to
	// leak: a late end is no leak.
	leakLooks = 5
)

// levels reads what each server process holds, as far as it can be read.
func (n *run) levels(ctx context.Context) []report.Level {
	list := make([]report.Level, len(n.pids))
	for i, pid := range n.pids {
		l := &list[i]
		// Before the metrics: answering costs the server some. Both stay 0
		// where they cannot be read.
		l.Descriptors, _ = proc.Descriptors(pid)
		l.RSS, _ = proc.RSS(pid)
		if i >= len(n.servers) || n.servers[i].Admin == "" {
			continue
		}
		m, err := n.servers[i].Metrics(ctx)
		if err != nil {
			continue
		}
		l.Goroutines = int(m["go_goroutines"])
		if l.Descriptors == 0 {
			l.Descriptors = int(m["process_open_fds"])
		}
		if l.Heap = int64(m["go_memstats_heap_inuse_bytes"]); l.Heap == 0 {
			l.Heap = int64(m["go_memstats_heap_alloc_bytes"])
		}
	}
	return list
}

func total(list []report.Level) *report.Level {
	if len(list) == 0 {
		return nil
	}
	sum := &report.Level{}
	for _, l := range list {
		sum.Add(l)
	}
	return sum
}

// grown names the first process that holds more than before, other than
// memory, and returns "" for none.
func grown(before, after []report.Level) string {
	for i := range after {
		b, a := before[i], after[i]
		switch {
		case b.Descriptors > 0 && a.Descriptors > b.Descriptors+leakSlack:
			return fmt.Sprintf("server process %d had %d descriptors and has %d", i, b.Descriptors, a.Descriptors)
		case b.Goroutines > 0 && a.Goroutines > b.Goroutines+leakSlack:
			return fmt.Sprintf("server process %d had %d goroutines and has %d", i, b.Goroutines, a.Goroutines)
		}
	}
	return ""
}

// settled reads the levels when they no longer exceed those before, which may
// be nil, or after a bounded time.
func (n *run) settled(ctx context.Context, before []report.Level) (after []report.Level, err error) {
	for range leakLooks {
		if err := wait(ctx, n.o.Settle); err != nil {
			return nil, err
		}
		if after = n.levels(ctx); before == nil || grown(before, after) == "" {
			break
		}
	}
	return after, nil
}

const peakPeriod = 50 * time.Millisecond

// peaks is the most that was seen of the servers, summed over them.
type peaks struct {
	rss    int64
	queues *report.SlowQueues // nil when no server tells
}

// look takes one sample.
func (p *peaks) look(ctx context.Context, n *run) {
	if rss, err := n.rss(); err == nil {
		p.rss = max(p.rss, rss)
	}
	var queued, limit, slow float64
	seen := false
	for _, s := range n.servers {
		if s.Admin == "" {
			continue
		}
		m, err := s.Metrics(ctx)
		if err != nil {
			return // a busy server misses a sample
		}
		if v, ok := m["wsgateway_outbound_queue_bytes"]; ok {
			seen = true
			queued += v
			limit += m["wsgateway_outbound_queue_limit_bytes"]
			slow += m["wsgateway_slow_consumers_total"]
		}
	}
	if !seen {
		return
	}
	if p.queues == nil {
		p.queues = &report.SlowQueues{}
	}
	p.queues.Peak = max(p.queues.Peak, int64(queued))
	p.queues.Limit, p.queues.Consumers = int64(limit), int64(slow)
}

// peak samples the servers until the returned function is called.
func (n *run) peak(ctx context.Context) (end func() *peaks) {
	p := &peaks{}
	quit := make(chan struct{})
	var sampling sync.WaitGroup
	sampling.Go(func() {
		tick := time.NewTicker(peakPeriod)
		defer tick.Stop()
		for {
			p.look(ctx, n)
			select {
			case <-quit:
				p.look(ctx, n)
				return
			case <-tick.C:
			}
		}
	})
	return sync.OnceValue(func() *peaks {
		close(quit)
		sampling.Wait()
		return p
	})
}
