// Package fleet runs client engines in processes of their own, because one
// process may hold too few descriptors, and adds up what they count.
//
// A client process is this binary again, told by its environment. The two
// sides exchange JSON, one value a line: orders on standard input, answers on
// standard output.
package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"time"

	"wsgateway/bench/internal/client"
	"wsgateway/bench/internal/proc"
)

// order is one line to a client process: first a config, then commands.
type order struct {
	Config  *client.Config  `json:"config,omitempty"`
	Command *client.Command `json:"command,omitempty"`
	Abort   bool            `json:"abort,omitempty"` // give the running command up
}

// answer is one line from a client process.
type answer struct {
	Progress *client.Progress `json:"progress,omitempty"`
	Stats    *client.Stats    `json:"stats,omitempty"` // ends a command
	Ready    bool             `json:"ready,omitempty"` // ends a config
	Error    string           `json:"error,omitempty"`
}

const (
	envChild       = "WSBENCH_CLIENT"
	progressPeriod = 200 * time.Millisecond
)

// RunChild turns this process into a client process if it was started as one;
// then it does not return. Each main function calls it first.
func RunChild() {
	if os.Getenv(envChild) == "" {
		return
	}
	signal.Ignore(os.Interrupt) // the parent decides
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "client process:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve follows orders until r ends.
func serve(r io.Reader, w io.Writer) error {
	in := json.NewDecoder(r)
	out := &writer{enc: json.NewEncoder(w)}
	var o order
	if err := in.Decode(&o); err != nil || o.Config == nil {
		return fmt.Errorf("no config: %w", err)
	}
	if _, err := proc.RaiseNoFile(); err != nil {
		return err
	}
	runtime.GOMAXPROCS(max(1, o.Config.Loops) + 1)
	e, err := client.New(*o.Config)
	if err != nil {
		return out.put(answer{Error: err.Error()})
	}
	defer e.Close()
	if err := out.put(answer{Ready: true}); err != nil {
		return err
	}
	quit := make(chan struct{})
	var reports sync.WaitGroup
	reports.Go(func() { report(e, out, quit) })
	defer reports.Wait()
	defer close(quit)
	return follow(e, in, out)
}

// follow runs one command at a time, and takes an abort meanwhile.
func follow(e *client.Engine, in *json.Decoder, out *writer) error {
	var now command
	defer now.wait()
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			now.abort()
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if o.Abort {
			now.abort()
		}
		if o.Command != nil {
			now.start(e, *o.Command, out)
		}
	}
}

// command is the one that runs.
type command struct {
	running sync.WaitGroup
	cancel  context.CancelFunc // nil before the first
}

func (c *command) start(e *client.Engine, cmd client.Command, out *writer) {
	c.wait()
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.running.Go(func() {
		defer cancel()
		st, err := e.Do(ctx, cmd)
		a := answer{Stats: st}
		if err != nil && !errors.Is(err, context.Canceled) {
			a.Error = err.Error()
		}
		_ = out.put(a) // a parent that is gone has closed our input too
	})
}

func (c *command) wait() { c.running.Wait() }

func (c *command) abort() {
	if c.cancel != nil {
		c.cancel()
	}
}

func report(e *client.Engine, out *writer, quit <-chan struct{}) {
	tick := time.NewTicker(progressPeriod)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
			p := e.Progress()
			_ = out.put(answer{Progress: &p})
		}
	}
}

type writer struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func (w *writer) put(a answer) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.enc.Encode(a)
}
