package session_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// way is one way for a session to end.
type way struct {
	share   int           // how often, in relation to the others
	command string        // for OnOpen, see watcher.obey
	early   func(p *peer) // instead of a handshake
	do      func(p *peer) // after it
	slow    bool          // takes as long as a timeout
}

var ways = []way{
	{share: 150, do: func(p *peer) { p.write(closeFrame(1000)); p.drain() }},
	{share: 60, do: func(p *peer) { p.write(closeFrame(0)); p.drain() }},
	{share: 60, command: "close", do: func(p *peer) { p.answerClose(); p.drain() }},
	{share: 80, do: func(p *peer) {
		p.write(masked(ws.OpText, "close") + masked(ws.OpText, "more"))
		p.answerClose()
		p.drain()
	}},
	{share: 160, do: bothClose},
	{share: 100, do: func(p *peer) { p.reset() }},
	{share: 20, early: func(p *peer) { p.write(p.request("")); p.reset() }},
	{share: 60, do: func(p *peer) { p.halfClose(); p.drain() }},
	{share: 40, do: func(*peer) {}}, // just closed
	{share: 80, do: func(p *peer) { p.write(pick(p.rnd, violations)); p.drain() }},
	{share: 20, do: func(p *peer) { p.write(strings.Repeat(masked(ws.OpPing, ""), 40)); p.drain() }},
	{share: 30, command: "panic", do: func(p *peer) { p.answerClose(); p.drain() }},
	{share: 50, do: func(p *peer) { p.write(masked(pick(p.rnd, opcodes), "panic")); p.answerClose(); p.drain() }},
	{share: 30, command: "late", do: func(p *peer) { p.halfClose(); p.drain() }},
	{share: 10, do: func(p *peer) { p.write(masked(ws.OpText, "flood")); p.awaitOver(); p.drain() }},
	{share: 4, slow: true, do: func(p *peer) { p.write(masked(ws.OpText, "stall")); p.awaitOver(); p.drain() }},
	{share: 4, slow: true, do: func(p *peer) { p.write(pick(p.rnd, halves)); p.drain() }},
	{share: 4, slow: true, do: func(p *peer) { p.write(masked(ws.OpText, "close")); p.drain() }}, // without an answer
	{share: 4, slow: true, do: func(p *peer) { p.drain() }},                                      // nor to pings
	// Those who never get a session:
	{share: 4, slow: true, early: func(p *peer) { p.write(p.request("")[:p.rnd.IntN(60)]); p.drain() }},
	{share: 10, early: func(p *peer) { p.write(p.request("")[:p.rnd.IntN(60)]); p.reset() }},
	{share: 10, early: func(p *peer) { p.write("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"); p.drain() }},
}

var opcodes = []ws.OpCode{ws.OpText, ws.OpBinary, ws.OpPing, ws.OpPong}

var violations = []string{
	"\x81\x01a",                                      // not masked
	"\x83\x80\x00\x00\x00\x00",                       // reserved opcode
	masked(ws.OpText, "\xff"),                        // no UTF-8
	"\x82\xff\x00\x00\x00\x00\x7f\x00\x00\x00",       // long, and
	masked(ws.OpContinuation, ""),                    // a continuation of nothing
	closeFrame(1006),                                 // a code that must not be sent
	masked(ws.OpText, strings.Repeat("x", 100))[:50], // not complete
}

var halves = []string{"\x81", "\x82\x84\x00\x00\x00\x00\x01\x02", "\x01\x81\x00\x00\x00\x00a"}

// staying is the way of clients that are there when the server ends. Some do not answer its Close.
var staying = way{do: func(p *peer) {
	if p.rnd.IntN(4) > 0 {
		p.answerClose()
	}
	p.drain()
}}

// bothClose has both sides begin to close, a little apart or at once.
func bothClose(p *peer) {
	race, end := masked(ws.OpText, "race"), closeFrame(3000)
	switch p.rnd.IntN(3) {
	case 0:
		p.write(race + end)
	case 1:
		p.write(race)
		p.write(end)
	default:
		p.write(race)
		p.answerClose()
	}
	p.drain()
}

// masked returns a small frame with a mask of zeros.
func masked(op ws.OpCode, payload string) string {
	return string([]byte{0x80 | byte(op), 0x80 | byte(len(payload)), 0, 0, 0, 0}) + payload
}

// closeFrame returns a Close frame, one without a code for 0.
func closeFrame(code uint16) string {
	if code == 0 {
		return masked(ws.OpClose, "")
	}
	return masked(ws.OpClose, string([]byte{byte(code >> 8), byte(code)}))
}

func pick[T any](rnd *rand.Rand, list []T) T { return list[rnd.IntN(len(list))] }

// crew is the clients of one server.
type crew struct {
	w         *watcher
	tcp, unix string // addresses
	names     atomic.Int64
}

// peer is one client.
type peer struct {
	*crew
	rnd  *rand.Rand
	conn net.Conn
	r    *bufio.Reader
	name string
	over chan struct{} // closed by OnClose
}

// start starts all clients. It returns when those that are slow have ended.
func (c *crew) start(clients *sync.WaitGroup, seed uint64) {
	first := seed + 1<<20
	only := func(way *way) func() {
		seed++
		rnd := rand.New(rand.NewPCG(seed, 0))
		return func() { c.one(rnd, bufio.NewReader(nil), way) }
	}
	for range longLived {
		clients.Go(only(&staying))
	}
	for i := range shortLived {
		clients.Go(func() { c.run(first + uint64(i)) })
	}
	var slow sync.WaitGroup
	for i := range ways {
		for range slowOnes {
			if ways[i].slow {
				slow.Go(only(&ways[i]))
			}
		}
	}
	slow.Wait()
}

// run is one client after the other, until the server takes no more.
func (c *crew) run(seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	r := bufio.NewReaderSize(nil, 512)
	for c.one(rnd, r, c.choose(rnd)) {
	}
}

func (c *crew) choose(rnd *rand.Rand) *way {
	total := 0
	for i := range ways {
		total += ways[i].share
	}
	n := rnd.IntN(total)
	for i := range ways {
		if n -= ways[i].share; n < 0 {
			return &ways[i]
		}
	}
	panic("unreachable")
}

// one is one client. It reports false when the server has closed its listeners.
func (c *crew) one(rnd *rand.Rand, r *bufio.Reader, way *way) bool {
	conn, err := c.dial(rnd)
	if err != nil {
		if !c.w.srv.Draining() {
			c.w.fault("connecting: %v", err)
		}
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	r.Reset(conn)
	p := &peer{crew: c, rnd: rnd, conn: conn, r: r, name: fmt.Sprint(c.names.Add(1)), over: make(chan struct{})}
	c.w.waiting.Store(p.name, p.over)
	if way.early != nil {
		way.early(p)
	} else if p.write(p.request(way.command)); p.upgraded() {
		way.do(p)
	}
	if conn, ok := conn.(*net.TCPConn); ok {
		_ = conn.SetLinger(0) // leaves no TIME_WAIT
	}
	return true
}

// dial connects by one of the ways, from any of the addresses of the loopback interface.
func (c *crew) dial(rnd *rand.Rand) (net.Conn, error) {
	if rnd.IntN(2) == 0 {
		return net.Dial("unix", c.unix)
	}
	from := net.TCPAddr{IP: net.IPv4(127, byte(rnd.IntN(256)), byte(rnd.IntN(256)), 1+byte(rnd.IntN(254)))}
	return (&net.Dialer{LocalAddr: &from}).Dial("tcp", c.tcp)
}

func (p *peer) request(command string) string {
	return "GET /?" + command + "." + p.name + " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
}

// upgraded reads the answer to the handshake.
func (p *peer) upgraded() bool {
	line, err := p.r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 101 ") {
		p.readable(err)
		return false
	}
	for line != "\r\n" && err == nil {
		line, err = p.r.ReadString('\n')
	}
	return err == nil
}

// readable reports a server that keeps its client waiting.
func (p *peer) readable(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.w.fault("%s: the server does not close the connection", p.name)
	}
	return err == nil
}

func (p *peer) write(s string) { _, _ = io.WriteString(p.conn, s) } // or the server was first

// drain reads until the server closes the connection.
func (p *peer) drain() {
	_, err := p.r.WriteTo(io.Discard)
	p.readable(err)
}

// answerClose reads until the server's Close frame, and answers pings and it.
func (p *peer) answerClose() {
	for {
		h, err := ws.ReadHeader(p.r)
		if err != nil {
			p.readable(err)
			return
		}
		if _, err = p.r.Discard(int(h.Length)); !p.readable(err) {
			return
		}
		switch h.OpCode {
		case ws.OpPing:
			p.write(masked(ws.OpPong, ""))
		case ws.OpClose:
			p.write(closeFrame(1000))
			return
		}
	}
}

// reset ends the connection with a RST; a unix socket knows none.
func (p *peer) reset() {
	if conn, ok := p.conn.(*net.TCPConn); ok {
		_ = conn.SetLinger(0)
	}
	_ = p.conn.Close()
}

func (p *peer) halfClose() { _ = p.conn.(interface{ CloseWrite() error }).CloseWrite() }

// awaitOver reads nothing until the session is over.
func (p *peer) awaitOver() {
	select {
	case <-p.over:
	case <-time.After(patience):
		p.w.fault("%s: no OnClose for a client that does not read", p.name)
	}
}
