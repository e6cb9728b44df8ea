package main

import (
	"bufio"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"wsgateway/bench/internal/handshake"
	"wsgateway/bench/internal/report"
)

// result runs the command for one scenario and returns its report.
func result(t *testing.T, want int, args ...string) *report.Result {
	t.Helper()
	code, stdout, stderr := bench(t, append(args, "-json", "-")...)
	var rep report.Report
	if err := json.Unmarshal([]byte(stdout), &rep); err != nil || code != want || len(rep.Results) != 1 {
		t.Fatalf("exit %d, want %d: %v\n%s\n%s", code, want, err, stdout, stderr)
	}
	return rep.Results[0]
}

func TestStall(t *testing.T) {
	r := result(t, 0, "-url", echo(t), "-scenario", "stall", "-stalled", "20", "-rounds", "2",
		"-duration", "100ms", "-warmup", "1ms", "-settle", "1ms")
	s := r.Stall
	if r.Asked != 100 || r.Held != 100 || s == nil || s.Asked != 60 || s.AtStart != 60 || s.AtEnd != 60 || len(s.Closed) != 0 || len(s.Rounds) != 2 {
		t.Fatalf("%+v: %+v", r, s)
	}
	if s.P50Without <= 0 || s.P99With < s.P50With || s.P99Ratio <= 0 || r.Messages < 100 || r.Clients != 2 {
		t.Errorf("%+v: %+v", r, s)
	}
	for _, x := range s.Rounds {
		if x.Without.Count == 0 || x.With.Count == 0 || x.AtEnd["handshake"] != 20 {
			t.Errorf("round %+v", x)
		}
	}
}

func TestStallRatioFails(t *testing.T) {
	r := result(t, exitErrors, "-url", echo(t), "-scenario", "stall", "-conns", "5", "-stalled", "1", "-rounds", "1",
		"-duration", "50ms", "-warmup", "1ms", "-settle", "1ms", "-max-ratio", "0.000001")
	if r.Errors["ratio"] != 1 || r.ErrorCount() != 1 {
		t.Errorf("errors %v", r.Errors)
	}
}

// mini is a small WebSocket server whose conduct a test chooses.
type mini struct {
	served sync.WaitGroup
	open   func(c net.Conn)           // before the handshake is answered
	frame  func(c net.Conn, f []byte) // a message, as the server would send it
}

func (m *mini) start(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			m.served.Go(func() { m.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		m.served.Wait()
	})
	return "ws://" + l.Addr().String() + "/"
}

// serve takes masked frames of less than 126 bytes and hands them on unmasked.
func (m *mini) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	var k handshake.Key
	copy(k[:], r.Header.Get("Sec-WebSocket-Key"))
	a := k.Accept()
	m.open(c)
	_, _ = io.WriteString(c, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+string(a[:])+"\r\n\r\n")
	for {
		var h [6]byte
		if _, err := io.ReadFull(in, h[:]); err != nil {
			return
		}
		f := append([]byte{h[0], h[1] & 0x7f}, make([]byte, h[1]&0x7f)...)
		if _, err := io.ReadFull(in, f[2:]); err != nil {
			return
		}
		for i := range f[2:] {
			f[2+i] ^= h[2+i%4]
		}
		if h[0] == 0x88 {
			_, _ = c.Write(f)
			return
		}
		m.frame(c, f)
	}
}

// TestSlowAll has all readers stop. The server resets each of them after the same number of messages,
// which the buffers of a socket hold: no clock decides. The publisher reads, and stays.
func TestSlowAll(t *testing.T) {
	const unread = 50
	var mu sync.Mutex
	sent := make(map[net.Conn]int)
	m := &mini{}
	m.open = func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		sent[c] = 0
	}
	m.frame = func(publisher net.Conn, f []byte) {
		mu.Lock()
		defer mu.Unlock()
		for c := range sent {
			if _, err := c.Write(f); err != nil {
				t.Errorf("after %d messages: %v", sent[c], err)
			}
			if sent[c]++; sent[c] == unread && c != publisher {
				_ = c.(*net.TCPConn).SetLinger(0)
				_ = c.Close()
				delete(sent, c)
			}
		}
	}
	r := result(t, 0, "-url", m.start(t), "-pid", strconv.Itoa(os.Getpid()), "-scenario", "slow", "-slow", "1",
		"-conns", "6", "-size", "120", "-rate", "3000", "-duration", "5s", "-settle", "300ms")
	s := r.Slow
	if s.Stopped != 6 || s.Closed != 6 || s.Survived != 0 || r.Broadcast.Published == 0 || r.Broadcast.Deliveries != 0 || r.Seconds > 25 {
		t.Errorf("%+v: %+v, %+v", r, s, r.Broadcast)
	}
	if s.Memory == nil || s.Memory.PeakPerReader != float64(s.Memory.Peak)/6 || s.Queues != nil {
		t.Errorf("memory %+v, queues %+v", s.Memory, s.Queues)
	}
}

// TestChurnLeak has a server that keeps a descriptor of each connection.
func TestChurnLeak(t *testing.T) {
	var mu sync.Mutex
	var kept []*os.File
	t.Cleanup(func() {
		for _, f := range kept {
			_ = f.Close()
		}
	})
	after := math.MaxInt // connections, from which on the server leaks
	m := &mini{frame: func(c net.Conn, f []byte) { _, _ = c.Write(f) }}
	m.open = func(net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		if after--; after >= 0 || len(kept) == 50 {
			return
		}
		if f, err := os.Open(os.DevNull); err == nil {
			kept = append(kept, f)
		}
	}
	args := []string{"-url", m.start(t), "-pid", strconv.Itoa(os.Getpid()), "-scenario", "churn", "-conns", "10",
		"-cycles", "200", "-size", "100", "-settle", "100ms"}
	r := result(t, 0, args...)
	c := r.Churn
	if c.Cycles != 200 || c.Before == nil || c.After == nil || c.Before.Descriptors < 3 || c.Before.RSS == 0 || c.Before.Goroutines != 0 {
		t.Errorf("%+v: before %+v, after %+v", c, c.Before, c.After)
	}
	mu.Lock()
	after = 1000 // the warm-up
	mu.Unlock()
	r = result(t, exitErrors, args...)
	if r.Errors["leak"] != 1 || r.ErrorCount() != 1 || r.Churn.After.Descriptors < r.Churn.Before.Descriptors+40 || !strings.Contains(strings.Join(r.Samples, ""), "descriptors") {
		t.Errorf("%v %q: before %+v, after %+v", r.Errors, r.Samples, r.Churn.Before, r.Churn.After)
	}
}
