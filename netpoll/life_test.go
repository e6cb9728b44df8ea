package netpoll_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"wsgateway/netpoll"
)

func reactor(t *testing.T, cfg netpoll.Config) *netpoll.Reactor {
	t.Helper()
	r, err := netpoll.New(cfg, &echo{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// What comes too late is refused, and leaves nothing behind.
func TestTooLate(t *testing.T) {
	for name, tt := range map[string]struct {
		calls func(r *netpoll.Reactor) error
		want  error // of Listen
		again error // of Start
	}{
		"stopped":          {func(r *netpoll.Reactor) error { r.StopAccepting(); return nil }, netpoll.ErrStopped, netpoll.ErrStopped},
		"started, stopped": {func(r *netpoll.Reactor) error { err := r.Start(); r.StopAccepting(); return err }, netpoll.ErrStopped, netpoll.ErrStarted},
		"closed":           {(*netpoll.Reactor).Close, netpoll.ErrReactorClosed, netpoll.ErrReactorClosed},
		"started, closed":  {func(r *netpoll.Reactor) error { return errors.Join(r.Start(), r.Close()) }, netpoll.ErrReactorClosed, netpoll.ErrReactorClosed},
		"a stopped listener": {func(r *netpoll.Reactor) error {
			_, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"})
			r.StopAccepting()
			return err
		}, netpoll.ErrStopped, netpoll.ErrStopped},
	} {
		t.Run(name, func(t *testing.T) {
			r := reactor(t, netpoll.Config{})
			if err := tt.calls(r); err != nil {
				t.Fatal(err)
			}
			before := openFDs()
			path := filepath.Join(t.TempDir(), "s")
			for _, addr := range []string{"127.0.0.1:0", "unix:" + path} {
				if got, err := r.Listen(netpoll.ListenConfig{Addr: addr}); !errors.Is(err, tt.want) || got != nil {
					t.Errorf("Listen(%q): %v, %v", addr, got, err)
				}
			}
			if err := r.ListenLate(path); !errors.Is(err, tt.want) {
				t.Errorf("Listen at the same time: %v", err)
			}
			if _, err := os.Lstat(path); !os.IsNotExist(err) {
				t.Errorf("a socket file is left: %v", err)
			}
			if err := r.Start(); !errors.Is(err, tt.again) {
				t.Errorf("Start: %v", err)
			}
			if after := openFDs(); after > before {
				t.Errorf("%d descriptors before, %d after", before, after)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Of all that call Start at once, one does.
func TestStartTwiceAtOnce(t *testing.T) {
	r := reactor(t, netpoll.Config{})
	addr, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 5)
	for range cap(errs) {
		go func() { errs <- r.Start() }()
	}
	started := 0
	for range cap(errs) {
		switch err := <-errs; {
		case err == nil:
			started++
		case !errors.Is(err, netpoll.ErrStarted):
			t.Error(err)
		}
	}
	if started != 1 {
		t.Errorf("started %d times", started)
	}
	talk(t, dial(t, addr.String()))
}

func TestStartAndCloseAtOnce(t *testing.T) {
	for range 50 {
		r := reactor(t, netpoll.Config{Loops: 2})
		if _, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"}); err != nil {
			t.Fatal(err)
		}
		errs := make(chan error)
		go func() { errs <- r.Start() }()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := <-errs; err != nil && !errors.Is(err, netpoll.ErrReactorClosed) {
			t.Error(err)
		}
	}
}

// A Listen that has failed can be tried again.
func TestListenAgain(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := taken.Addr().String()
	r := reactor(t, netpoll.Config{})
	if _, err := r.Listen(netpoll.ListenConfig{Addr: addr}); !errors.Is(err, unix.EADDRINUSE) {
		t.Fatal(err)
	}
	taken.Close()
	if _, err := r.Listen(netpoll.ListenConfig{Addr: addr}); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	talk(t, dial(t, addr))
}

// Whoever gets an address from Listen is served there, also if Start is called meanwhile.
func TestListenAtOnce(t *testing.T) {
	for range 30 {
		r := reactor(t, netpoll.Config{Loops: 2})
		first, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		addrs := []net.Addr{first}
		var listens sync.WaitGroup
		for range 6 {
			listens.Go(func() {
				addr, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				addrs = append(addrs, addr)
				mu.Unlock()
			})
		}
		if err := r.Start(); err != nil {
			t.Fatal(err)
		}
		talk(t, dial(t, first.String()))
		listens.Wait()
		for _, addr := range addrs {
			talk(t, dial(t, addr.String()))
		}
		r.Close()
	}
}

// Of those that want to replace a dead socket file, one does, and listens on what is there then.
func TestReplaceAtOnce(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "s")
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		ln.SetUnlinkOnClose(false)
		ln.Close()
		r := reactor(t, netpoll.Config{})
		errs := make(chan error, 4)
		for range cap(errs) {
			go func() {
				_, err := r.Listen(netpoll.ListenConfig{Addr: "unix:" + path})
				errs <- err
			}()
		}
		listening := 0
		for range cap(errs) {
			switch err := <-errs; {
			case err == nil:
				listening++
			case !errors.Is(err, unix.EADDRINUSE):
				t.Error(err)
			}
		}
		if listening != 1 {
			t.Fatalf("%d listen", listening)
		}
		if err := r.Start(); err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		talk(t, c)
		c.Close()
		r.Close()
	}
}

// A reactor that has not been started for lack of descriptors can be closed, and leaves nothing.
func TestStartFailsHalfway(t *testing.T) {
	for free := range 4 { // two loops need four descriptors
		before := openFDs()
		r := reactor(t, netpoll.Config{Loops: 2})
		if _, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"}); err != nil {
			t.Fatal(err)
		}
		err := func() error {
			var lim syscall.Rlimit
			if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim) }()
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(openFDs() + 20), Max: lim.Max}); err != nil {
				t.Fatal(err)
			}
			var hoard []int
			defer func() {
				for _, fd := range hoard {
					_ = unix.Close(fd)
				}
			}()
			for {
				fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err != nil {
					break
				}
				hoard = append(hoard, fd)
			}
			for range free {
				_ = unix.Close(hoard[len(hoard)-1])
				hoard = hoard[:len(hoard)-1]
			}
			return r.Start()
		}()
		if !errors.Is(err, unix.EMFILE) {
			t.Errorf("Start with %d descriptors: %v", free, err)
		}
		if err := r.Start(); !errors.Is(err, netpoll.ErrStarted) {
			t.Errorf("Start again: %v", err)
		}
		if _, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"}); !errors.Is(err, netpoll.ErrStarted) {
			t.Errorf("Listen: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if st := r.Stats(); st.ListenersIdle != 0 {
			t.Errorf("%d listeners rest", st.ListenersIdle)
		}
		if after := openFDs(); after > before {
			t.Errorf("with %d descriptors: %d open before, %d after", free, before, after)
		}
	}
}

// A reactor that was never started accepts nobody, also when it is closed.
func TestCloseWithoutStart(t *testing.T) {
	r := reactor(t, netpoll.Config{})
	addr, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	dial(t, addr.String())
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if n := r.Stats().Accepted; n != 0 {
		t.Errorf("%d accepted", n)
	}
}
