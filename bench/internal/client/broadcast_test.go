package client_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"wsgateway/bench/internal/client"
	"wsgateway/bench/internal/handshake"
)

// hub broadcasts every message to all; twist may change what one of them gets.
type hub struct {
	mu    sync.Mutex
	conns []net.Conn
	count int
	twist func(n int, frame []byte) []byte
	held  []byte
}

func (h *hub) listen(t *testing.T) string {
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
			served.Go(func() { h.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		served.Wait()
	})
	return l.Addr().String()
}

func (h *hub) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	var k handshake.Key
	copy(k[:], r.Header.Get("Sec-WebSocket-Key"))
	a := k.Accept()
	h.mu.Lock()
	_, err = io.WriteString(c, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+string(a[:])+"\r\n\r\n")
	h.conns = append(h.conns, c)
	h.mu.Unlock()
	for err == nil {
		var p []byte
		var opcode byte
		if p, opcode, err = readFrame(in); err != nil {
			return
		}
		if opcode == 8 {
			_, _ = c.Write(serverFrame(0x88, p))
			return
		}
		h.send(serverFrame(0x82, p))
	}
}

func (h *hub) send(f []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.conns {
		out := f
		if h.twist != nil {
			out = h.twist(h.count, f)
		}
		_, _ = c.Write(out)
	}
	h.count++
}

func TestBroadcast(t *testing.T) {
	const readers = 10
	tests := []struct {
		name                      string
		twist                     func(h *hub) func(n int, f []byte) []byte
		missing, duplicate, order int64
	}{
		{"all right", nil, 0, 0, 0},
		{"message 3 is lost", func(*hub) func(int, []byte) []byte {
			return func(n int, f []byte) []byte {
				if n == 3 {
					return nil
				}
				return f
			}
		}, readers, 0, 0},
		{"message 3 comes twice", func(*hub) func(int, []byte) []byte {
			return func(n int, f []byte) []byte {
				if n == 3 {
					return append(append([]byte(nil), f...), f...)
				}
				return f
			}
		}, 0, readers, 0},
		{"message 3 comes after 4", func(h *hub) func(int, []byte) []byte {
			return func(n int, f []byte) []byte {
				switch n {
				case 3:
					h.held = f
					return nil
				case 4:
					return append(append([]byte(nil), f...), h.held...)
				}
				return f
			}
		}, 0, 0, readers},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := &hub{}
			if tt.twist != nil {
				h.twist = tt.twist(h)
			}
			addr := h.listen(t)
			cfg := config(addr, readers)
			cfg.Broadcast, cfg.Targets[0].Publisher = true, true
			e := engine(t, cfg)
			do(t, e, client.Command{Op: client.OpConnect})
			do(t, e, client.Command{Op: client.OpPublish, Size: 64, Rate: 1000})
			until(t, e, 8*readers)
			sum := run(t, e, client.Command{Op: client.OpStop})
			published := sum.Published[0]
			sum.Merge(run(t, e, client.Command{Op: client.OpDrain, Size: 64, Expect: sum.Published}))
			got := [3]int64{sum.Errors[client.KindMissing], sum.Errors[client.KindDuplicate], sum.Errors[client.KindOrder]}
			want := [3]int64{tt.missing, tt.duplicate, tt.order}
			if got != want || sum.ErrorCount() != tt.missing+tt.duplicate+tt.order {
				t.Errorf("missing, duplicate, out of order = %v, want %v; %v", got, want, sum.Errors)
			}
			if want := published*readers - tt.missing; sum.Received != want || sum.RoundTrip.Count() != want {
				t.Errorf("received %d with %d latencies, want %d", sum.Received, sum.RoundTrip.Count(), want)
			}
		})
	}
}

// TestSlow has two of ten readers stop: they get everything later.
func TestSlow(t *testing.T) {
	h := &hub{}
	cfg := config(h.listen(t), 10)
	cfg.Broadcast, cfg.Targets[0].Publisher, cfg.Targets[0].Slow = true, true, 2
	e := engine(t, cfg)
	do(t, e, client.Command{Op: client.OpConnect})
	do(t, e, client.Command{Op: client.OpPublish, Size: 32, Rate: 1000})
	until(t, e, 8*20)
	sum := do(t, e, client.Command{Op: client.OpStop})
	expect := sum.Published
	sum.Merge(do(t, e, client.Command{Op: client.OpDrain, Size: 32, Expect: expect}))
	if sum.Received != expect[0]*8 {
		t.Errorf("received %d of %d messages by 8 readers", sum.Received, expect[0])
	}
	if st := do(t, e, client.Command{Op: client.OpResume, Size: 32, Expect: expect}); st.SlowSurvived != 2 || st.SlowSkipped != 0 || len(st.SlowClosed) != 0 {
		t.Errorf("survived %d, skipped %d, closed %v", st.SlowSurvived, st.SlowSkipped, st.SlowClosed)
	}
}
