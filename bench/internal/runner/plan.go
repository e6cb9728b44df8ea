package runner

import (
	"fmt"
	"net/netip"

	"wsgateway/bench/internal/client"
	"wsgateway/bench/internal/proc"
)

// plan says how many processes carry the connections.
type plan struct {
	servers    int
	clients    int
	stalled    int // client processes of the connections that stall
	handshakes int // in flight from all clients
}

const (
	// A server keeps some descriptors for itself. SO_REUSEPORT spreads
	// connections by a hash, which is uneven: a seventh stays free.
	serverReserve = 300
	clientShare   = 50_000 // connections one client loop still drives well
	perSource     = 10_000 // connections from one source address
	churnSources  = 32     // so that ports in TIME_WAIT are not needed again soon; also of those that stall
	allHandshakes = 3_072  // in flight from all clients
)

// serverCapacity is the number of connections planned for one server process.
func serverCapacity(descriptors int) int { return max(1, (descriptors-serverReserve)*6/7) }

// clientCapacity is the number of connections planned for one client process.
func clientCapacity(descriptors int) int { return max(1, min(descriptors*9/10, clientShare)) }

func makePlan(o *Options, descriptors int) (plan, error) {
	p := plan{servers: o.Servers, clients: o.Clients}
	if descriptors < 1024 {
		return p, fmt.Errorf("the hard limit of descriptors is %d (ulimit -Hn): at least 1024 are needed", descriptors)
	}
	if p.servers == 0 {
		p.servers = ceil(o.Conns+3*o.Stalled, serverCapacity(descriptors))
	}
	if p.clients == 0 {
		p.clients = ceil(o.Conns, clientCapacity(descriptors))
	}
	p.clients = min(p.clients, o.Conns)
	p.stalled = ceil(3*o.Stalled, clientCapacity(descriptors))
	p.handshakes = allHandshakes
	if n := proc.AcceptQueue(); o.loopback && n > 0 {
		// A full accept queue drops handshakes, which are tried again after a second.
		p.handshakes = min(p.handshakes, n*3/4)
	}
	if perProcessSources(o, p.clients) > 250 || p.clients+p.stalled > 50_000 {
		return p, fmt.Errorf("%d connections from %d client processes need more source addresses than planned for", o.Conns, p.clients)
	}
	return p, nil
}

func ceil(n, by int) int { return (n + by - 1) / by }

func perProcessSources(o *Options, clients int) int {
	n := ceil(ceil(o.Conns, clients), perSource)
	if o.Scenario == "churn" || o.Scenario == "storm" {
		n = max(n, churnSources)
	}
	return n
}

// configs makes one config per client process. addrs are the servers' ports:
// a single one, or for broadcasts one per group.
func (p plan) configs(o *Options, addrs []string, secret uint64) []client.Config {
	cfgs := make([]client.Config, p.clients)
	var id uint32
	for i := range cfgs {
		c := client.Config{
			FirstID: id, Host: o.host, Path: o.path, Broadcast: o.broadcasts(), Secret: secret,
			Loops: o.ClientLoops, ConnectRate: o.ConnectRate / float64(p.clients),
			MaxHandshakes: max(1, min(o.Handshakes, p.handshakes/p.clients)),
			MaxMessage:    max(64<<10, o.Size+1024), MaxInFlight: o.InFlight,
			HandshakeTimeout: o.ReplyTimeout, ReplyTimeout: o.ReplyTimeout,
		}
		if o.Rate > 0 && !o.broadcasts() {
			c.MaxInFlight = max(c.MaxInFlight, 16)
		}
		if c.Host == "" {
			c.Host = addrs[0]
		}
		if o.loopback {
			c.SourceFirst, c.SourceCount = source(i), perProcessSources(o, p.clients)
		}
		for g, addr := range addrs {
			t := client.Target{Addr: addr, Group: g}
			inGroup := client.Share(int64(o.Conns), g, len(addrs))
			t.Conns = int(client.Share(inGroup, i, p.clients))
			if o.Scenario == "slow" {
				t.Slow = int(float64(t.Conns)*o.Slow + 0.5)
			}
			t.Publisher = o.broadcasts() && g%p.clients == i
			id += uint32(t.Conns)
			if t.Publisher {
				id++
			}
			c.Targets = append(c.Targets, t)
		}
		cfgs[i] = c
	}
	return cfgs
}

// stalledConfigs makes one config per client process of the connections that
// stall. Their source addresses follow those of the others.
func (p plan) stalledConfigs(o *Options, addrs []string, secret uint64) []client.Config {
	cfgs := make([]client.Config, p.stalled)
	var id uint32
	for i := range cfgs {
		conns := int(client.Share(int64(3*o.Stalled), i, p.stalled))
		cfgs[i] = client.Config{
			Targets: []client.Target{{Addr: addrs[0], Conns: conns}},
			FirstID: id, Host: o.host, Path: o.path, Stall: true, Secret: secret,
			MaxHandshakes:    max(1, min(o.Handshakes, p.handshakes/p.stalled)),
			HandshakeTimeout: o.ReplyTimeout,
		}
		if o.host == "" {
			cfgs[i].Host = addrs[0]
		}
		if o.loopback {
			cfgs[i].SourceFirst, cfgs[i].SourceCount = source(p.clients+i), churnSources
		}
		id += uint32(conns)
	}
	return cfgs
}

// source is the first source address of client process i; 250 follow it.
func source(i int) string {
	a := netip.AddrFrom4([4]byte{127, byte(1 + i/250), byte(i % 250), 1})
	return a.String()
}
