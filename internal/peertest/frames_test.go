package peertest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"wsgateway/internal/waits"
)

// mustDial returns a client of /, which ends with the test.
func mustDial(t *testing.T, g *gateway) *client {
	t.Helper()
	c, err := dial(g.addr, "/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRawFrames(t *testing.T) {
	g := startGateway(t, setup{})
	t.Run("one byte at a time", func(t *testing.T) {
		c := mustDial(t, g)
		text := bytes.Repeat([]byte("slow "), 60)
		if err := c.trickle(encode(true, opText, text)); err != nil {
			t.Fatal(err)
		}
		if err := c.expect(opText, text); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("fragments with a ping and empty ones between", func(t *testing.T) {
		c := mustDial(t, g)
		stream := slices.Concat(
			encode(false, opBinary, []byte("one ")),
			encode(true, opPing, []byte("here?")),
			encode(false, opContinuation, nil),
			encode(false, opContinuation, []byte("two ")),
			encode(true, opContinuation, []byte("three")),
		)
		if err := c.trickle(stream); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(ioTimeout))
		// RFC 6455 §5.4: the pong need not wait for the message.
		f, err := c.readFrame()
		if err != nil || f.op != opPong || string(f.payload) != "here?" {
			t.Fatalf("got %+v, %v, want the pong", f, err)
		}
		if err := c.expect(opBinary, []byte("one two three")); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("pipelined messages in one write", func(t *testing.T) {
		c := mustDial(t, g)
		var stream []byte
		for i := range 200 {
			stream = append(stream, encode(true, opBinary, bytes.Repeat([]byte{byte(i)}, i))...)
		}
		if _, err := c.Write(stream); err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			if err := c.expect(opBinary, bytes.Repeat([]byte{byte(i)}, i)); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
		}
	})

	waits.Succeeds(t, waits.Patience, "no connection left", func() error { return g.connections(0) })
}

// Frames that break a rule fail the connection, with the code of the rule.
func TestForbiddenFrames(t *testing.T) {
	g := startGateway(t, setup{})
	for _, tc := range []struct {
		name  string
		bytes []byte
		code  int
	}{
		{"unmasked frame", append(encodeHeader(true, opText, 2, false), "hi"...), 1002},
		{"reserved opcode", encode(true, 0x3, nil), 1002},
		{"reserved bit", encode(true, opText|0x40, nil), 1002},
		{"continuation of nothing", encode(true, opContinuation, []byte("x")), 1002},
		{"fragmented ping", encode(false, opPing, nil), 1002},
		{"ping of 126 bytes", encode(true, opPing, make([]byte, 126)), 1002},
		{"invalid UTF-8", encode(true, opText, []byte("\xff\xfe")), 1007},
		{"close payload of one byte", encode(true, opClose, []byte{3}), 1002},
		{"close code not for the wire", encode(true, opClose, []byte{1006 >> 8, 1006 & 0xff}), 1002},
	} {
		t.Run(tc.name+" fails the connection", func(t *testing.T) {
			c := mustDial(t, g)
			if _, err := c.Write(tc.bytes); err != nil {
				t.Fatal(err)
			}
			ce, err := c.awaitClose(ioTimeout)
			if err != nil || ce.code != tc.code {
				t.Fatalf("got %v, %v, want code %d", ce, err, tc.code)
			}
			// RFC 6455 §7.1.1: the server closes the TCP connection first.
			_ = c.SetReadDeadline(time.Now().Add(ioTimeout))
			if b, err := c.br.ReadByte(); !errors.Is(err, io.EOF) {
				t.Fatalf("after the Close frame: %#x, %v, want the end", b, err)
			}
		})
	}

	waits.Succeeds(t, waits.Patience, "no connection left", func() error { return g.connections(0) })
}

// What an HTTP client that is no WebSocket client gets to see.
func TestPlainHTTP(t *testing.T) {
	g := startGateway(t, setup{})
	for _, tc := range []struct {
		path   string
		status int
	}{
		{"/", http.StatusUpgradeRequired},
		{"/broadcast", http.StatusUpgradeRequired},
		{"/nowhere", http.StatusNotFound},
		// The admin paths do not exist on the public port.
		{"/metrics", http.StatusNotFound},
		{"/readyz", http.StatusNotFound},
	} {
		res, err := http.Get("http://" + g.addr + tc.path)
		if err != nil {
			t.Errorf("%s: %v", tc.path, err)
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode != tc.status {
			t.Errorf("GET %s: %d, want %d", tc.path, res.StatusCode, tc.status)
		}
	}
}

func TestSeveralListeners(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "gateway.sock")
	g := startGateway(t, setup{args: []string{"-listen", "127.0.0.1:0,unix:" + socket}})
	if len(g.listen) != 3 || g.listen[2] != "unix:"+socket {
		t.Fatalf("it listens on %q", g.listen)
	}
	for _, addr := range g.listen {
		c, err := dial(addr, "/")
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		if err := c.echo(opText, []byte("through "+addr)); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
		_ = c.Close()
	}
}
