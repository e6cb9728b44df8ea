package proc_test

import (
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wsgateway/bench/internal/proc"
)

func TestOwnProcess(t *testing.T) {
	runtime.LockOSThread() // a thread that works, so that its time is counted
	defer runtime.UnlockOSThread()
	before, err := proc.CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	var ru unix.Rusage
	spent := func() time.Duration {
		if err := unix.Getrusage(unix.RUSAGE_THREAD, &ru); err != nil {
			t.Fatal(err)
		}
		return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	for start := spent(); spent()-start < 100*time.Millisecond; {
	}
	after, err := proc.CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if d := after - before; d < 50*time.Millisecond || d > time.Minute {
		t.Errorf("CPU grew by %v", d)
	}
	if n, err := proc.RSS(os.Getpid()); err != nil || n < 1<<20 {
		t.Errorf("RSS = %d, %v", n, err)
	}
	n, err := proc.Descriptors(os.Getpid())
	if err != nil || n < 3 {
		t.Errorf("%d descriptors, %v", n, err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if more, err := proc.Descriptors(os.Getpid()); err != nil || more != n+1 {
		t.Errorf("%d descriptors after %d and one more, %v", more, n, err)
	}
	if _, err := proc.Descriptors(1 << 30); err == nil {
		t.Error("descriptors of no process")
	}
	if _, err := proc.RSS(1 << 30); err == nil {
		t.Error("RSS of no process")
	}
}

func TestMachine(t *testing.T) {
	if n, err := proc.KernelMemory(); err != nil || n < 1<<20 {
		t.Errorf("kernel memory %d, %v", n, err)
	}
	if n, err := proc.RaiseNoFile(); err != nil || n < 256 {
		t.Errorf("descriptors %d, %v", n, err)
	}
	if proc.MemTotal() < 1<<20 || proc.Kernel() == "" {
		t.Errorf("memory %d, kernel %q", proc.MemTotal(), proc.Kernel())
	}
}
