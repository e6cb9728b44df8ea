package peertest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"wsgateway/internal/waits"
)

// process is a peer or a gateway that a test started: in a process group of its
// own, ended with the test, its output shown when the test failed.
type process struct {
	cmd    *exec.Cmd
	output waits.Buffer
	exited chan struct{} // closed when the process is reaped
	state  *os.ProcessState
}

// startProcess starts cmd. Output goes to process.output, except for a Stderr that is set.
func startProcess(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout = &p.output
	if cmd.Stderr == nil {
		cmd.Stderr = &p.output
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	// The group lets the test end the children too, which Chromium has many of.
	cmd.SysProcAttr.Setpgid = true
	// A grandchild may keep the output pipe open; do not wait for it for ever.
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	go func() { // ends with the process; t.Cleanup waits for it
		_ = cmd.Wait()
		p.state = cmd.ProcessState
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-p.exited
		if t.Failed() {
			t.Logf("output of %s:\n%s", strings.Join(cmd.Args, " "), p.output.Tail(6000))
		}
	})
	return p
}

// running reports an error once the process is gone.
func (p *process) running() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s ended: %v\n%s", p.cmd.Args[0], p.state, p.output.Tail(3000))
	default:
		return nil
	}
}

// signal sends sig to the process alone, not to its group.
func (p *process) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("signal %v: %v", sig, err)
	}
}

// wait returns the exit code; -1 means ended by a signal.
func (p *process) wait(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.exited:
		return p.state.ExitCode()
	case <-time.After(within):
		t.Fatalf("%s still runs after %v", p.cmd.Args[0], within)
		return 0
	}
}

// cpuTime returns the user and system time the process has used so far.
func (p *process) cpuTime(t *testing.T) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	// proc(5): the fields after the command, which stands in parentheses and may
	// hold spaces, start with number 3; utime and stime are 14 and 15.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	utime, err1 := strconv.Atoi(f[14-3])
	stime, err2 := strconv.Atoi(f[15-3])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	const tick = time.Second / 100 // USER_HZ, 100 on every architecture Go supports
	return time.Duration(utime+stime) * tick
}
