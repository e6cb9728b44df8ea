package runner

import (
	"context"
	"fmt"
	"time"

	"wsgateway/bench/internal/client"
	"wsgateway/bench/internal/fleet"
	"wsgateway/bench/internal/hist"
	"wsgateway/bench/internal/report"
)

// stallRate is how many connections a second come to stall in the handshake,
// and come again after the server has ended them. All are there in two seconds,
// before a server gives the first of them up. That it does so at the same rate
// keeps their number, and the measurement shows what stalled clients do rather
// than what a burst of new ones does.
func stallRate(stalled int) float64 { return clamp(float64(stalled)/2, 1000, 10_000) }

// stall measures good clients without and with stalled ones, by turns.
func (n *run) stall(ctx context.Context) error {
	if err := n.connect(ctx); err != nil {
		return err
	}
	if _, err := n.round(ctx, "each echoes once"); err != nil {
		return err
	}
	n.res.Held = n.open
	n.still()
	// What follows is measured, the first round was not.
	n.roundTrip.Reset()
	n.res.Messages, n.res.Seconds, n.res.PerSecond, n.res.ServerCPU, n.res.ClientCPU = 0, 0, 0, 0, 0
	n.res.Stall = &report.Stall{Asked: int64(3 * n.o.Stalled)}
	defer n.compare()
	for range n.o.Rounds {
		if err := n.stallRound(ctx); err != nil {
			return err
		}
	}
	n.still()
	return n.close(ctx)
}

// stallRound is one baseline and one measurement beside stalled clients.
func (n *run) stallRound(ctx context.Context) error {
	if _, err := n.do(ctx, "load", 0, n.load); err != nil {
		return err
	}
	without, _, _, err := n.window(ctx, "echoing alone")
	if err != nil {
		return err
	}
	r := report.StallRound{}
	with, err := n.besieged(ctx, &r)
	if err != nil {
		return err
	}
	n.roundTrip.Merge(with.RoundTrip)
	n.res.Messages += without.Messages + with.Messages
	n.res.Seconds += float64(without.Nanos+with.Nanos) / 1e9
	n.res.PerSecond = float64(n.res.Messages) / n.res.Seconds
	r.Without, r.With = without.RoundTrip.Summary(), with.RoundTrip.Summary()
	if r.Without == nil || r.With == nil {
		n.res.Fault("unanswered", "no echo in the measured time")
		return nil
	}
	r.P50Ratio, r.P99Ratio = r.With.P50/r.Without.P50, r.With.P99/r.Without.P99
	n.res.Stall.Rounds = append(n.res.Stall.Rounds, r)
	return nil
}

// besieged measures the good clients while the others are stalled, from the
// moment the last of these is in its place. The load runs already while they
// come, which is its warm-up.
func (n *run) besieged(ctx context.Context, r *report.StallRound) (*client.Stats, error) {
	if _, err := n.do(ctx, "load", 0, n.load); err != nil {
		return nil, err
	}
	rate := stallRate(n.o.Stalled) / float64(n.stalled.Size())
	st, err := n.doStalled(ctx, "stalling", n.res.Stall.Asked, client.Command{Op: client.OpStall, Rate: rate})
	if err != nil {
		return nil, err
	}
	r.AtStart = st.Stalled
	if _, err := n.doStalled(ctx, "holding", 0, client.Command{Op: client.OpHold, Rate: rate}); err != nil {
		return nil, err
	}
	if _, err := n.do(ctx, "echoing beside stalled clients", 0, fleet.Same(client.Command{Op: client.OpMark})); err != nil {
		return nil, err
	}
	interrupted := n.rest(ctx, "echoing beside stalled clients", n.o.Duration)
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.o.ReplyTimeout+5*time.Second)
	defer cancel()
	end, err := n.doStalled(late, "holding", 0, client.Command{Op: client.OpStop})
	if err != nil {
		return nil, err
	}
	r.AtEnd = end.Stalled
	with, err := n.do(late, "finishing", 0, fleet.Same(client.Command{Op: client.OpStop}))
	if err != nil {
		return nil, err
	}
	if interrupted != nil {
		return nil, interrupted
	}
	if n.res.RSSLoaded, err = n.rss(); err != nil {
		return nil, err
	}
	if all := n.open + sum(r.AtEnd); all > 0 && n.res.RSSLoaded > 0 {
		n.res.OwnPerConn = float64(n.res.RSSLoaded-n.res.RSSEmpty) / float64(all)
	}
	if _, err := n.doStalled(ctx, "cutting", 0, client.Command{Op: client.OpCut}); err != nil {
		return nil, err
	}
	return with, wait(ctx, n.o.Settle)
}

// doStalled is do for the stalled clients. That the server ends one of them is
// no error.
func (n *run) doStalled(ctx context.Context, what string, total int64, cmd client.Command) (*client.Stats, error) {
	begin := time.Now()
	end := n.progress.watch(what, total, n.stalled.Progress)
	st, err := n.stalled.Do(ctx, fleet.Same(cmd))
	end()
	n.absorbErrors(st)
	s := n.res.Stall
	s.Renewed += st.Renewed
	addUp(&s.Closed, st.StallClosed)
	n.progress.detail("%s: %.2f s, %v stalled, %v closed by the server, %s errors", what, time.Since(begin).Seconds(),
		st.Stalled, st.StallClosed, report.Count(st.ErrorCount()))
	return st, err
}

// compare takes the medians of the rounds, and judges if it was asked to.
func (n *run) compare() {
	s := n.res.Stall
	if len(s.Rounds) == 0 {
		return
	}
	var p50Without, p50With, p50, p99Without, p99With, p99 []float64
	for i, r := range s.Rounds {
		p50Without, p50With, p50 = append(p50Without, r.Without.P50), append(p50With, r.With.P50), append(p50, r.P50Ratio)
		p99Without, p99With, p99 = append(p99Without, r.Without.P99), append(p99With, r.With.P99), append(p99, r.P99Ratio)
		start, end := sum(r.AtStart), sum(r.AtEnd)
		if i == 0 {
			s.AtStart, s.AtEnd = start, end
		}
		s.AtStart, s.AtEnd = min(s.AtStart, start), min(s.AtEnd, end)
	}
	s.P50Without, s.P50With, s.P50Ratio = hist.Median(p50Without), hist.Median(p50With), hist.Median(p50)
	s.P99Without, s.P99With, s.P99Ratio = hist.Median(p99Without), hist.Median(p99With), hist.Median(p99)
	if limit := n.o.MaxRatio; limit > 0 && s.P99Ratio > limit {
		n.res.Fault("ratio", fmt.Sprintf("p99 beside stalled clients is %.2f times that without, more than %.2f", s.P99Ratio, limit))
	}
}

func sum(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}
