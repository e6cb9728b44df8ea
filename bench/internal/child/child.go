// Package child runs processes that must not outlive this one: they die with
// it, stay out of its terminal's process group, and end within a bound.
package child

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	_ "wsgateway/internal/linuxonly" // stops a build for another system
)

// Process is a started process. Its methods are safe for concurrent use.
type Process struct {
	name   string
	cmd    *exec.Cmd
	tail   *tail
	exited chan struct{} // closed after Wait
	err    error         // of Wait, set before exited closes
}

// starts carries commands to the one thread that starts all children. The
// kernel sends Pdeathsig when the starting thread ends, so that thread must
// live as long as this process.
var starts = sync.OnceValue(func() chan<- func() {
	c := make(chan func())
	go func() { // ends with the process
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
})

// Start starts cmd in a process group of its own. Its standard error is
// collected; cmd.Stdin and cmd.Stdout are the caller's.
func Start(name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{name: name, cmd: cmd, tail: &tail{}, exited: make(chan struct{})}
	cmd.Stderr = p.tail
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// A grandchild that holds the standard error open must not block Wait.
	cmd.WaitDelay = time.Second
	done := make(chan error)
	starts() <- func() { done <- cmd.Start() }
	if err := <-done; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { // ends with the child
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Err says how the process ended and what it last printed to its standard
// error. It must be called after Exited is closed.
func (p *Process) Err() error {
	text := fmt.Sprintf("%s (process %d) ended", p.name, p.Pid())
	if p.err != nil {
		text += ": " + p.err.Error()
	}
	if t := p.Tail(); t != "" {
		text += "\n    " + strings.ReplaceAll(t, "\n", "\n    ")
	}
	return errors.New(text)
}

// Tail is the end of the standard error so far.
func (p *Process) Tail() string { return p.tail.String() }

// Stop sends SIGTERM and, after the grace, SIGKILL, and waits for the end. It
// reports whether SIGTERM was enough.
func (p *Process) Stop(grace time.Duration) bool {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
		return true
	case <-timer.C:
	}
	_ = p.cmd.Process.Signal(os.Kill)
	<-p.exited
	return false
}

// tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if n := len(t.buf) - tailSize; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.buf))
}
