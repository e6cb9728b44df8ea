package proc

import "golang.org/x/sys/unix"

// RaiseNoFile lifts the soft limit of descriptors to the hard one and returns
// it.
func RaiseNoFile() (int, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	l.Cur = l.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	return int(min(l.Max, 1<<30)), nil
}
