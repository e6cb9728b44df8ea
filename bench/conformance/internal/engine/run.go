package engine

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// SplitResult is the outcome of a case in one split.
type SplitResult struct {
	Split    string
	Verdict  Verdict
	Expected string // empty when it passed
	Observed string
	Received []byte // the first bytes
	Took     time.Duration

	late bool
}

// Result is the outcome of a case: the worst of its splits.
type Result struct {
	Case    *Case
	Verdict Verdict
	Reason  string // of SKIP
	Splits  []SplitResult
}

// Worst is the split that decided the verdict, or nil.
func (r *Result) Worst() *SplitResult {
	for i := range r.Splits {
		if r.Splits[i].Verdict == r.Verdict {
			return &r.Splits[i]
		}
	}
	return nil
}

// Reachable tells whether the server accepts connections.
func Reachable(ctx context.Context, cfg *Config) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", cfg.Target.Addr)
	if err != nil {
		return err
	}
	return c.Close()
}

// Once runs a case in one split. It is for checks before a run.
func Once(ctx context.Context, cfg *Config, c *Case) SplitResult {
	d := &dialer{relays: make(map[string]*relay), delay: cfg.Delay}
	defer d.close()
	return runSplit(ctx, cfg, d, c, Splits[0])
}

// maxRepeats is how many splits in which the server was late are run once more,
// one by one.
const maxRepeats = 50

// Run runs the cases and returns their results in the order of the cases. When
// ctx ends before, the results are those of the cases that were completed.
func Run(ctx context.Context, cfg *Config, cases []*Case) []*Result {
	d := &dialer{relays: make(map[string]*relay), delay: cfg.Delay}
	defer d.close()
	type job struct{ c, split int }
	results := make([]*Result, len(cases))
	jobs := make(chan job)
	var wg sync.WaitGroup
	for range max(1, cfg.Parallel) {
		wg.Go(func() {
			for j := range jobs {
				// Each job writes an element of its own.
				results[j.c].Splits[j.split] = runSplit(ctx, cfg, d, cases[j.c], Splits[j.split])
			}
		})
	}
	var order []job
	for i, c := range cases {
		results[i] = &Result{Case: c}
		if c.Skip != nil {
			results[i].Reason = c.Skip(cfg)
		}
		if results[i].Reason != "" {
			results[i].Verdict = Skip
			continue
		}
		results[i].Splits = make([]SplitResult, len(Splits))
		for k := range Splits {
			order = append(order, job{i, k})
		}
	}
	for _, slow := range []bool{true, false} {
		for _, j := range order {
			if cases[j.c].Slow == slow && ctx.Err() == nil {
				jobs <- j
			}
		}
	}
	close(jobs)
	wg.Wait()
	var late []job
	for _, j := range order {
		if results[j.c].Splits[j.split].late {
			late = append(late, j)
		}
	}
	if len(late) <= maxRepeats { // more are no accident
		for _, j := range late {
			if ctx.Err() == nil {
				results[j.c].Splits[j.split] = runSplit(ctx, cfg, d, cases[j.c], Splits[j.split])
			}
		}
	}
	return collect(ctx, results)
}

// collect computes the verdicts, and leaves out what an interrupt has cut.
func collect(ctx context.Context, results []*Result) (out []*Result) {
	for _, r := range results {
		whole := true
		for i := range r.Splits {
			whole = whole && r.Splits[i].Split != ""
			if r.Splits[i].Verdict > r.Verdict {
				r.Verdict, r.Reason = r.Splits[i].Verdict, r.Splits[i].Expected
			}
		}
		if whole || ctx.Err() == nil {
			out = append(out, r)
		}
	}
	return out
}

// runSplit runs a case in one split. What an interrupt has cut has no Split.
func runSplit(ctx context.Context, cfg *Config, d *dialer, c *Case, split string) (out SplitResult) {
	begin := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &Session{Cfg: cfg, Rand: rng(cfg.Seed, c.ID, split), ctx: ctx, dialer: d, split: split}
	defer s.close()
	defer func() {
		if p := recover(); p != nil {
			out = SplitResult{Split: split, Verdict: Fail, Expected: "a runner without mistakes", Observed: fmt.Sprint("panic in the runner: ", p)}
		}
	}()
	for _, step := range c.Steps {
		if step(s); s.stopped {
			break
		}
	}
	if ctx.Err() != nil {
		return SplitResult{}
	}
	return SplitResult{
		Split: split, Verdict: s.verdict, Expected: s.expected,
		Observed: s.observed(), Received: s.kept, Took: time.Since(begin),
		late: s.late && s.verdict == NonStrict,
	}
}
