package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"wsgateway/bench/internal/child"
	"wsgateway/bench/internal/client"
)

// Fleet is a number of client processes. Do may be called from one goroutine
// at a time, Progress from any.
type Fleet struct{ members []*member }

// member is one client process.
type member struct {
	*child.Process
	enc      *json.Encoder
	in       io.WriteCloser
	answers  chan answer // without progress; closed at the end of its output
	progress atomic.Pointer[client.Progress]
}

const (
	stopWithin  = 5 * time.Second
	abortWithin = 5 * time.Second
)

// Start starts one process for each config and returns when all are ready.
func Start(ctx context.Context, cfgs []client.Config) (*Fleet, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &Fleet{}
	for i := range cfgs {
		m, err := startMember(self, i)
		if err != nil {
			f.Stop()
			return nil, err
		}
		f.members = append(f.members, m)
	}
	for i, m := range f.members {
		if err := m.enc.Encode(order{Config: &cfgs[i]}); err != nil {
			f.Stop()
			return nil, m.gone(err)
		}
	}
	for _, m := range f.members {
		a, err := m.next(ctx)
		if err == nil && a.Error != "" {
			err = errors.New(a.Error)
		}
		if err != nil {
			f.Stop()
			return nil, err
		}
	}
	return f, nil
}

func startMember(self string, i int) (*member, error) {
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envChild+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// A pipe of our own: Wait closes that of StdoutPipe before all is read.
	out, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = theirs
	p, err := child.Start(fmt.Sprintf("client %d", i), cmd)
	_ = theirs.Close()
	if err != nil {
		_ = out.Close()
		return nil, err
	}
	m := &member{Process: p, enc: json.NewEncoder(in), in: in, answers: make(chan answer, 4)}
	m.progress.Store(&client.Progress{})
	go m.read(out) // ends with the process
	return m, nil
}

func (m *member) read(out io.ReadCloser) {
	defer out.Close()
	defer close(m.answers)
	dec := json.NewDecoder(out)
	for {
		var a answer
		if err := dec.Decode(&a); err != nil {
			return
		}
		if a.Progress != nil {
			m.progress.Store(a.Progress)
			continue
		}
		m.answers <- a
	}
}

// next waits for an answer.
func (m *member) next(ctx context.Context) (answer, error) {
	select {
	case a, ok := <-m.answers:
		if !ok {
			return a, m.gone(io.ErrUnexpectedEOF)
		}
		return a, nil
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// gone explains a broken pipe by the end of the process.
func (m *member) gone(err error) error {
	select {
	case <-m.Exited():
		return m.Err()
	case <-time.After(time.Second):
		return err
	}
}

// Do runs a command on every process; part makes process i's share. When ctx
// ends, the command is given up and what was counted comes with ctx's error.
func (f *Fleet) Do(ctx context.Context, part func(i int) client.Command) (*client.Stats, error) {
	sum := client.NewStats()
	for i, m := range f.members {
		cmd := part(i)
		if err := m.enc.Encode(order{Command: &cmd}); err != nil {
			return sum, m.gone(err)
		}
	}
	var failed error
	for _, m := range f.members {
		a, err := m.next(ctx)
		if err != nil && ctx.Err() != nil {
			failed = ctx.Err()
			a, err = m.abort()
		}
		if err == nil && a.Error != "" {
			err = errors.New(a.Error)
		}
		if err != nil {
			failed = errors.Join(failed, err)
		}
		if a.Stats != nil {
			sum.Merge(a.Stats)
		}
	}
	return sum, failed
}

// abort gives the running command up.
func (m *member) abort() (answer, error) {
	if err := m.enc.Encode(order{Abort: true}); err != nil {
		return answer{}, m.gone(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), abortWithin)
	defer cancel()
	return m.next(ctx)
}

// Same is a part function for a command without shares.
func Same(cmd client.Command) func(int) client.Command {
	return func(int) client.Command { return cmd }
}

// Size is the number of processes.
func (f *Fleet) Size() int { return len(f.members) }

// Pids lists the processes.
func (f *Fleet) Pids() (pids []int) {
	for _, m := range f.members {
		pids = append(pids, m.Pid())
	}
	return pids
}

// Progress adds up what the processes last reported.
func (f *Fleet) Progress() (p client.Progress) {
	for _, m := range f.members {
		q := m.progress.Load()
		p.Open += q.Open
		p.Done += q.Done
		p.Errors += q.Errors
	}
	return p
}

// Stop ends the processes: the end of their input is the sign to leave.
func (f *Fleet) Stop() {
	for _, m := range f.members {
		_ = m.in.Close()
	}
	for _, m := range f.members {
		select {
		case <-m.Exited():
		case <-time.After(stopWithin):
			m.Process.Stop(time.Second)
		}
	}
}
