package client

import (
	"context"
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// Engine drives all connections of one process. Do may be called from one
// goroutine at a time, Progress from any.
type Engine struct {
	loops []*loop
	ended chan struct{}
}

// New makes the connections' records and starts the loops; nothing is dialled.
func New(cfg Config) (*Engine, error) {
	full, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{ended: make(chan struct{})}
	clk := newClock()
	for i := range full.Loops {
		l, err := newLoop(&full, clk, i)
		if err != nil {
			for _, l := range e.loops {
				l.close()
			}
			return nil, err
		}
		e.loops = append(e.loops, l)
	}
	left := make(chan struct{}, len(e.loops))
	for _, l := range e.loops {
		go func() { // ends when Close closes quit
			l.run()
			left <- struct{}{}
		}()
	}
	go func() { // ends after the loops; Close waits for it
		for range e.loops {
			<-left
		}
		close(e.ended)
	}()
	return e, nil
}

// Do runs one command on all loops and returns what they counted. When ctx
// ends, the phase is given up and its counters so far come with ctx's error.
func (e *Engine) Do(ctx context.Context, cmd Command) (*Stats, error) {
	done := make(chan *Stats, 2*len(e.loops))
	for i, l := range e.loops {
		l.send(&request{cmd: e.part(cmd, i), done: done})
	}
	sum := NewStats()
	for n := 0; n < len(e.loops); {
		select {
		case st := <-done:
			sum.Merge(st)
			n++
		case <-ctx.Done():
			for _, l := range e.loops {
				l.send(&request{abort: true, done: done})
			}
			// A loop that had answered answers the abort only; one that had
			// not answers both.
			for range 2*len(e.loops) - n {
				sum.Merge(<-done)
			}
			return e.opened(sum), ctx.Err()
		}
	}
	return e.opened(sum), nil
}

// opened sets Open, which a loop may have told twice.
func (e *Engine) opened(st *Stats) *Stats {
	st.Open = e.Progress().Open
	return st
}

// part is loop i's share of a command.
func (e *Engine) part(cmd Command, i int) Command {
	n := len(e.loops)
	if cmd.Active > 0 {
		cmd.Active = int(Share(int64(cmd.Active), i, n))
		if cmd.Active == 0 {
			cmd.Active = 1
		}
	}
	cmd.Cycles = Share(cmd.Cycles, i, n)
	if cmd.Op == OpLoad || cmd.Op == OpStall || cmd.Op == OpHold {
		cmd.Rate *= e.loops[i].share
		cmd.Bystand *= e.loops[i].share
	}
	return cmd
}

// Share is part i of total split over n.
func Share(total int64, i, n int) int64 {
	return total*int64(i+1)/int64(n) - total*int64(i)/int64(n)
}

func (l *loop) send(r *request) {
	l.inbox <- r
	l.wake()
}

func (l *loop) wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(l.wakefd, one[:])
}

// Progress reads the counters of the running phase.
func (e *Engine) Progress() (p Progress) {
	for _, l := range e.loops {
		p.Open += l.prog.open.Load()
		p.Done += l.prog.done.Load()
		p.Errors += l.prog.errors.Load()
	}
	return p
}

// ErrClosed is returned by Close when the engine was closed before.
var ErrClosed = errors.New("client: engine closed")

// Close drops all connections and waits for the loops. No Do may be running.
func (e *Engine) Close() error {
	for _, l := range e.loops {
		select {
		case <-l.quit:
			return ErrClosed
		default:
		}
		close(l.quit)
		l.wake()
	}
	<-e.ended
	return nil
}
