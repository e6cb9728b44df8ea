package runner

import (
	"errors"
	"strings"
	"testing"
	"time"

	"wsgateway/bench/internal/client"
	"wsgateway/bench/internal/server"
)

func TestCompleteRefuses(t *testing.T) {
	tests := []struct {
		text string
		o    Options
	}{
		{"-scenario", Options{Scenario: "nap", Conns: 1}},
		{"-conns", Options{Scenario: "idle"}},
		{"-size", Options{Scenario: "idle", Conns: 1, Size: -1}},
		{"-size", Options{Scenario: "broadcast", Conns: 1, Size: 8, Server: server.Gateway}},
		{"-inflight", Options{Scenario: "echo", Conns: 1, InFlight: 5000}},
		{"-active", Options{Scenario: "active", Conns: 5, Active: 6}},
		{"rate", Options{Scenario: "echo", Conns: 5, Rate: -1}},
		{"-slow", Options{Scenario: "slow", Conns: 5, Slow: 2}},
		{"-stalled", Options{Scenario: "stall", Conns: 5, Stalled: -1}},
		{"-rounds", Options{Scenario: "stall", Conns: 5, Rounds: -1}},
		{"-max-ratio", Options{Scenario: "stall", Conns: 5, MaxRatio: -1}},
		{"wss", Options{Scenario: "idle", Conns: 1, URL: "wss://localhost/"}},
		{"ws://host", Options{Scenario: "idle", Conns: 1, URL: "http://localhost/"}},
		{"ws://host", Options{Scenario: "idle", Conns: 1, URL: "ws:///x"}},
		{"-url", Options{Scenario: "idle", Conns: 1, URL: "ws://localhost:1/", ServerBin: "x"}},
		{"-pid", Options{Scenario: "idle", Conns: 1, Pids: []int{1}}},
		{"only echoes", Options{Scenario: "broadcast", Conns: 1, Server: server.Plain}},
	}
	for _, tt := range tests {
		err := tt.o.Complete()
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want one line with %q", tt.o, err, tt.text)
		}
	}
}

func TestURL(t *testing.T) {
	o := Options{Scenario: "idle", Conns: 1, URL: "ws://127.0.0.1:9001/a?b=c"}
	if err := o.Complete(); err != nil || o.addr != "127.0.0.1:9001" || o.path != "/a?b=c" || o.host != "127.0.0.1:9001" || !o.loopback {
		t.Errorf("%+v, %v", o, err)
	}
	o = Options{Scenario: "idle", Conns: 1, URL: "ws://192.0.2.1"}
	if err := o.Complete(); err != nil || o.addr != "192.0.2.1:80" || o.path != "/" || o.loopback {
		t.Errorf("%+v, %v", o, err)
	}
	o = Options{Scenario: "idle", Conns: 1, URL: "ws://[::1]:81/"}
	if err := o.Complete(); err != nil || o.addr != "[::1]:81" || o.loopback {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestPlan(t *testing.T) {
	tests := []struct {
		conns, descriptors, servers, clients int
	}{
		{1, 20_000, 1, 1},
		{16_000, 20_000, 1, 1},
		{100_000, 20_000, 6, 6},
		{100_000, 1 << 20, 1, 2},
		{5_000, 1024, 9, 6},
	}
	for _, tt := range tests {
		o := Options{Scenario: "idle", Conns: tt.conns}
		p, err := makePlan(&o, tt.descriptors)
		if err != nil || p.servers != tt.servers || p.clients != tt.clients {
			t.Errorf("%d connections with %d descriptors: %+v, %v; want %d servers, %d clients",
				tt.conns, tt.descriptors, p, err, tt.servers, tt.clients)
		}
	}
	if _, err := makePlan(&Options{Conns: 10}, 256); err == nil {
		t.Error("256 descriptors are accepted")
	}
}

// TestConfigs checks that ids and source addresses do not overlap, and that
// all connections and one publisher per group are there.
func TestConfigs(t *testing.T) {
	for _, scenario := range []string{"idle", "churn", "broadcast", "slow"} {
		o := Options{Scenario: scenario, Conns: 100_003, Server: server.Gateway}
		if err := o.Complete(); err != nil {
			t.Fatal(err)
		}
		p, err := makePlan(&o, 20_000)
		if err != nil {
			t.Fatal(err)
		}
		addrs := []string{"127.0.0.1:1"}
		if o.broadcasts() {
			addrs = []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4", "127.0.0.1:5", "127.0.0.1:6"}
		}
		conns, slow, publishers, handshakes := 0, 0, 0, 0
		var id uint32
		sources := make(map[string]bool)
		for _, c := range p.configs(&o, addrs, 1) {
			if c.FirstID != id {
				t.Errorf("%s: ids begin at %d, want %d", scenario, c.FirstID, id)
			}
			own := count(c.Targets, &publishers, &slow)
			conns += own
			for _, x := range c.Targets {
				id += uint32(x.Conns)
				if x.Publisher {
					id++
				}
			}
			if sources[c.SourceFirst] || c.SourceCount < 1 || c.SourceCount > 250 || own > 18_000 {
				t.Errorf("%s: source %s and %d more for %d connections", scenario, c.SourceFirst, c.SourceCount, own)
			}
			sources[c.SourceFirst] = true
			handshakes += c.MaxHandshakes
		}
		wantPublishers := 0
		if o.broadcasts() {
			wantPublishers = len(addrs)
		}
		if conns != o.Conns || publishers != wantPublishers || handshakes > allHandshakes || (slow > 0) != (scenario == "slow") {
			t.Errorf("%s: %d connections, %d publishers, %d slow, %d handshakes", scenario, conns, publishers, slow, handshakes)
		}
	}
}

// TestStalledConfigs checks that each place gets its share of the ids, and that
// the source addresses are not those of the good clients.
func TestStalledConfigs(t *testing.T) {
	o := Options{Scenario: "stall", Conns: 100, Stalled: 10_000}
	if err := o.Complete(); err != nil {
		t.Fatal(err)
	}
	if o.Rate != 2000 || o.Duration != 5*time.Second || o.Rounds != 3 {
		t.Errorf("defaults %+v", o)
	}
	p, err := makePlan(&o, 20_000)
	if err != nil || p.servers != 2 || p.clients != 1 || p.stalled != 2 {
		t.Fatalf("plan %+v, %v", p, err)
	}
	sources := map[string]bool{p.configs(&o, []string{"127.0.0.1:1"}, 1)[0].SourceFirst: true}
	var id uint32
	for _, c := range p.stalledConfigs(&o, []string{"127.0.0.1:1"}, 1) {
		if !c.Stall || c.FirstID != id || c.Host != "127.0.0.1:1" || c.Path != "/" || sources[c.SourceFirst] || c.SourceCount > 250 {
			t.Errorf("config %+v", c)
		}
		sources[c.SourceFirst] = true
		id += uint32(c.Targets[0].Conns)
	}
	if id != 30_000 {
		t.Errorf("%d connections", id)
	}
}

func count(targets []client.Target, publishers, slow *int) (conns int) {
	for _, t := range targets {
		conns += t.Conns
		*slow += t.Slow
		if t.Publisher {
			*publishers++
		}
	}
	return conns
}
