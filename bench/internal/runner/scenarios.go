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
	case "stall":
		return n.stall(ctx)
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
	if _, err := n.do(ctx, "load", 0, n.load); err != nil {
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

// load is client process i's share of the load.
func (n *run) load(i int) client.Command {
	clients := n.fleet.Size()
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

// churnWarmup cycles come before the levels of the server are read: what it
// keeps after the first connections is no leak.
const churnWarmup = 1000

// churn repeats short lives of connections.
func (n *run) churn(ctx context.Context) error {
	cycles := func(total int64) func(int) client.Command {
		return func(i int) client.Command {
			return client.Command{Op: client.OpChurn, Size: max(16, n.o.Size), Cycles: client.Share(total, i, n.fleet.Size())}
		}
	}
	if _, err := n.do(ctx, "warming up", churnWarmup, cycles(churnWarmup)); err != nil {
		return err
	}
	n.handshake.Reset()
	n.res.Closes = nil
	levels, err := n.settled(ctx, nil)
	if err != nil {
		return err
	}
	before, err := n.spent()
	if err != nil {
		return err
	}
	begin := time.Now()
	st, err := n.do(ctx, "churning", n.o.Cycles, cycles(n.o.Cycles))
	n.res.Seconds = time.Since(begin).Seconds()
	n.roundTrip.Merge(st.RoundTrip)
	n.res.Held = int64(n.o.Conns)
	n.res.Size, n.res.Messages = max(16, n.o.Size), st.Messages
	n.res.Churn = &report.Churn{
		Cycles: st.Cycles, PerSecond: float64(st.Cycles) / n.res.Seconds,
		Clean: st.Clean, Fin: st.Fin, Rst: st.Rst, Cross: n.res.Errors[client.KindCross],
		Before: total(levels),
	}
	if err != nil {
		return err
	}
	after, err := n.spent()
	if err != nil {
		return err
	}
	n.res.ServerConnect = per(before.server, after.server, st.Cycles)
	return n.emptied(ctx, levels)
}

// emptied compares the servers after all connections have ended with what they
// were before.
func (n *run) emptied(ctx context.Context, before []report.Level) error {
	after, err := n.settled(ctx, before)
	if err != nil {
		return err
	}
	n.res.Churn.After = total(after)
	if text := grown(before, after); text != "" {
		n.res.Fault("leak", text)
	}
	for _, l := range after {
		n.res.RSSLoaded += l.RSS
		if l.Goroutines > 0 {
			n.res.Goroutines = append(n.res.Goroutines, l.Goroutines)
		}
	}
	return nil
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
// the scenario slow, some readers stop reading meanwhile, or all.
func (n *run) broadcast(ctx context.Context) error {
	if err := n.connect(ctx); err != nil {
		return err
	}
	n.res.Held -= int64(len(n.addrs)) // the publishers
	n.still()
	if err := n.memory(ctx); err != nil {
		return err
	}
	var peak func() *peaks
	if n.o.Scenario == "slow" {
		peak = n.peak(ctx)
		defer peak()
	}
	if _, err := n.do(ctx, "publishing", 0, fleet.Same(client.Command{Op: client.OpPublish, Size: n.o.Size, Rate: n.o.Rate})); err != nil {
		return err
	}
	before, err := n.spent()
	if err != nil {
		return err
	}
	begin := time.Now()
	interrupted := n.publishing(ctx)
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
	if n.o.Scenario != "slow" {
		return n.close(ctx)
	}
	if err := n.resume(ctx, sum, expect); err != nil {
		return err
	}
	if err := n.close(ctx); err != nil {
		return err
	}
	if err := wait(ctx, n.o.Settle); err != nil {
		return err
	}
	return n.costs(peak())
}

// publishing waits while the publishers send: for the duration or, when all
// readers have stopped, until the server has ended every one of them, but no
// longer than publishMost durations.
func (n *run) publishing(ctx context.Context) error {
	if n.o.Scenario != "slow" || n.o.Slow < 1 {
		return n.rest(ctx, "publishing", n.o.Duration)
	}
	stop := n.progress.watch("publishing until all are closed", 0, n.fleet.Progress)
	defer stop()
	end := time.Now().Add(publishMost * n.o.Duration)
	// The first looks could still see the progress of connecting.
	step := 500 * time.Millisecond
	for time.Now().Before(end) {
		if err := wait(ctx, min(step, time.Until(end))); err != nil {
			return err
		}
		if n.fleet.Progress().Open <= int64(len(n.addrs)) { // the publishers
			return nil
		}
		step = peakPeriod
	}
	return nil
}

const publishMost = 6

// costs reports what stopped readers cost the servers.
func (n *run) costs(p *peaks) error {
	n.res.Slow.Queues = p.queues
	if len(n.pids) == 0 || n.res.Slow.Stopped == 0 {
		return nil
	}
	rss, err := n.rss()
	if err != nil {
		return err
	}
	m := &report.SlowMemory{Peak: p.rss - n.res.RSSLoaded, After: rss - n.res.RSSLoaded}
	m.PeakPerReader = float64(m.Peak) / float64(n.res.Slow.Stopped)
	m.AfterPerReader = float64(m.After) / float64(n.res.Slow.Stopped)
	n.res.Slow.Memory = m
	return nil
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
