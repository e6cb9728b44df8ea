package engine

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestCut(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100, bigInput, bigInput + 1, 100000} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i * 31)
		}
		for _, split := range Splits {
			pieces := cut(b, split, rng(1, "F1.x", split))
			if !bytes.Equal(slices.Concat(pieces...), b) {
				t.Errorf("%s of %d bytes: the pieces are not the input", split, n)
			}
			for _, p := range pieces {
				if len(p) == 0 {
					t.Errorf("%s of %d bytes: an empty piece", split, n)
				}
			}
			again := cut(b, split, rng(1, "F1.x", split))
			if !slices.EqualFunc(pieces, again, bytes.Equal) {
				t.Errorf("%s of %d bytes: not repeatable", split, n)
			}
		}
	}
	bytewise := cut(make([]byte, bigInput), "bytes", nil)
	if len(bytewise) != bigInput {
		t.Errorf("%d pieces", len(bytewise))
	}
	big := cut(make([]byte, 100000), "bytes", nil)
	for i := range edgeBytes {
		if len(big[i]) != 1 || len(big[len(big)-1-i]) != 1 {
			t.Fatalf("piece %d is not a byte", i)
		}
	}
	if len(big) > 2*edgeBytes+100000/chunk+1 {
		t.Errorf("%d pieces of a big input", len(big))
	}
	if slices.EqualFunc(cut(make([]byte, 500), "small", rng(1, "a", "small")), cut(make([]byte, 500), "small", rng(2, "a", "small")), bytes.Equal) {
		t.Error("the seed does not matter")
	}
}

// pipe is a connection through a relay, and the server's end of it.
func pipe(t *testing.T, delay time.Duration) (client, server *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r, err := newRelay(ln.Addr().String(), delay)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	c, err := net.Dial("tcp", r.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), s.Close() })
	deadline := time.Now().Add(10 * time.Second)
	_, _ = c.SetDeadline(deadline), s.SetDeadline(deadline)
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func TestRelayDelays(t *testing.T) {
	const delay = 30 * time.Millisecond
	client, server := pipe(t, delay)
	for _, way := range []struct{ from, to net.Conn }{{client, server}, {server, client}} {
		begin := time.Now()
		want := bytes.Repeat([]byte("0123456789"), 10000)
		go func() { _, _ = way.from.Write(want) }()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, want) {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < delay {
			t.Errorf("after %v", took)
		}
	}
}

func TestRelayPassesEnds(t *testing.T) {
	client, server := pipe(t, time.Millisecond)
	_ = client.CloseWrite()
	if _, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%v, want EOF", err)
	}
	_, _ = server.Write([]byte("x")) // the other direction is open
	if n, err := client.Read(make([]byte, 1)); n != 1 {
		t.Error(err)
	}
	_ = server.SetLinger(0)
	_ = server.Close()
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
}

func TestTarget(t *testing.T) {
	for raw, want := range map[string]Target{
		"ws://127.0.0.1:8080":        {"127.0.0.1:8080", "127.0.0.1:8080", "/"},
		"ws://[::1]:8080/a/b?c=d":    {"[::1]:8080", "[::1]:8080", "/a/b?c=d"},
		"ws://example.com/":          {"example.com:80", "example.com", "/"},
		"ws://example.com?x":         {"example.com:80", "example.com", "/?x"},
		"wss://example.com/":         {},
		"ws://example.com/#x":        {},
		"ws://user:secret@a.example": {},
		"8080":                       {},
	} {
		got, err := ParseTarget(raw)
		if (err != nil) != (want == Target{}) || err == nil && *got != want {
			t.Errorf("%q: %+v, %v", raw, got, err)
		}
	}
}
