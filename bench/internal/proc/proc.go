// Package proc reads what the kernel knows about processes and memory.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// RSS is the resident memory of a process in bytes.
func RSS(pid int) (int64, error) {
	p, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return field(p, "VmRSS:")
}

// Descriptors is the number of descriptors a process has open.
func Descriptors(pid int) (int, error) {
	d, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if pid == os.Getpid() {
		return len(names) - 1, err // without the one that reads
	}
	return len(names), err
}

// field reads "Name:   123 kB" as bytes.
func field(p []byte, name string) (int64, error) {
	for line := range bytes.Lines(p) {
		if f := strings.Fields(string(line)); len(f) >= 2 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s %w", name, err)
			}
			if len(f) > 2 && f[2] == "kB" {
				n <<= 10
			}
			return n, nil
		}
	}
	return 0, errors.New("no field " + name)
}

// CPU is the processor time of a process so far. It sums the run time of the
// threads, which the kernel counts in nanoseconds; where it does not, it reads
// the process's user and system time in ticks. Time of threads that have ended
// is missing from the sum, which a Go server hardly has.
func CPU(pid int) (time.Duration, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(tasks) == 0 {
		return ticks(pid)
	}
	var sum int64
	for _, t := range tasks {
		p, err := os.ReadFile(t)
		if err != nil {
			continue // the thread has ended since
		}
		f := strings.Fields(string(p))
		if len(f) == 0 {
			return ticks(pid)
		}
		n, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", t, err)
		}
		sum += n
	}
	if sum == 0 {
		return ticks(pid)
	}
	return time.Duration(sum), nil
}

// ticks reads utime and stime.
func ticks(pid int) (time.Duration, error) {
	p, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold anything.
	f := strings.Fields(string(p[bytes.LastIndexByte(p, ')')+1:]))
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(f))
	}
	u, err1 := strconv.ParseInt(f[11], 10, 64)
	s, err2 := strconv.ParseInt(f[12], 10, 64)
	const hertz = 100 // USER_HZ is 100 on every architecture Go runs on
	return time.Duration(u+s) * time.Second / hertz, errors.Join(err1, err2)
}

// KernelMemory is the memory the kernel uses for its objects (Slab) and for
// TCP buffers, in bytes, machine-wide.
func KernelMemory() (int64, error) {
	p, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	slab, err := field(p, "Slab:")
	if err != nil {
		return 0, err
	}
	p, err = os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(p) {
		f := strings.Fields(string(line))
		for i := 1; len(f) > 0 && f[0] == "TCP:" && i+1 < len(f); i += 2 {
			if f[i] == "mem" {
				pages, err := strconv.ParseInt(f[i+1], 10, 64)
				return slab + pages*int64(os.Getpagesize()), err
			}
		}
	}
	return slab, nil
}

// MemTotal is the memory of the machine in bytes.
func MemTotal() int64 {
	p, _ := os.ReadFile("/proc/meminfo") // an unreadable file has no field
	n, _ := field(p, "MemTotal:")
	return n
}

// AcceptQueue is the longest accept queue of a listening socket, or 0 when it
// cannot be read.
func AcceptQueue() int {
	p, _ := os.ReadFile("/proc/sys/net/core/somaxconn") // what cannot be read is no number
	n, _ := strconv.Atoi(strings.TrimSpace(string(p)))
	return n
}

// Kernel is the release of the running kernel, or empty when it cannot be read.
func Kernel() string {
	p, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(p))
}
