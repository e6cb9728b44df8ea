package wsproto_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"wsgateway/wsproto"
)

// acceptOf computes Sec-WebSocket-Accept (RFC 6455 §4.2.2).
func acceptOf(key []byte) string {
	sum := sha1.Sum(append(bytes.Clone(key), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// keep is a Buffers with one buffer, for benchmarks.
type keep struct{ b []byte }

func (k *keep) Grow(b []byte, n int) ([]byte, error) {
	if len(b)+n > cap(k.b) {
		k.b = make([]byte, 0, 2*(len(b)+n))
	}
	return append(k.b[:0], b...), nil
}

func (k *keep) Free([]byte) {}

func jsonText(n int) string {
	return strings.Repeat(`{"type":"tick","symbol":"EURUSD","bid":1.08231,"ask":1.08239}`, n/60+1)[:n]
}

func TestNoAllocation(t *testing.T) {
	var d wsproto.Decoder
	var r wsproto.Request
	bufs := &keep{b: make([]byte, 0, 1<<20)}
	next := func(in []byte, kinds ...wsproto.Kind) {
		for _, kind := range kinds {
			ev, n, err := d.Next(in, &defaultLimits, bufs)
			if err != nil || ev.Kind != kind {
				t.Fatalf("%v, %v", ev, err)
			}
			in = in[n:]
		}
	}
	fail := func(in []byte) {
		if _, _, err := d.Next(in, &defaultLimits, bufs); err == nil {
			t.Fatal("no error")
		}
		d.Release(bufs)
	}
	zero := [4]byte{} // unmasking twice must not spoil the next run
	text := frameMask(fin|opText, zero, []byte(jsonText(128)))
	large := frameMask(fin|opText, zero, []byte(jsonText(70000)))
	ping := frameMask(fin|opPing, zero, []byte("ping"))
	parts := cat(frameMask(opText, zero, []byte("ab")), ping, frameMask(fin|opCont, zero, []byte("cd")))
	tooBig := head(fin|opBin, 1<<40)
	bad, badText, badClose := []byte{0x81, 0x00}, []byte{0x81, 0x81, 0, 0, 0, 0, 0xFF}, []byte{0x88, 0x81, 0, 0, 0, 0, 1}
	dst := make([]byte, 0, 1<<20)
	payload := make([]byte, 300)
	browser := []byte(browserHead)
	var date wsproto.DateFormatter
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"message", func() { next(text, wsproto.Message, wsproto.NeedMore) }},
		{"large message", func() { next(large, wsproto.Message) }},
		{"ping", func() { next(ping, wsproto.Ping) }},
		{"split message", func() { next(text[:50], wsproto.NeedMore); next(text[50:], wsproto.Message) }},
		{"fragments and ping", func() { next(parts, wsproto.Ping, wsproto.Message) }},
		{"bad frame", func() { fail(bad) }},
		{"bad text", func() { fail(badText) }},
		{"bad close", func() { fail(badClose) }},
		{"too big", func() { fail(tooBig) }},
		{"AppendFrame", func() { dst = wsproto.AppendFrame(dst[:0], wsproto.OpBinary, payload) }},
		{"AppendClose", func() { dst = wsproto.AppendClose(dst[:0], wsproto.StatusGoingAway, "a\xFF✓") }},
		{"AppendRefusal", func() {
			dst = wsproto.AppendRefusal(dst[:0], wsproto.ErrOverloaded, wsproto.ResponseOptions{RetryAfter: 5, Date: date.Format(time.Now())})
		}},
		{"request", func() {
			if n, err := wsproto.HeadEnd(browser, 0, nil); n == 0 || err != nil {
				t.Fatal(err)
			}
			if err := wsproto.ParseRequest(browser, nil, &r); err != nil {
				t.Fatal(err)
			}
			if err := r.CheckUpgrade(); err != nil {
				t.Fatal(err)
			}
		}},
		{"bad request", func() {
			if err := wsproto.ParseRequest(browser[:30], nil, &r); err == nil {
				t.Fatal("no error")
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if n := testing.AllocsPerRun(100, c.f); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

// The Upgrader of gobwas/ws allocates the nonce it works on; nothing is to be
// added to that but what Go needs to hand it over.
func TestUpgradeAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops buffers at random under the race detector")
	}
	u, dst := wsproto.NewUpgrader(), make([]byte, 0, 1024)
	accept := &wsproto.Accept{Subprotocols: []string{"superchat"}, Header: []wsproto.Field{{Name: "X-A", Value: "b"}}, Date: []byte(sampleDate)}
	for name, head := range map[string]string{"as_is": sampleHead, "normalised": with("Upgrade", "Upgrade: h2c, websocket")} {
		in, r := []byte(head), new(wsproto.Request)
		if err := wsproto.ParseRequest(in, nil, r); err != nil {
			t.Fatal(err)
		}
		if err := r.CheckUpgrade(); err != nil {
			t.Fatal(err)
		}
		n := testing.AllocsPerRun(100, func() {
			if _, _, err := u.Upgrade(dst[:0], r, accept); err != nil {
				t.Fatal(err)
			}
		})
		if n > 2 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// benchmarkDecode decodes the same bytes again and again. Masking is its own
// inverse, but a decoded frame would have to be masked again for the next round:
// the frame is copied from a template instead, which costs little beside the rest.
func benchmarkDecode(b *testing.B, template []byte, messages int) {
	var d wsproto.Decoder
	bufs := &keep{b: make([]byte, 0, 1<<20)}
	in := make([]byte, len(template))
	b.ReportAllocs()
	b.SetBytes(int64(len(template)))
	for b.Loop() {
		copy(in, template)
		p := in
		for range messages {
			ev, n, err := d.Next(p, &defaultLimits, bufs)
			if err != nil || ev.Kind != wsproto.Message {
				b.Fatal(ev, err)
			}
			p = p[n:]
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, n := range []int{16, 64, 128, 1024, 4096, 65536} {
		b.Run(fmt.Sprintf("text=%d", n), func(b *testing.B) { benchmarkDecode(b, frame(fin|opText, jsonText(n)), 1) })
	}
	b.Run("binary=128", func(b *testing.B) { benchmarkDecode(b, frame(fin|opBin, jsonText(128)), 1) })
	b.Run("text=128x32", func(b *testing.B) {
		benchmarkDecode(b, bytes.Repeat(frame(fin|opText, jsonText(128)), 32), 32)
	})
	b.Run("fragments=4x1024", func(b *testing.B) {
		p := jsonText(1024)
		benchmarkDecode(b, cat(frame(opText, p), frame(opCont, p), frame(opCont, p), frame(fin|opCont, p)), 1)
	})
}

// A frame of 4 KiB that comes in pieces of 512 bytes.
func BenchmarkDecodeSplit(b *testing.B) {
	template := frame(fin|opText, jsonText(4096))
	in := make([]byte, len(template))
	var d wsproto.Decoder
	bufs := &keep{b: make([]byte, 0, 1<<20)}
	b.ReportAllocs()
	b.SetBytes(int64(len(template)))
	for b.Loop() {
		copy(in, template)
		got := false
		for p := in; len(p) > 0; {
			n := min(512, len(p))
			ev, _, err := d.Next(p[:n], &defaultLimits, bufs)
			if err != nil {
				b.Fatal(err)
			}
			got = ev.Kind == wsproto.Message
			p = p[n:]
		}
		if !got {
			b.Fatal("no message")
		}
	}
}

func BenchmarkHandshake(b *testing.B) {
	in := []byte(browserHead)
	u, r, dst := wsproto.NewUpgrader(), new(wsproto.Request), make([]byte, 0, 1024)
	accept := new(wsproto.Accept)
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	bench := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				f()
			}
		})
	}
	headEnd := func() {
		_, err := wsproto.HeadEnd(in, 0, nil)
		check(err)
	}
	parse := func() { check(wsproto.ParseRequest(in, nil, r)) }
	checkUpgrade := func() { check(r.CheckUpgrade()) }
	upgrade := func() {
		_, _, err := u.Upgrade(dst[:0], r, accept)
		check(err)
	}
	bench("HeadEnd", headEnd)
	bench("ParseRequest", parse)
	bench("CheckUpgrade", checkUpgrade)
	bench("Upgrade", upgrade)
	bench("all", func() { headEnd(); parse(); checkUpgrade(); upgrade() })
}

func BenchmarkAppendFrame(b *testing.B) {
	payload, dst := make([]byte, 128), make([]byte, 0, 1024)
	b.ReportAllocs()
	b.SetBytes(128)
	for b.Loop() {
		dst = wsproto.AppendFrame(dst[:0], wsproto.OpText, payload)
	}
}
