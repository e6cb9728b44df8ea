package runner

import (
	"context"
	"time"

	"wsgateway/bench/internal/client"
	"wsgateway/bench/internal/fleet"
	"wsgateway/bench/internal/report"
)

// scenario starts the clients and runs the steps of the scenario.
func (n *run) scenario(ctx context.Context) error {
	if err := n.startClients(ctx); err != nil {
		return err
	}
	switch n.o.Scenario {
	case "echo", "active":
		return n.loaded(ctx)
	case "broadcast", "slow":
		return n.broadcast(ctx)
	case "churn":
		return n.churn(ctx)
	case "storm":
		return n.storm(ctx)
	}
	return n.idle(ctx)
}

// fill connects all, has each echo once and reads the memory.
func (n *run) fill(ctx context.Context) error {
	if err := n.connect(ctx); err != nil {
		return err
	}
	if _, err := n.round(ctx, "each echoes once"); err != nil {
		return err
	}
	n.res.Held = n.open
	n.still()
	return n.memory(ctx)
}

// idle holds all connections and has each echo at both ends of that time.
func (n *run) idle(ctx context.Context) error {
	if err := n.fill(ctx); err != nil {
		return err
	}
	if err := n.rest(ctx, "holding", n.o.Duration); err != nil {
		return err
	}
	if _, err := n.round(ctx, "each echoes again"); err != nil {
		return err
	}
	n.still()
	return n.close(ctx)
}

// loaded measures echoes in a closed loop or at a fixed rate.
func (n *run) loaded(ctx context.Context) error {
	if err := n.fill(ctx); err != nil {
		return err
	}
	// What fill has counted belongs to the memory, not to the load.
	n.roundTrip.Reset()
	n.res.Messages, n.res.Seconds, n.res.PerSecond = 0, 0, 0
	clients := n.fleet.Size()
	start := func(i int) client.Command {
		cmd := client.Command{
			Op: client.OpLoad, Size: n.o.Size, InFlight: n.o.InFlight,
			Rate: n.o.Rate / float64(clients), Bystand: n.o.Bystand / float64(clients),
		}
		if n.o.Active > 0 {
			cmd.Active = int(client.Share(int64(n.o.Active), i, clients))
			if cmd.Active == 0 { // 0 would be all
				cmd.Active = 1
			}
		}
		return cmd
	}
	if _, err := n.do(ctx, "load", 0, start); err != nil {
		return err
	}
	st, before, after, err := n.window(ctx, "echoing")
	n.roundTrip.Merge(st.RoundTrip)
	n.bystander.Merge(st.Bystander)
	n.res.Messages, n.res.Seconds = st.Messages, float64(st.Nanos)/1e9
	n.res.ServerCPU = per(before.server, after.server, st.Messages)
	n.res.ClientCPU = per(before.client, after.client, st.Messages)
	if n.res.Seconds > 0 {
		n.res.PerSecond = float64(st.Messages) / n.res.Seconds
	}
	if err != nil {
		return err
	}
	n.still()
	return n.close(ctx)
}

// window measures a running load: after the warm-up the counters begin anew,
// and after the duration the load is stopped. A window that is interrupted
// still tells what it saw.
func (n *run) window(ctx context.Context, what string) (st *client.Stats, before, after spent, err error) {
	st = client.NewStats()
	if err = n.rest(ctx, "warming up", n.o.Warmup); err != nil {
		return
	}
	if _, err = n.do(ctx, what, 0, fleet.Same(client.Command{Op: client.OpMark})); err != nil {
		return
	}
	if before, err = n.spent(); err != nil {
		return
	}
	interrupted := n.rest(ctx, what, n.o.Duration)
	if after, err = n.spent(); err != nil {
		return
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.o.ReplyTimeout+5*time.Second)
	defer cancel()
	st, err = n.do(late, "finishing", 0, fleet.Same(client.Command{Op: client.OpStop}))
	if interrupted != nil {
		err = interrupted
	}
	return
}

// churn repeats short lives of connections.
func (n *run) churn(ctx context.Context) error {
	before, err := n.spent()
	if err != nil {
		return err
	}
	clients := n.fleet.Size()
	begin := time.Now()
	st, err := n.do(ctx, "churning", n.o.Cycles, func(i int) client.Command {
		return client.Command{Op: client.OpChurn, Size: max(16, n.o.Size), Cycles: client.Share(n.o.Cycles, i, clients)}
	})
	n.res.Seconds = time.Since(begin).Seconds()
	n.roundTrip.Merge(st.RoundTrip)
	n.res.Held = int64(n.o.Conns)
	n.res.Size, n.res.Messages = max(16, n.o.Size), st.Messages
	n.res.Churn = &report.Churn{
		Cycles: st.Cycles, PerSecond: float64(st.Cycles) / n.res.Seconds,
		Clean: st.Clean, Fin: st.Fin, Rst: st.Rst, Cross: st.Errors[client.KindCross],
	}
	if err != nil {
		return err
	}
	after, err := n.spent()
	if err != nil {
		return err
	}
	n.res.ServerConnect = per(before.server, after.server, st.Cycles)
	return n.emptied(ctx)
}

// emptied reads the memory and the goroutines of the servers after all
// connections have ended.
func (n *run) emptied(ctx context.Context) (err error) {
	if err := wait(ctx, n.o.Settle); err != nil {
		return err
	}
	n.res.RSSLoaded, err = n.rss()
	for _, s := range n.servers {
		if s.Admin == "" {
			continue
		}
		if g, err := s.Goroutines(ctx); err == nil {
			n.res.Goroutines = append(n.res.Goroutines, g)
		}
	}
	return err
}

// storm cuts all connections at once and has all of them come back at once.
func (n *run) storm(ctx context.Context) error {
	if err := n.fill(ctx); err != nil {
		return err
	}
	if _, err := n.do(ctx, "cutting", 0, fleet.Same(client.Command{Op: client.OpCut})); err != nil {
		return err
	}
	begin := time.Now()
	st, err := n.do(ctx, "coming back", int64(n.o.Conns), fleet.Same(client.Command{Op: client.OpConnect, Retry: true}))
	n.res.Storm = &report.Storm{
		BackSeconds: time.Since(begin).Seconds(), Back: st.Open, Retries: st.Retries, Refused: st.Refused,
	}
	if err != nil {
		return err
	}
	if _, err := n.round(ctx, "each echoes once"); err != nil {
		return err
	}
	n.still()
	return n.close(ctx)
}

// broadcast has one publisher per group send to all readers of the group; in
// the scenario slow, some readers stop reading meanwhile.
func (n *run) broadcast(ctx context.Context) error {
	if err := n.connect(ctx); err != nil {
		return err
	}
	n.res.Held -= int64(len(n.addrs)) // the publishers
	n.still()
	if err := n.memory(ctx); err != nil {
		return err
	}
	if _, err := n.do(ctx, "publishing", 0, fleet.Same(client.Command{Op: client.OpPublish, Size: n.o.Size, Rate: n.o.Rate})); err != nil {
		return err
	}
	before, err := n.spent()
	if err != nil {
		return err
	}
	begin := time.Now()
	interrupted := n.rest(ctx, "publishing", n.o.Duration)
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	sum, err := n.do(late, "finishing", 0, fleet.Same(client.Command{Op: client.OpStop}))
	if err != nil {
		return err
	}
	expect := sum.Published
	st, err := n.do(late, "waiting for the last messages", 0, fleet.Same(client.Command{Op: client.OpDrain, Size: n.o.Size, Expect: expect}))
	sum.Merge(st)
	n.res.Seconds = time.Since(begin).Seconds()
	if err != nil {
		return err
	}
	after, err := n.spent()
	if err != nil {
		return err
	}
	n.delivered(sum, before, after)
	if interrupted != nil {
		return interrupted
	}
	if n.o.Scenario == "slow" {
		if err := n.resume(ctx, sum, expect); err != nil {
			return err
		}
	}
	return n.close(ctx)
}

// delivered reports what the readers got of what was published.
func (n *run) delivered(sum *client.Stats, before, after spent) {
	var published int64
	for _, v := range sum.Published {
		published += v
	}
	n.res.Fanout = sum.RoundTrip.Summary()
	n.res.Size, n.res.Messages = n.o.Size, sum.Received
	n.res.PerSecond = float64(sum.Received) / n.res.Seconds
	n.res.ServerCPU = per(before.server, after.server, sum.Received)
	n.res.ClientCPU = per(before.client, after.client, sum.Received)
	n.res.Broadcast = &report.Broadcast{
		Published: published, Deliveries: sum.Received,
		Missing:    sum.Errors[client.KindMissing],
		Duplicate:  sum.Errors[client.KindDuplicate],
		OutOfOrder: sum.Errors[client.KindOrder],
	}
}

// resume lets the slow readers read again and reports what became of them.
func (n *run) resume(ctx context.Context, sum *client.Stats, expect map[int]int64) error {
	st, err := n.do(ctx, "slow readers read again", 0, fleet.Same(client.Command{Op: client.OpResume, Size: n.o.Size, Expect: expect}))
	sum.Merge(st)
	slow := &report.Slow{Codes: sum.SlowClosed, Survived: sum.SlowSurvived, Skipped: sum.SlowSkipped}
	for _, v := range sum.SlowClosed {
		slow.Closed += v
	}
	slow.Stopped = slow.Closed + slow.Survived
	n.res.Slow = slow
	return err
}
