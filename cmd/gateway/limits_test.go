package main

import (
	"bufio"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/netpoll"
	"wsgateway/session"
)

// The largest values that the flags take are those that the packages below take, and the gateway starts
// with them.
func TestLargestValues(t *testing.T) {
	all := "!#$%&'*+-.^_`|~" + "0189AZaz"
	g, _, _ := startGateway(t, "-queue-bytes", fmt.Sprint(netpoll.MaxQueueBytes), "-queue-total-bytes", fmt.Sprint(netpoll.MaxQueueBytes),
		"-subprotocol", all+","+manyNames(session.MaxSubprotocols-1), "-workers", "2", "-loops", "1")
	stop(t, g)
	tooMany := int64(netpoll.MaxQueueBytes) + 1 // negative, and as wrong, where an int has 32 bits
	for name, change := range map[string]func(*config){
		"-queue-bytes":       func(c *config) { c.server.Reactor.QueueBytes = int(tooMany) },
		"-queue-total-bytes": func(c *config) { c.server.Reactor.QueueTotalBytes = tooMany },
		"-subprotocol":       func(c *config) { c.routes[0].subprotocols = make([]string, session.MaxSubprotocols+1) },
	} {
		conf := configure(t)
		change(conf)
		if g, err := prepare(conf, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: the bound could be higher", name)
			g.server.Close()
			g.admin.close()
		}
	}
}

// A message of -max-message bytes in fragments fits into the least -inbound-total-bytes. This one is just
// larger than one of the buffers that it grows through.
func TestLeastInboundBytesForMessage(t *testing.T) {
	const size = 1<<19 + 1
	payload := strings.Repeat("x", size)
	g, addr, _ := startGateway(t, "-max-message", fmt.Sprint(size), "-inbound-total-bytes", fmt.Sprint(3*size))
	defer stop(t, g)
	c := wstest.Dial(t, addr, "/")
	c.Send(ws.NewFrame(ws.OpText, false, []byte(payload[:size/2])))
	c.Send(ws.NewFrame(ws.OpContinuation, false, []byte(payload[:size/2])))
	c.Send(ws.NewFrame(ws.OpContinuation, true, []byte("x")))
	c.WantText(payload)
	c.Leave()
}

// With the least -inbound-total-bytes every head gets the answer that is right for it; with a byte less
// there would not be room for one that is too long.
func TestLeastInboundBytes(t *testing.T) {
	for less, want := range map[int64]string{0: "HTTP/1.1 431 ", 1: "HTTP/1.1 503 "} {
		conf := configure(t, "-max-message", "16384", "-inbound-total-bytes", fmt.Sprint(3*16384))
		conf.server.InboundBytes -= less
		g := start(t, conf, slog.New(slog.DiscardHandler))
		c := wstest.Connect(t, g.addrs[0])
		head := strings.TrimSuffix(wstest.Request("/channels"), "\r\n")
		for i := 0; len(head) < 16382; i++ {
			head += fmt.Sprintf("X-%d: %s\r\n", i, strings.Repeat("x", 1000))
		}
		fmt.Fprint(c, head[:16382])
		waits.Becomes(t, func() int64 { return g.server.Stats().InboundBytes }, 16384, "bytes for a head that waits for its end")
		fmt.Fprint(c, strings.Repeat("x", 100))
		if line, err := bufio.NewReader(c).ReadString('\n'); !strings.HasPrefix(line, want) {
			t.Errorf("%d bytes less: answered with %q, %v, want %s", less, line, err, want)
		}
		c.Close()
		stop(t, g)
	}
}
