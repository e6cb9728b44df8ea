package client_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wsgateway/bench/internal/client"
	"wsgateway/bench/internal/handshake"
	"wsgateway/internal/waits"
)

func stalls(addr string, each int) client.Config {
	cfg := config(addr, 3*each)
	cfg.Stall = true
	return cfg
}

// TestStall leaves connections in the middle: the bare server waits for ever.
func TestStall(t *testing.T) {
	const each = 40
	cfg := stalls(serve(t), each)
	cfg.Loops = 2
	cfg.HandshakeTimeout = time.Millisecond // not for those that stall there
	e := engine(t, cfg)
	want := map[string]int64{client.StallHandshake: each, client.StallHeader: each, client.StallPayload: each}
	for range 2 {
		st := do(t, e, client.Command{Op: client.OpStall, Rate: 10_000})
		if diff := cmp.Diff(want, st.Stalled); diff != "" || st.Connected != 2*each || st.Open != 2*each {
			t.Fatalf("%s%d connected, %d open", diff, st.Connected, st.Open)
		}
		do(t, e, client.Command{Op: client.OpHold, Rate: 10_000})
		st = do(t, e, client.Command{Op: client.OpStop})
		if diff := cmp.Diff(want, st.Stalled); diff != "" || len(st.StallClosed) != 0 || st.Renewed != 0 {
			t.Errorf("%s%v closed, %d renewed", diff, st.StallClosed, st.Renewed)
		}
		if st := do(t, e, client.Command{Op: client.OpCut}); st.Open != 0 || len(st.Stalled) != 0 {
			t.Errorf("%d open, %v stalled after the cut", st.Open, st.Stalled)
		}
	}
}

// strict is a server that ends what has stalled when it is told to, but not
// those in the handshake that come after that.
type strict struct {
	evict chan struct{} // closed: to be ended now
	ready sync.WaitGroup
}

func newStrict(conns int) *strict {
	s := &strict{evict: make(chan struct{})}
	s.ready.Add(conns)
	return s
}

// serve relies on a client that sends each part by one call.
func (s *strict) serve(c net.Conn) {
	defer c.Close()
	p := make([]byte, 4096)
	n, _ := c.Read(p)
	if handshake.HeadEnd(p[:n]) == 0 {
		select {
		case <-s.evict:
			_, _ = c.Read(p) // until the client ends it
			return
		default:
		}
		s.ready.Done()
		<-s.evict
		_, _ = io.WriteString(c, "HTTP/1.1 408 Too slow\r\nContent-Length: 0\r\n\r\n")
		return
	}
	if !accept(c, bufio.NewReader(bytes.NewReader(p[:n]))) {
		return
	}
	n, _ = c.Read(p)
	s.ready.Done()
	<-s.evict
	switch n {
	case 1: // of a frame header
		_, _ = c.Write(append(serverFrame(0x89, nil), closeFrame(1008)...)) // the ping stays without an answer
		_, _ = c.Read(p)
	case 8 + 64: // header and half of the payload
		_ = c.(*net.TCPConn).SetLinger(0)
	}
}

// accept reads a request and answers it rightly.
func accept(c net.Conn, in *bufio.Reader) bool {
	r, err := http.ReadRequest(in)
	if err != nil {
		return false
	}
	var k handshake.Key
	copy(k[:], r.Header.Get("Sec-WebSocket-Key"))
	a := k.Accept()
	_, err = io.WriteString(c, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+string(a[:])+"\r\n\r\n")
	return err == nil
}

// TestEvicted has the server end all that has stalled: that is no error, and
// those in the handshake come again.
func TestEvicted(t *testing.T) {
	const each = 15
	s := newStrict(3 * each)
	e := engine(t, stalls(listen(t, s.serve), each))
	do(t, e, client.Command{Op: client.OpStall})
	s.ready.Wait()
	do(t, e, client.Command{Op: client.OpHold, Rate: 1000})
	close(s.evict)
	until(t, e, each) // all renewed
	sum := client.NewStats()
	waits.Eventually(t, func() bool {
		sum.Merge(do(t, e, client.Command{Op: client.OpMark}))
		return sum.StallClosed["header 1008"]+sum.StallClosed["payload RST"] >= 2*each
	}, "the server has closed all stalled frames")
	st := do(t, e, client.Command{Op: client.OpStop})
	sum.Merge(st)
	want := map[string]int64{"handshake 408": each, "header 1008": each, "payload RST": each}
	if diff := cmp.Diff(want, sum.StallClosed); diff != "" || sum.Renewed != each || sum.Pings != each {
		t.Errorf("%s%d renewed, %d pings", diff, sum.Renewed, sum.Pings)
	}
	if diff := cmp.Diff(map[string]int64{client.StallHandshake: each}, st.Stalled); diff != "" {
		t.Error(diff)
	}
}

// listen runs serve for every connection.
func listen(t *testing.T, serve func(net.Conn)) string {
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
			served.Go(func() { serve(c) })
		}
	})
	// The engine's own cleanup runs first and ends the connections.
	t.Cleanup(func() {
		_ = l.Close()
		served.Wait()
	})
	return l.Addr().String()
}

// TestStallLies are answers that nobody who stalls can be given.
func TestStallLies(t *testing.T) {
	tests := []struct {
		name  string
		serve func(net.Conn)
		kind  string
		want  int64
	}{
		{"answers half a frame", func(c net.Conn) {
			defer c.Close()
			in := bufio.NewReader(c)
			if accept(c, in) {
				_, _ = in.ReadByte()
				_, _ = c.Write(serverFrame(0x82, []byte("x")))
				_, _ = io.Copy(io.Discard, in)
			}
		}, client.KindMismatch, 2},
		{"no HTTP", func(c net.Conn) {
			defer c.Close()
			in := bufio.NewReader(c)
			_, _ = in.ReadByte()
			_, _ = io.WriteString(c, "SSH-2.0\r\n\r\n")
			_, _ = io.Copy(io.Discard, in)
		}, client.KindHandshake, 3},
		{"refuses all", func(c net.Conn) {
			defer c.Close()
			in := bufio.NewReader(c)
			if _, err := http.ReadRequest(in); err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 503 Busy\r\n\r\n")
			}
		}, "refused-503", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := engine(t, stalls(listen(t, tt.serve), 1))
			sum := run(t, e, client.Command{Op: client.OpStall})
			sum.Merge(run(t, e, client.Command{Op: client.OpHold}))
			waits.Eventually(t, func() bool {
				sum.Merge(run(t, e, client.Command{Op: client.OpMark}))
				return sum.ErrorCount() >= tt.want
			}, "all errors are counted")
			sum.Merge(run(t, e, client.Command{Op: client.OpStop}))
			if sum.Errors[tt.kind] != tt.want || sum.ErrorCount() != tt.want {
				t.Errorf("errors %v, want %d %s; %q", sum.Errors, tt.want, tt.kind, sum.Samples)
			}
		})
	}
}
