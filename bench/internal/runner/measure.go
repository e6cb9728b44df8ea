package runner

import (
	"context"
	"time"

	"wsgateway/bench/internal/client"
	"wsgateway/bench/internal/fleet"
	"wsgateway/bench/internal/proc"
)

// rss sums the resident memory of the servers; 0 when none is known.
func (n *run) rss() (sum int64, err error) {
	for _, pid := range n.pids {
		v, err := proc.RSS(pid)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

// spent is the processor time of both sides so far.
type spent struct{ server, client time.Duration }

func (n *run) spent() (s spent, err error) {
	if s.server, err = cpu(n.pids); err != nil {
		return s, err
	}
	s.client, err = cpu(n.fleet.Pids())
	return s, err
}

func cpu(pids []int) (sum time.Duration, err error) {
	for _, pid := range pids {
		v, err := proc.CPU(pid)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

// per is the processor time for each of count things, in microseconds.
func per(before, after time.Duration, count int64) float64 {
	if count <= 0 {
		return 0
	}
	return float64(after-before) / 1e3 / float64(count)
}

// connect opens all connections and measures what that costs.
func (n *run) connect(ctx context.Context) error {
	before, err := n.spent()
	if err != nil {
		return err
	}
	begin := time.Now()
	st, err := n.do(ctx, "connecting", int64(n.o.Conns), fleet.Same(client.Command{Op: client.OpConnect}))
	seconds := time.Since(begin).Seconds()
	n.res.Held, n.res.ConnectSeconds = st.Open, seconds
	n.res.ConnectRate = float64(st.Connected) / seconds
	if err != nil {
		return err
	}
	after, err := n.spent()
	n.res.ServerConnect = per(before.server, after.server, st.Connected)
	return err
}

// round has each connection echo once and returns how many did.
func (n *run) round(ctx context.Context, what string) (int64, error) {
	before, err := n.spent()
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	st, err := n.do(ctx, what, n.open, fleet.Same(client.Command{Op: client.OpRound, Size: n.o.Size}))
	n.roundTrip.Merge(st.RoundTrip)
	n.res.Size = n.o.Size
	n.res.Messages += st.Messages
	n.res.Seconds += time.Since(begin).Seconds()
	n.res.PerSecond = float64(n.res.Messages) / n.res.Seconds
	if err != nil {
		return st.Messages, err
	}
	after, err := n.spent()
	n.res.ServerCPU = per(before.server, after.server, st.Messages)
	n.res.ClientCPU = per(before.client, after.client, st.Messages)
	return st.Messages, err
}

// memory reads what the connections cost, after a settle in which nothing is
// asked of the server.
func (n *run) memory(ctx context.Context) error {
	if err := wait(ctx, n.o.Settle); err != nil {
		return err
	}
	kernel, err := proc.KernelMemory()
	if err != nil {
		return err
	}
	if n.open > 0 {
		n.res.KernelPerConn = float64(kernel-n.kernel) / float64(n.open)
	}
	if len(n.pids) == 0 || n.open == 0 {
		return nil
	}
	if n.res.RSSLoaded, err = n.rss(); err != nil {
		return err
	}
	n.res.OwnPerConn = float64(n.res.RSSLoaded-n.res.RSSEmpty) / float64(n.open)
	n.res.Goroutines = nil
	for _, s := range n.servers {
		if s.Admin == "" {
			continue
		}
		// After the memory: answering costs the server some.
		if g, err := s.Goroutines(ctx); err == nil {
			n.res.Goroutines = append(n.res.Goroutines, g)
		}
	}
	return nil
}

// still checks that all connections are open, unless errors tell otherwise.
func (n *run) still() {
	if n.open < int64(n.o.Conns) && n.res.ErrorCount() == 0 {
		n.res.Fault("lost", "fewer connections are open than were asked for, though none reported an end")
	}
}

// close ends all connections by a closing handshake.
func (n *run) close(ctx context.Context) error {
	_, err := n.do(ctx, "closing", n.open, fleet.Same(client.Command{Op: client.OpClose}))
	return err
}
