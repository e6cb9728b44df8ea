package wsproto_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"wsgateway/wsproto"
)

var deflateSizes = []int{372, 4 << 10, 64 << 10, 1 << 20}

// A compressed text message from the wire to its payload, beside gobwas's helper.
func BenchmarkInflate(b *testing.B) {
	for _, size := range deflateSizes {
		wire := frameMask(fin|rsv1|opText, [4]byte{}, []byte(deflate(b, []byte(jsonText(size)), 1))) // unmasking twice spoils nothing
		b.Run(fmt.Sprint(size, "/wsgateway"), func(b *testing.B) {
			lim, bufs := deflateLimits(1<<20), &keep{b: make([]byte, 0, 1<<20)}
			var d wsproto.Decoder
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if ev, _, err := d.Next(wire, &lim, bufs); err != nil || len(ev.Payload) != size {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint(size, "/gobwas-wsflate"), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				f, err := readFrame(bytes.NewReader(wire))
				if err != nil {
					b.Fatal(err)
				}
				if f, err = wsflate.DecompressFrame(ws.UnmaskFrameInPlace(f)); err != nil || len(f.Payload) != size {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompress(b *testing.B) {
	for _, size := range deflateSizes {
		p := []byte(jsonText(size))
		b.Run(fmt.Sprint(size, "/wsgateway"), func(b *testing.B) {
			d := wsproto.NewDeflater(1, 1)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				c := d.Take(wsproto.MaxWindowBits)
				if c.Compress(p) == nil {
					b.Fatal("not smaller")
				}
				d.Put(c)
			}
		})
		b.Run(fmt.Sprint(size, "/gobwas-wsflate"), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wsflate.CompressFrame(ws.NewTextFrame(p)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
