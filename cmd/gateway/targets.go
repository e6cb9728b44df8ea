package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"wsgateway/broadcast"
	"wsgateway/echo"
	"wsgateway/session"
	"wsgateway/target"
	"wsgateway/webpubsub"
	"wsgateway/wsproto"
)

// kinds are the targets that a configuration can name, each with what makes one for a route.
var kinds = map[string]func(routeConfig, *config) (*mount, error){
	"echo":      mountEcho,
	"broadcast": mountBroadcast,
	"webpubsub": mountWebPubSub,
}

// mount is a target at the path of a route.
type mount struct {
	target.Target
	routes []session.Route
	path   string
	notice string // for the log at the start, "" for none
}

// newMounts makes the targets of a configuration. It may look up names of addresses, and take long.
func newMounts(c *config) ([]*mount, error) {
	var mounts []*mount
	for _, rc := range c.routes {
		kind, ok := kinds[rc.target]
		if !ok {
			return nil, fmt.Errorf("route %s: there is no target %q", rc.path, rc.target)
		}
		m, err := kind(rc, c)
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", rc.path, err)
		}
		for i := range m.routes {
			rc.limit(&m.routes[i])
		}
		m.path = rc.path
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// limit gives a route of a target the settings that any route has.
func (rc *routeConfig) limit(r *session.Route) {
	r.Origins = rc.origins
	r.Deflate = rc.compress
	r.MaxMessage = rc.maxMessage
	r.MaxFragments = rc.maxFragments
}

func mountEcho(rc routeConfig, _ *config) (*mount, error) {
	return mountAnyMessage(rc, echo.Target{}), nil
}

func mountBroadcast(rc routeConfig, _ *config) (*mount, error) {
	t, err := broadcast.New("broadcast:" + rc.path)
	if err != nil {
		return nil, err
	}
	return mountAnyMessage(rc, t), nil
}

// mountAnyMessage mounts a target that gives messages no meaning: the configuration says which
// subprotocols and types they may have.
func mountAnyMessage(rc routeConfig, t target.Target) *mount {
	m := &mount{Target: t, routes: t.Routes(rc.path)}
	for i := range m.routes {
		m.routes[i].Subprotocols, m.routes[i].Only = rc.subprotocols, rc.only
	}
	return m
}

func mountWebPubSub(rc routeConfig, c *config) (*mount, error) {
	open := rc.access == accessAll || rc.access == accessByAddress && local(c.listen)
	t, err := webpubsub.New(webpubsub.Config{Open: open, Hint: "the gateway permits it with -channels-open"})
	if err != nil {
		return nil, err
	}
	m := &mount{Target: t, routes: t.Routes(rc.path)}
	if open && rc.access == accessByAddress && len(rc.origins) == 0 {
		for i := range m.routes {
			m.routes[i].OnUpgrade = session.ChainUpgrade(localPage, m.routes[i].OnUpgrade)
		}
	}
	if open {
		m.notice = "channels are open: every client may join and publish to every group"
	} else {
		m.notice = "channels are closed: clients may neither join nor publish, unless -channels-open is given"
	}
	return m, nil
}

// local reports whether only this machine can connect to addresses: they are loopback addresses and
// unix sockets. It does not know of proxies on this machine.
func local(addrs []string) bool {
	for _, addr := range addrs {
		if strings.HasPrefix(addr, "unix:") {
			continue
		}
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil || !a.IP.IsLoopback() {
			return false
		}
	}
	return true
}

// localPage refuses web pages that do not come from this machine. The host of the request must be
// this machine too: a page can make its own name resolve to it (DNS rebinding).
func localPage(u *session.Upgrade) error {
	if u.Request.Origin == nil {
		return nil // not a browser
	}
	host := string(u.Request.Host)
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); !strings.EqualFold(host, "localhost") && (err != nil || !ip.IsLoopback()) {
		return wsproto.Refusal(http.StatusForbidden, "not for pages of other hosts, unless -origin or -channels-open is given")
	}
	return session.SameOrigin(u)
}
