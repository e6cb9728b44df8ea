package client_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"wsgateway/bench/internal/client"
	"wsgateway/bench/internal/handshake"
)

// liar is a server that answers as a test tells it.
type liar struct {
	// head answers a request; empty stands for the right answer.
	head func(r *http.Request) string
	// echo turns a message into the bytes sent back; nil stands for the echo.
	// The connection ends after an empty answer.
	echo func(p []byte) []byte
	// reset ends with an RST instead of FIN.
	reset bool
}

func (s liar) listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { s.serve(c) })
		}
	})
	// The engine's own cleanup runs first and ends the connections.
	t.Cleanup(func() {
		_ = l.Close()
		served.Wait()
	})
	return l.Addr().String()
}

func (s liar) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	head := ""
	if s.head != nil {
		head = s.head(r)
	}
	if head == "" {
		var k handshake.Key
		copy(k[:], r.Header.Get("Sec-WebSocket-Key"))
		a := k.Accept()
		head = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + string(a[:]) + "\r\n\r\n"
	}
	if _, err := io.WriteString(c, head); err != nil {
		return
	}
	for {
		p, opcode, err := readFrame(in)
		if err != nil {
			return
		}
		var answer []byte
		switch {
		case opcode == 8 && s.echo == nil:
			_, _ = c.Write(serverFrame(0x88, p))
			return
		case s.echo == nil:
			answer = serverFrame(0x82, p)
		default:
			answer = s.echo(p)
		}
		if len(answer) == 0 {
			if s.reset {
				_ = c.(*net.TCPConn).SetLinger(0)
			}
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// readFrame reads a masked frame of less than 126 bytes.
func readFrame(r io.Reader) (p []byte, opcode byte, err error) {
	var h [6]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, 0, err
	}
	if h[1] < 0x80 || h[1] > 0x80+125 {
		return nil, 0, errors.New("frame not masked or too long")
	}
	p = make([]byte, h[1]-0x80)
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, 0, err
	}
	for i := range p {
		p[i] ^= h[2+i%4]
	}
	return p, h[0] & 0x0f, nil
}

// serverFrame is an unmasked frame of less than 126 bytes.
func serverFrame(first byte, p []byte) []byte { return append([]byte{first, byte(len(p))}, p...) }

func closeFrame(code uint16) []byte {
	return serverFrame(0x88, binary.BigEndian.AppendUint16(nil, code))
}

func TestLies(t *testing.T) {
	fixed := func(head string) func(*http.Request) string { return func(*http.Request) string { return head } }
	echo := func(f func(p []byte) []byte) liar { return liar{echo: f} }
	tests := []struct {
		name string
		liar liar
		kind string
	}{
		{"refuses", liar{head: fixed("HTTP/1.1 503 Busy\r\n\r\n")}, "refused-503"},
		{"wrong accept", liar{head: fixed("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n")}, client.KindHandshake},
		{"not HTTP", liar{head: fixed("SSH-2.0\r\n\r\n")}, client.KindHandshake},
		{"endless head", liar{head: fixed(strings.Repeat("x", handshake.MaxHead+1))}, client.KindHandshake},
		{"one bit flipped", echo(func(p []byte) []byte {
			p[len(p)-1] ^= 1
			return serverFrame(0x82, p)
		}), client.KindMismatch},
		{"cut short", echo(func(p []byte) []byte { return serverFrame(0x82, p[1:]) }), client.KindMismatch},
		{"text instead of binary", echo(func(p []byte) []byte { return serverFrame(0x81, p) }), client.KindMismatch},
		{"twice", echo(func(p []byte) []byte { return append(serverFrame(0x82, p), serverFrame(0x82, p)...) }), client.KindMismatch},
		{"masked", echo(func(p []byte) []byte { return append([]byte{0x82, 0x80 | byte(len(p)), 0, 0, 0, 0}, p...) }), client.KindProtocol},
		{"reserved bit", echo(func(p []byte) []byte { return serverFrame(0xC2, p) }), client.KindProtocol},
		{"long length form", echo(func(p []byte) []byte { return append([]byte{0x82, 126, 0, byte(len(p))}, p...) }), client.KindProtocol},
		{"too long", echo(func([]byte) []byte { return []byte{0x82, 127, 0, 0, 0, 0, 0x7f, 0, 0, 0} }), client.KindProtocol},
		{"continuation of nothing", echo(func(p []byte) []byte { return serverFrame(0x80, p) }), client.KindProtocol},
		{"fragment in a fragment", echo(func(p []byte) []byte { return append(serverFrame(0x02, p), serverFrame(0x82, p)...) }), client.KindProtocol},
		{"bad close code", echo(func([]byte) []byte { return closeFrame(1005) }), client.KindProtocol},
		{"closes", echo(func([]byte) []byte { return closeFrame(1013) }), "closed-1013"},
		{"FIN", echo(func([]byte) []byte { return nil }), "closed-1006"},
		{"RST", liar{echo: func([]byte) []byte { return nil }, reset: true}, "closed-1006"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			const conns = 20
			e := engine(t, config(tt.liar.listen(t), conns))
			sum := client.NewStats()
			for _, op := range []client.Op{client.OpConnect, client.OpRound, client.OpClose} {
				sum.Merge(run(t, e, client.Command{Op: op, Size: 64}))
			}
			if sum.Errors[tt.kind] != conns || sum.ErrorCount() != conns {
				t.Errorf("errors %v, want %d %s; %q", sum.Errors, conns, tt.kind, sum.Samples)
			}
			if len(sum.Samples) == 0 || len(sum.Samples) > 16 {
				t.Errorf("%d samples", len(sum.Samples))
			}
		})
	}
}

// run runs a command that may count errors.
func run(t *testing.T, e *client.Engine, cmd client.Command) *client.Stats {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	st, err := e.Do(ctx, cmd)
	if err != nil {
		t.Fatalf("%s: %v", cmd.Op, err)
	}
	return st
}

func TestSilence(t *testing.T) {
	block := make(chan struct{})
	mute := liar{echo: func([]byte) []byte {
		<-block
		return nil
	}}
	cfg := config(mute.listen(t), 3)
	t.Cleanup(func() { close(block) })
	cfg.ReplyTimeout = time.Millisecond
	e := engine(t, cfg)
	run(t, e, client.Command{Op: client.OpConnect})
	if st := run(t, e, client.Command{Op: client.OpRound, Size: 8}); st.Errors[client.KindTimeout] != 3 || st.Open != 0 {
		t.Errorf("errors %v, %d open", st.Errors, st.Open)
	}
}

func TestCrossDelivery(t *testing.T) {
	var mu sync.Mutex
	var last []byte
	mixed := liar{echo: func(p []byte) []byte { // each gets the message before
		mu.Lock()
		defer mu.Unlock()
		p, last = last, p
		if p == nil {
			p = last
		}
		return serverFrame(0x82, p)
	}}
	e := engine(t, config(mixed.listen(t), 2))
	if st := run(t, e, client.Command{Op: client.OpChurn, Size: 32, Cycles: 10}); st.Errors[client.KindCross] != 9 || st.Cycles != 10 {
		t.Errorf("errors %v in %d cycles, want 9 cross-deliveries in 10", st.Errors, st.Cycles)
	}
}

// TestHonestOddities are answers that look strange and are right.
func TestHonestOddities(t *testing.T) {
	tests := []struct {
		name  string
		echo  func(p []byte) []byte
		pings int64
	}{
		{"fragments with a ping between", func(p []byte) []byte {
			out := append(serverFrame(0x02, p[:1]), serverFrame(0x89, []byte("hi"))...)
			return append(append(out, serverFrame(0x00, p[1:1])...), serverFrame(0x80, p[1:])...)
		}, 5},
		{"pong that nobody asked for", func(p []byte) []byte {
			return append(serverFrame(0x8A, nil), serverFrame(0x82, p)...)
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := liar{echo: func(p []byte) []byte {
				if string(p) == "hi" { // our pong comes back as a message
					return serverFrame(0x8A, nil)
				}
				return tt.echo(p)
			}}
			e := engine(t, config(s.listen(t), 1))
			do(t, e, client.Command{Op: client.OpConnect})
			var pings int64
			for range 5 {
				pings += do(t, e, client.Command{Op: client.OpRound, Size: 40}).Pings
			}
			if pings != tt.pings {
				t.Errorf("%d pings, want %d", pings, tt.pings)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	e := engine(t, config(addr, 30))
	if st := run(t, e, client.Command{Op: client.OpConnect}); st.Errors[client.KindDial] != 30 {
		t.Errorf("errors %v", st.Errors)
	}
}

// TestRetry refuses everybody once.
func TestRetry(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]bool)
	picky := liar{head: func(r *http.Request) string {
		mu.Lock()
		defer mu.Unlock()
		if len(seen) < 10 {
			seen[r.Header.Get("Sec-WebSocket-Key")] = true
			return "HTTP/1.1 503 Busy\r\n\r\n"
		}
		return ""
	}}
	e := engine(t, config(picky.listen(t), 10))
	st := do(t, e, client.Command{Op: client.OpConnect, Retry: true})
	if st.Open != 10 || st.Retries != 10 || st.Refused["refused-503"] != 10 {
		t.Errorf("%d open, %d retries, refused %v", st.Open, st.Retries, st.Refused)
	}
}
