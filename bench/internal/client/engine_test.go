package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"wsgateway/bench/internal/client"
	"wsgateway/bench/internal/plain"
)

// serve runs the bare echo server for the time of a test.
func serve(t *testing.T) string {
	t.Helper()
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
	return addr
}

func config(addr string, conns int) client.Config {
	return client.Config{
		Targets: []client.Target{{Addr: addr, Conns: conns}}, Host: addr, Path: "/", Secret: 42,
		SourceFirst: "127.9.0.1", SourceCount: 3,
		HandshakeTimeout: 20 * time.Second, ReplyTimeout: 20 * time.Second,
	}
}

func engine(t *testing.T, cfg client.Config) *client.Engine {
	t.Helper()
	e, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// do runs a command that must count no error.
func do(t *testing.T, e *client.Engine, cmd client.Command) *client.Stats {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	st, err := e.Do(ctx, cmd)
	if err != nil || st.ErrorCount() != 0 {
		t.Fatalf("%s: %v, %v %v", cmd.Op, err, st.Errors, st.Samples)
	}
	return st
}

// until waits for the counters of the running phase.
func until(t *testing.T, e *client.Engine, done int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for e.Progress().Done < done {
		select {
		case <-tick.C:
		case <-time.After(20 * time.Second):
			t.Fatalf("progress stays at %+v", e.Progress())
		}
	}
}

func TestRounds(t *testing.T) {
	const conns = 300
	cfg := config(serve(t), conns)
	cfg.Loops = 2
	e := engine(t, cfg)
	if st := do(t, e, client.Command{Op: client.OpConnect}); st.Open != conns || st.Connected != conns || st.Handshake.Count() != conns {
		t.Fatalf("connected %+v", st)
	}
	for _, size := range []int{1, 7, 32, 125, 126, 4096, 60000} {
		st := do(t, e, client.Command{Op: client.OpRound, Size: size})
		if st.Messages != conns || st.Bytes != int64(conns*size) || st.RoundTrip.Count() != conns {
			t.Errorf("size %d: %+v", size, st)
		}
	}
	if st := do(t, e, client.Command{Op: client.OpClose}); st.Open != 0 || st.Closes["1000"] != conns {
		t.Errorf("closed %+v", st)
	}
}

func TestLoad(t *testing.T) {
	tests := []struct {
		name string
		cmd  client.Command
	}{
		{"closed loop", client.Command{Size: 128}},
		{"pipelined", client.Command{Size: 128, InFlight: 16}},
		{"few active with bystanders", client.Command{Size: 64, Active: 5, Bystand: 500}},
		{"paced", client.Command{Size: 64, Rate: 2000}},
		{"large", client.Command{Size: 50000, InFlight: 4}},
	}
	addr := serve(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(addr, 50)
			cfg.MaxInFlight = 16
			e := engine(t, cfg)
			do(t, e, client.Command{Op: client.OpConnect})
			tt.cmd.Op = client.OpLoad
			do(t, e, tt.cmd)
			until(t, e, 200)
			do(t, e, client.Command{Op: client.OpMark})
			until(t, e, 200)
			st := do(t, e, client.Command{Op: client.OpStop})
			if st.Messages < 200 || st.RoundTrip.Count() < 200 || st.Nanos <= 0 || st.Open != 50 {
				t.Errorf("stats %+v", st)
			}
			if (st.Bystander.Count() > 0) != (tt.cmd.Bystand > 0) {
				t.Errorf("%d bystander messages", st.Bystander.Count())
			}
			do(t, e, client.Command{Op: client.OpClose})
		})
	}
}

func TestChurn(t *testing.T) {
	e := engine(t, config(serve(t), 20))
	st := do(t, e, client.Command{Op: client.OpChurn, Size: 32, Cycles: 1000})
	if st.Cycles != 1000 || st.Messages != 1000 || st.Clean+st.Fin+st.Rst != 1000 || st.Open != 0 {
		t.Errorf("stats %+v", st)
	}
	if st.Clean < 400 || st.Fin < 150 || st.Rst < 150 {
		t.Errorf("ends: %d clean, %d FIN, %d RST", st.Clean, st.Fin, st.Rst)
	}
}

func TestCutAndReturn(t *testing.T) {
	e := engine(t, config(serve(t), 200))
	for range 2 {
		if st := do(t, e, client.Command{Op: client.OpConnect, Retry: true}); st.Open != 200 {
			t.Fatalf("open %d", st.Open)
		}
		if st := do(t, e, client.Command{Op: client.OpCut}); st.Open != 0 {
			t.Fatalf("open %d after the cut", st.Open)
		}
	}
}

func TestAbort(t *testing.T) {
	e := engine(t, config(serve(t), 50))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type result struct {
		st  *client.Stats
		err error
	}
	done := make(chan result, 1)
	go func() {
		st, err := e.Do(ctx, client.Command{Op: client.OpChurn, Size: 32, Cycles: 1 << 40})
		done <- result{st, err}
	}()
	until(t, e, 100)
	cancel()
	if r := <-done; !errors.Is(r.err, context.Canceled) || r.st.Messages < 100 || r.st.ErrorCount() != 0 {
		t.Errorf("%v, %+v", r.err, r.st)
	}
}

func TestConfigRefused(t *testing.T) {
	for name, change := range map[string]func(*client.Config){
		"no target":  func(c *client.Config) { c.Targets = nil },
		"name":       func(c *client.Config) { c.Targets[0].Addr = "localhost:1" },
		"many slow":  func(c *client.Config) { c.Targets[0].Slow = 9 },
		"bad source": func(c *client.Config) { c.SourceFirst = "x" },
	} {
		cfg := config("127.0.0.1:1", 1)
		change(&cfg)
		if e, err := client.New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
			_ = e.Close()
		}
	}
}
