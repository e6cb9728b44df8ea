package session_test

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

const rsv1 = 0b100 // of ws.Header.Rsv

var offerDeflate = ws.Dialer{Extensions: []httphead.Option{httphead.NewOption("permessage-deflate", nil)}}

func compressed(t testing.TB, p []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(p)
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

func decompressed(t testing.TB, p []byte) string {
	out, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
	if err != nil {
		t.Error(err)
	}
	return string(out)
}

func sendDeflated(c *wstest.Client, op ws.OpCode, p []byte) {
	c.Helper()
	f := ws.NewFrame(op, true, compressed(c.TB, p))
	f.Header.Rsv = rsv1
	c.Send(f)
}

// wantDeflated reads a message and reports whether it came compressed.
func wantMessage(c *wstest.Client, op ws.OpCode, payload string) (deflated bool) {
	c.Helper()
	f := c.Read()
	got := string(f.Payload)
	if f.Header.Rsv == rsv1 {
		got = decompressed(c.TB, f.Payload)
	}
	if f.Header.OpCode != op || got != payload {
		c.Fatalf("read opcode %v %.100q, want %v %.100q", f.Header.OpCode, got, op, payload)
	}
	return f.Header.Rsv == rsv1
}

func deflating(h session.Handler) session.Config {
	return session.Config{Routes: []session.Route{{Path: "/", Handler: h, Deflate: true, Mode: session.OnLoop}}}
}

func TestDeflateEcho(t *testing.T) {
	s, addr := wstest.Serve(t, deflating(session.HandlerFuncs{Message: func(s session.Session, m session.Message) {
		if !s.Deflated() {
			t.Error("not deflated")
		}
		_ = s.Send(m.Opcode, m.Data)
	}}))
	c := wstest.DialWith(t, addr, "/", offerDeflate)
	for _, n := range []int{0, 1, 511, 512, 5000, 65536, 1 << 20} {
		msg := strings.Repeat("0123456789abcdef", n/16+1)[:n]
		for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary} {
			go sendDeflated(c, op, []byte(msg))
			if got := wantMessage(c, op, msg); got != (n >= 512) {
				t.Errorf("%d bytes: compressed %v", n, got)
			}
		}
		go c.SendText(msg) // a message may come as it is
		wantMessage(c, ws.OpText, msg)
	}
	st := s.Stats().Deflate
	if st.Sessions != 1 || st.Received != 14 || st.Sent != 12 || st.ReceivedBytes <= 20*st.ReceivedWire || st.SentBytes <= 20*st.SentWire {
		t.Errorf("%+v", st)
	}

	// Without an offer nothing is compressed, and RSV1 is not allowed.
	plain := connect(t, addr, "/")
	defer plain.Close()
	sendDeflated(plain, ws.OpText, []byte("a"))
	plain.WantClose(1002)
	c.Close()
	waits.Becomes(t, func() int { return s.Stats().Deflate.Sessions }, 0, "sessions with compression")
}

// Messages that inflate a thousandfold are worked off over several turns, whole and in order.
func TestDeflateManyBombs(t *testing.T) {
	_, addr := wstest.Serve(t, deflating(session.HandlerFuncs{Message: func(s session.Session, m session.Message) {
		_ = s.SendBinary(m.Data[:1])
	}}))
	c := wstest.DialWith(t, addr, "/", offerDeflate)
	var all bytes.Buffer
	for i := range 20 {
		f := ws.NewFrame(ws.OpBinary, true, compressed(t, bytes.Repeat([]byte{byte(i)}, 1<<20)))
		f.Header.Rsv = rsv1
		_ = ws.WriteFrame(&all, ws.MaskFrame(f))
	}
	if _, err := c.Write(all.Bytes()); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		c.Want(ws.OpBinary, string([]byte{byte(i)}))
	}
	sendDeflated(c, ws.OpBinary, make([]byte, 1<<20+1))
	c.WantClose(1009)
}

// A broadcast reaches sessions with and without compression; those with share one frame.
func TestDeflateBroadcast(t *testing.T) {
	b := session.NewBroadcast()
	cfg := deflating(b)
	cfg.Deflate.Compressors = 1
	s, addr := wstest.Serve(t, cfg)
	var zipped, plain []*wstest.Client
	for range 5 {
		zipped = append(zipped, wstest.DialWith(t, addr, "/", offerDeflate))
		plain = append(plain, wstest.Dial(t, addr, "/"))
	}
	waits.Becomes(t, func() int { return s.Stats().Sessions }, 10, "open sessions")
	large, small := strings.Repeat("large ", 200), "small"
	m := session.Prepare(wsproto.OpText, []byte(large))
	var senders sync.WaitGroup
	for range 4 { // at the same time: the one compressor may be in use
		senders.Go(func() { b.Send(m) })
	}
	senders.Wait()
	b.Send(session.Prepare(wsproto.OpText, []byte(small)))
	for range 4 {
		for _, c := range zipped {
			wantMessage(c, ws.OpText, large)
		}
		for _, c := range plain {
			if wantMessage(c, ws.OpText, large) {
				t.Error("compressed for a client that did not ask for it")
			}
		}
	}
	for _, c := range append(zipped, plain...) {
		if wantMessage(c, ws.OpText, small) {
			t.Error("compressed below the threshold")
		}
	}
	if st := s.Stats().Deflate; st.Sent == 0 || st.Sent+st.Busy < 20 {
		t.Errorf("%+v", st)
	}
}

// The bound of compressing sessions declines, and forgets those that have ended.
func TestDeflateBound(t *testing.T) {
	cfg := deflating(session.Echo{})
	cfg.Deflate.Sessions = 2
	s, addr := wstest.Serve(t, cfg)
	big := strings.Repeat("a", 1000)
	echo := func(c *wstest.Client) bool {
		c.SendText(big)
		return wantMessage(c, ws.OpText, big)
	}
	a, b := wstest.DialWith(t, addr, "/", offerDeflate), wstest.DialWith(t, addr, "/", offerDeflate)
	if !echo(a) || !echo(b) {
		t.Error("not compressed")
	}
	for range 3 {
		c := wstest.DialWith(t, addr, "/", offerDeflate)
		if echo(c) {
			t.Error("a third one")
		}
		c.Close()
	}
	if st := s.Stats().Deflate; st.Sessions != 2 || st.Declined != 3 {
		t.Errorf("%+v", st)
	}
	a.Close()
	waits.Becomes(t, func() int { return s.Stats().Deflate.Sessions }, 1, "sessions with compression")
	if !echo(wstest.DialWith(t, addr, "/", offerDeflate)) {
		t.Error("the place that has become free is not given")
	}
}

// Text that is not UTF-8, and what is no DEFLATE, end with 1007.
func TestDeflateInvalid(t *testing.T) {
	_, addr := wstest.Serve(t, deflating(session.Echo{}))
	c := wstest.DialWith(t, addr, "/", offerDeflate)
	sendDeflated(c, ws.OpText, []byte("abc\xff"))
	c.WantClose(1007)
	c = wstest.DialWith(t, addr, "/", offerDeflate)
	f := ws.NewFrame(ws.OpText, true, []byte("\xff\xff\xff"))
	f.Header.Rsv = rsv1
	c.Send(f)
	c.WantClose(1007)
}
