package runner

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"wsgateway/bench/internal/client"
	"wsgateway/bench/internal/fleet"
	"wsgateway/bench/internal/hist"
	"wsgateway/bench/internal/proc"
	"wsgateway/bench/internal/report"
	"wsgateway/bench/internal/server"
)

// Runner runs scenarios. It builds each server once.
type Runner struct {
	progress *Progress
	limit    int // descriptors per process
	dir      string
	mu       sync.Mutex
	built    map[server.Kind]string
}

// New makes a runner, which owns a temporary folder until Close. The soft
// limit of descriptors is raised to the hard one.
func New(p *Progress) (*Runner, error) {
	limit, err := proc.RaiseNoFile()
	if err != nil {
		return nil, fmt.Errorf("limit of descriptors: %w", err)
	}
	dir, err := os.MkdirTemp("", "wsgateway-bench-")
	if err != nil {
		return nil, err
	}
	return &Runner{progress: p, limit: limit, dir: dir, built: make(map[server.Kind]string)}, nil
}

// Descriptors is the hard limit per process.
func (r *Runner) Descriptors() int { return r.limit }

// Dir is the runner's temporary folder.
func (r *Runner) Dir() string { return r.dir }

// Close removes the temporary folder.
func (r *Runner) Close() error { return os.RemoveAll(r.dir) }

// binary builds a server unless that is done.
func (r *Runner) binary(ctx context.Context, o *Options) (string, error) {
	if o.ServerBin != "" {
		return o.ServerBin, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if bin, ok := r.built[o.Server]; ok {
		return bin, nil
	}
	r.progress.Say("building %s", o.Server.Package())
	bin, err := server.Build(ctx, o.Server, r.dir)
	if err == nil {
		r.built[o.Server] = bin
	}
	return bin, err
}

// Run runs one scenario. The result is there even with an error: what was
// measured until then.
func (r *Runner) Run(ctx context.Context, o Options) (*report.Result, error) {
	if err := o.Complete(); err != nil {
		return nil, err
	}
	res := &report.Result{Scenario: o.Scenario, Server: string(o.Server), Asked: o.Conns, Errors: map[string]int64{}}
	if o.URL != "" {
		res.Server = o.URL
	}
	p, err := makePlan(&o, r.limit)
	if err != nil {
		return res, err
	}
	n := &run{o: &o, plan: p, res: res, progress: r.progress,
		handshake: hist.New(), roundTrip: hist.New(), bystander: hist.New()}
	defer n.stop()
	if o.URL == "" {
		bin, err := r.binary(ctx, &o)
		if err != nil {
			return res, err
		}
		if err := n.startServers(ctx, bin); err != nil {
			return res, err
		}
	} else {
		n.addrs, n.pids = []string{o.addr}, o.Pids
	}
	// A server that dies ends the run: what follows would be its echo only.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n.guard(ctx, cancel)
	err = n.scenario(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		res.Fault("server-ended", cause.Error())
		err = cause
	}
	n.conclude()
	return res, err
}

// run is one scenario under way.
type run struct {
	o        *Options
	plan     plan
	res      *report.Result
	progress *Progress

	servers []*server.Process
	release []func() // of reserved ports
	addrs   []string
	pids    []int // of the servers
	fleet   *fleet.Fleet
	stalled *fleet.Fleet // nil except in the scenario stall
	kernel  int64        // memory before the first connection

	handshake, roundTrip, bystander *hist.Hist
	open                            int64 // after the last step
}

// startServers starts the planned processes: on one shared port, or for
// broadcasts, which stay within a process, each on its own.
func (n *run) startServers(ctx context.Context, bin string) error {
	ports := 1
	if n.o.broadcasts() {
		ports = n.plan.servers
	}
	for range ports {
		addr, release, err := server.Reserve()
		if err != nil {
			return err
		}
		n.addrs, n.release = append(n.addrs, addr), append(n.release, release)
	}
	for i := range n.plan.servers {
		s, err := server.Start(ctx, n.o.Server, bin, n.addrs[i%ports], n.o.ServerArgs)
		if err != nil {
			return err
		}
		n.servers = append(n.servers, s)
		n.pids = append(n.pids, s.Pid())
	}
	n.res.Servers = len(n.servers)
	return nil
}

// guard cancels the run when a server ends.
func (n *run) guard(ctx context.Context, cancel context.CancelCauseFunc) {
	for _, s := range n.servers {
		go func() { // ends with the run, whose context it watches
			select {
			case <-s.Exited():
				cancel(s.Err())
			case <-ctx.Done():
			}
		}()
	}
}

// startClients starts the client processes, and takes the memory of the empty
// server when all is quiet.
func (n *run) startClients(ctx context.Context) (err error) {
	n.fleet, err = fleet.Start(ctx, n.plan.configs(n.o, n.addrs, rand.Uint64()))
	if err != nil {
		return err
	}
	n.res.Clients = n.fleet.Size()
	n.progress.Say("%s: %s connections from %s to %s", n.o.Scenario, report.Count(int64(n.o.Conns)),
		processes(n.fleet.Size(), "client"), n.where())
	if n.o.Scenario == "stall" {
		if n.stalled, err = fleet.Start(ctx, n.plan.stalledConfigs(n.o, n.addrs, rand.Uint64())); err != nil {
			return err
		}
		n.res.Clients += n.stalled.Size()
		n.progress.Say("%s: %s connections that stall, from %s", n.o.Scenario, report.Count(int64(3*n.o.Stalled)),
			processes(n.stalled.Size(), "client"))
	}
	if err := wait(ctx, n.o.Settle/2); err != nil {
		return err
	}
	if n.kernel, err = proc.KernelMemory(); err != nil {
		return err
	}
	n.res.RSSEmpty, err = n.rss()
	return err
}

func (n *run) where() string {
	if n.o.URL != "" {
		return n.o.URL
	}
	return processes(len(n.servers), string(n.o.Server))
}

func processes(n int, what string) string {
	if n == 1 {
		return "1 " + what + " process"
	}
	return fmt.Sprintf("%d %s processes", n, what)
}

// stop ends what was started.
func (n *run) stop() {
	if n.fleet != nil {
		n.fleet.Stop()
	}
	if n.stalled != nil {
		n.stalled.Stop()
	}
	var all sync.WaitGroup
	for _, s := range n.servers {
		all.Go(s.Stop)
	}
	all.Wait()
	for _, s := range n.servers {
		if t := s.Tail(); t != "" {
			n.progress.detail("server %d printed:\n%s", s.Pid(), t)
		}
	}
	for _, release := range n.release {
		release()
	}
}

// do runs a command on all clients and adds up what it counted.
func (n *run) do(ctx context.Context, what string, total int64, part func(int) client.Command) (*client.Stats, error) {
	begin := time.Now()
	end := n.progress.watch(what, total, n.fleet.Progress)
	st, err := n.fleet.Do(ctx, part)
	end()
	n.absorb(st)
	n.progress.detail("%s: %.2f s, %s connected, %s echoes, %s open, %s errors", what, time.Since(begin).Seconds(),
		report.Count(st.Connected), report.Count(st.Messages), report.Count(st.Open), report.Count(st.ErrorCount()))
	return st, err
}

func (n *run) absorb(st *client.Stats) {
	n.open = st.Open
	n.handshake.Merge(st.Handshake)
	n.res.Pings += st.Pings
	addUp(&n.res.Closes, st.Closes)
	n.absorbErrors(st)
}

func (n *run) absorbErrors(st *client.Stats) {
	addUp(&n.res.Errors, st.Errors)
	if room := 16 - len(n.res.Samples); room > 0 {
		n.res.Samples = append(n.res.Samples, st.Samples[:min(room, len(st.Samples))]...)
	}
}

func addUp(m *map[string]int64, o map[string]int64) {
	for k, v := range o {
		if *m == nil {
			*m = make(map[string]int64)
		}
		(*m)[k] += v
	}
}

// conclude fills in what is summed over all steps.
func (n *run) conclude() {
	n.res.Handshake = n.handshake.Summary()
	n.res.RoundTrip = n.roundTrip.Summary()
	n.res.Bystander = n.bystander.Summary()
}

// wait sleeps, or returns the reason why not.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// rest is a wait with progress shown.
func (n *run) rest(ctx context.Context, what string, d time.Duration) error {
	end := n.progress.watch(what, 0, n.fleet.Progress)
	defer end()
	return wait(ctx, d)
}
