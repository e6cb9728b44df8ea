package fleet_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"wsgateway/bench/internal/client"
	"wsgateway/bench/internal/fleet"
	"wsgateway/bench/internal/plain"
)

func TestMain(m *testing.M) {
	fleet.RunChild()
	os.Exit(m.Run())
}

func start(t *testing.T, n, conns int) *fleet.Fleet {
	t.Helper()
	t.Setenv("GORACE", "atexit_sleep_ms=0") // the client processes end without a pause
	s, err := plain.Listen("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	addr := s.Addr()
	go func() { done <- s.Run() }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	cfgs := make([]client.Config, n)
	for i := range cfgs {
		cfgs[i] = client.Config{
			Targets: []client.Target{{Addr: addr, Conns: conns}}, FirstID: uint32(i * conns),
			Host: addr, Path: "/", Secret: 7,
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	f, err := fleet.Start(ctx, cfgs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Stop)
	return f
}

func TestAddsUp(t *testing.T) {
	f := start(t, 3, 40)
	if f.Size() != 3 || len(f.Pids()) != 3 {
		t.Fatalf("%d processes", f.Size())
	}
	for _, step := range []struct {
		op       client.Op
		messages int64
		open     int64
	}{{client.OpConnect, 0, 120}, {client.OpRound, 120, 120}, {client.OpClose, 0, 0}} {
		st, err := f.Do(t.Context(), fleet.Same(client.Command{Op: step.op, Size: 64}))
		if err != nil || st.Messages != step.messages || st.Open != step.open || st.ErrorCount() != 0 ||
			st.RoundTrip.Count() != step.messages {
			t.Errorf("%s: %v, %+v", step.op, err, st)
		}
	}
}

func TestAbort(t *testing.T) {
	f := start(t, 2, 20)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan *client.Stats, 1)
	go func() {
		st, err := f.Do(ctx, fleet.Same(client.Command{Op: client.OpChurn, Size: 32, Cycles: 1 << 40}))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v", err)
		}
		done <- st
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for f.Progress().Done == 0 {
		<-tick.C
	}
	cancel()
	if st := <-done; st.Messages == 0 || st.ErrorCount() != 0 {
		t.Errorf("stats %+v", st)
	}
	// The processes are there for the next command.
	if st, err := f.Do(t.Context(), fleet.Same(client.Command{Op: client.OpCut})); err != nil || st.Open != 0 {
		t.Errorf("%v, %+v", err, st)
	}
}

func TestClientDies(t *testing.T) {
	f := start(t, 2, 5)
	if err := syscall.Kill(f.Pids()[1], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_, err := f.Do(t.Context(), fleet.Same(client.Command{Op: client.OpConnect}))
	if err == nil || !strings.Contains(err.Error(), "client 1") || !strings.Contains(err.Error(), "killed") {
		t.Errorf("err = %v", err)
	}
}

func TestConfigRefused(t *testing.T) {
	if _, err := fleet.Start(t.Context(), []client.Config{{}}); err == nil || !strings.Contains(err.Error(), "no target") {
		t.Errorf("err = %v", err)
	}
}
