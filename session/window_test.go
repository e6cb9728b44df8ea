package session_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"

	"wsgateway/internal/inflate"
	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// dialWindow connects a client with a window of that size for messages from the server.
func dialWindow(t *testing.T, addr string, windowBits int) *wstest.Client {
	t.Helper()
	offer := httphead.NewOption("permessage-deflate", map[string]string{"server_max_window_bits": fmt.Sprint(windowBits)})
	return wstest.DialWith(t, addr, "/", ws.Dialer{Extensions: []httphead.Option{offer}})
}

// wantInWindow reads a message with a window of that size, and reports whether it came compressed.
func wantInWindow(c *wstest.Client, payload string, windowBits int) bool {
	c.Helper()
	f := c.Read()
	got := f.Payload
	if f.Header.Rsv == rsv1 {
		var err error
		if got, err = inflate.Stream(append(bytes.Clone(got), 0, 0, 0xFF, 0xFF), nil, 1<<windowBits); err != nil {
			c.Fatalf("with %d window bits: %v", windowBits, err)
		}
	}
	if string(got) != payload {
		c.Fatalf("with %d window bits: read %.100q, want %.100q", windowBits, got, payload)
	}
	return f.Header.Rsv == rsv1
}

// farRepeats returns text that repeats itself at distances beyond every window but the largest.
func farRepeats() string {
	var b strings.Builder
	for i := range 1500 {
		fmt.Fprintf(&b, "line %d of %d; ", i, i*i)
	}
	return b.String() + b.String()
}

// Every client gets what its window allows: its own messages, and those that are compressed once
// for all windows of a size.
func TestDeflateWindows(t *testing.T) {
	cfg := deflating(session.Echo{})
	cfg.Deflate.Compressors = 8
	s, addr := wstest.Serve(t, cfg)
	text := farRepeats()
	m := session.Prepare(wsproto.OpText, []byte(text))
	for range 2 {
		for bits := wsproto.MinWindowBits; bits <= wsproto.MaxWindowBits; bits++ {
			c := dialWindow(t, addr, bits)
			c.SendText(text)
			if !wantInWindow(c, text, bits) {
				t.Errorf("%d window bits: the echo came as it is", bits)
			}
			for s := range s.Sessions() {
				if err := s.SendPrepared(m); err != nil {
					t.Error(err)
				}
			}
			if !wantInWindow(c, text, bits) {
				t.Errorf("%d window bits: the prepared message came as it is", bits)
			}
			c.Close()
			waits.Eventually(t, func() bool { return s.Stats().Sessions == 0 }, "no session is left")
		}
	}
	if st := s.Stats().Deflate; st.Sent != 32 || st.Busy != 0 {
		t.Errorf("%+v", st)
	}
}

// One compressor for all windows: some messages come as they are, none is beyond a window.
func TestDeflateWindowsShareCompressors(t *testing.T) {
	cfg := deflating(session.Echo{})
	cfg.Deflate.Compressors = 1
	_, addr := wstest.Serve(t, cfg)
	text := farRepeats()
	clients := map[int]*wstest.Client{}
	for bits := wsproto.MinWindowBits; bits <= wsproto.MaxWindowBits; bits++ {
		clients[bits] = dialWindow(t, addr, bits)
	}
	compressed := 0
	for range 5 {
		for bits, c := range clients {
			c.SendText(text)
			if wantInWindow(c, text, bits) {
				compressed++
			}
		}
	}
	if compressed < 5 {
		t.Errorf("%d messages came compressed", compressed)
	}
}
