package wsproto_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"wsgateway/wsproto"
)

// Work and memory grow with the bytes that have come, and with nothing else.

// endless is a text that goes on with the same piece until n bytes have been read.
type endless struct {
	start, piece string
	n            int64
}

func (e *endless) reader() io.Reader {
	return io.MultiReader(strings.NewReader(e.start), io.LimitReader(&repeat{piece: e.piece}, e.n-int64(len(e.start))))
}

type repeat struct {
	piece string
	at    int
}

func (r *repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.piece[r.at]
		r.at = (r.at + 1) % len(r.piece)
	}
	return len(p), nil
}

// receiveHead does what a server does with the bytes of a request: it reads a
// piece, keeps at most one byte more than the limit, and asks HeadEnd. It returns
// how many bytes it has read.
func receiveHead(src io.Reader, piece []byte, bufs wsproto.Buffers) (read int, err error) {
	lim := &wsproto.DefaultHeadLimits
	var head []byte
	defer func() {
		if head != nil {
			bufs.Free(head)
		}
	}()
	for {
		n, err := io.ReadFull(src, piece)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return read, err
		}
		read += n
		seen := len(head)
		if n = min(n, lim.MaxBytes+1-seen); n <= 0 {
			return read, errors.New("asked for more than the limit")
		}
		if cap(head)-len(head) < n {
			if head, err = bufs.Grow(head, n); err != nil {
				return read, err
			}
		}
		head = append(head, piece[:n]...)
		if end, err := wsproto.HeadEnd(head, seen, lim); end > 0 || err != nil {
			return read, err
		}
	}
}

// Heads that do not end: refused once a limit is crossed, before memory is spent.
func TestEndlessHead(t *testing.T) {
	const size = 64 << 20
	for _, c := range []struct {
		name   string
		in     endless
		status int
	}{
		{"header_line_of_64_MiB", endless{"GET / HTTP/1.1\r\nX: ", "x", size}, 431},
		{"header_name_of_64_MiB", endless{"GET / HTTP/1.1\r\n", "x", size}, 431},
		{"header_lines_of_64_MiB", endless{"GET / HTTP/1.1\r\n", "X: y\r\n", size}, 431},
		{"list_of_64_MiB", endless{"GET / HTTP/1.1\r\nConnection: ", "a, ", size}, 431},
		{"target_of_64_MiB", endless{"GET /", "x", size}, 414},
		{"method_of_64_MiB", endless{"", "A", size}, 400},
		{"empty_lines_of_64_MiB", endless{"", "\r\n", size}, 400},
		{"zeros_of_64_MiB", endless{"GET / HTTP/1.1\r\nX: ", "\x00", size}, 400},
	} {
		for _, piece := range []int{4 << 10, 1000, 1} {
			t.Run(fmt.Sprintf("%s/by_%d", c.name, piece), func(t *testing.T) {
				src, buf := c.in.reader(), make([]byte, piece)
				bufs := new(sizeClasses)
				read, err := 0, error(nil)
				spent := allocated(func() { read, err = receiveHead(src, buf, bufs) })
				if status(t, err) != c.status {
					t.Errorf("%v, want %d", err, c.status)
				}
				if most := wsproto.DefaultHeadLimits.MaxBytes + piece; read > most {
					t.Errorf("read %d bytes, %d are enough", read, most)
				}
				if spent >= 64<<10 || bufs.held != 0 {
					t.Errorf("%d bytes allocated, %d not given back", spent, bufs.held)
				}
			})
		}
	}
}

// 5,000 short header fields, complete: refused by their number or their size,
// whichever limit comes first.
func TestManyFields(t *testing.T) {
	for _, line := range []string{"a:\r\n", "X-Header-Name: some value of a usual length\r\n"} {
		in := []byte("GET / HTTP/1.1\r\n" + strings.Repeat(line, 5000) + "\r\n")
		for _, lim := range []*wsproto.HeadLimits{nil, {MaxBytes: 1 << 20, MaxTarget: 4096, MaxFields: 64}, {MaxBytes: 8192, MaxTarget: 4096, MaxFields: 10000}} {
			var r wsproto.Request
			var errs [2]error
			spent := allocated(func() {
				_, errs[0] = wsproto.HeadEnd(in, 0, lim)
				errs[1] = wsproto.ParseRequest(in, lim, &r)
			})
			for i, err := range errs {
				if status(t, err) != 431 {
					t.Errorf("%q, limits %v, step %d: %v", line, lim, i, err)
				}
			}
			if spent >= 64<<10 {
				t.Errorf("%q, limits %v: %d bytes allocated", line, lim, spent)
			}
		}
		bufs := new(sizeClasses)
		if _, err := receiveHead(bytes.NewReader(in), make([]byte, 4<<10), bufs); status(t, err) != 431 {
			t.Errorf("%q in pieces: %v", line, err)
		}
	}
}

// requestOf returns a handshake of size bytes, with a target of that many bytes and that many
// fields.
func requestOf(t *testing.T, size, target, fields int) []byte {
	rest := strings.TrimPrefix(browserHead, "GET /live?room=17 HTTP/1.1\r\n")
	have := strings.Count(rest, "\r\n") - 1
	p := string(requestLineOf(target)) + strings.Repeat("a:\r\n", fields-have-1) + "b: "
	p += strings.Repeat("x", size-len(p)-len("\r\n")-len(rest)) + "\r\n" + rest
	if len(p) != size || strings.Count(p, "\r\n") != fields+2 || strings.Index(p, " HTTP/") != target+len("GET ") {
		t.Fatalf("%d bytes, %d lines", len(p), strings.Count(p, "\r\n"))
	}
	return []byte(p)
}

// One under, at and one over each limit, for a handshake that is good otherwise:
// both functions that know the limits, and the answer behind them.
func TestHandshakeAtLimits(t *testing.T) {
	for _, c := range []struct {
		name                 string
		size, target, fields int
		status               int
	}{
		{"bytes_under", 16383, 40, 20, 0},
		{"bytes_at", 16384, 40, 20, 0},
		{"bytes_over", 16385, 40, 20, 431},
		{"target_under", 10000, 8191, 20, 0},
		{"target_at", 10000, 8192, 20, 0},
		{"target_over", 10000, 8193, 20, 414},
		{"fields_under", 2000, 40, 99, 0},
		{"fields_at", 2000, 40, 100, 0},
		{"fields_over", 2000, 40, 101, 431},
		{"all_at", 16384, 8192, 100, 0},
		{"longest_field_line", 16384, 40, 14, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, r := requestOf(t, c.size, c.target, c.fields), new(wsproto.Request)
			n, err := wsproto.HeadEnd(in, 0, nil)
			if status(t, err) != c.status || err == nil && n != len(in) {
				t.Errorf("HeadEnd: %d, %v", n, err)
			}
			err = wsproto.ParseRequest(in, nil, r)
			if status(t, err) != c.status {
				t.Errorf("ParseRequest: %v", err)
			}
			if err != nil {
				return
			}
			if err := r.CheckUpgrade(); err != nil {
				t.Error(err)
			}
			if _, _, err := wsproto.NewUpgrader().Upgrade(nil, r, nil); err != nil {
				t.Errorf("Upgrade: %v", err)
			}
		})
	}
}

// In pieces of any size too, what an earlier call has seen is not looked at
// again, but for the three bytes that a line end may be cut in: all in front of
// them may be replaced by what would be refused. (The head is shorter than the
// limit of a request line, which would have to be looked for.)
func TestHeadEndLooksAtNewPieces(t *testing.T) {
	head, rnd := headOf(4000, 60), newRand(t)
	for range 50 {
		from := 0
		for _, c := range cutRandomly(head, rnd) {
			p := bytes.Clone(head[:from+len(c)])
			if from > 40 {
				copy(p, make([]byte, from-3))
			}
			n, err := wsproto.HeadEnd(p, from, nil)
			if err != nil || (n > 0) != (len(p) == len(head)) {
				t.Fatalf("%d bytes, %d of them seen: %d, %v", len(p), from, n, err)
			}
			from = len(p)
		}
	}
}

// feed gives the decoder the input in pieces and returns the size of the last
// message. look is called after each piece.
func feed(tb testing.TB, d *wsproto.Decoder, in []byte, piece int, lim *wsproto.Limits, bufs wsproto.Buffers, look func(fed int)) (size int) {
	for at := 0; at < len(in); at += piece {
		for p := in[at:min(at+piece, len(in))]; len(p) > 0; {
			ev, n, err := d.Next(p, lim, bufs)
			if err != nil {
				tb.Fatal(err)
			}
			if ev.Kind == wsproto.Message {
				size = len(ev.Payload)
			}
			p = p[n:]
		}
		if look != nil {
			look(min(at+piece, len(in)))
		}
	}
	return size
}

var largeLimits = wsproto.Limits{MaxMessage: 16 << 20, MaxFragments: 100000}

// counter is a wsproto.Buffers that counts what it is asked for.
type counter interface {
	wsproto.Buffers
	counts() (grows, copied int)
}

func (m *buffers) counts() (int, int)     { return m.grows, m.copied }
func (s *sizeClasses) counts() (int, int) { return s.grows, s.copied }

// What assembling costs: copies of less than three times the message, a number of
// buffers that is logarithmic, and never more memory than twice what has come.
func TestAssemblyCost(t *testing.T) {
	const size = 16 << 20
	one := frame(fin|opBin, strings.Repeat("x", size))
	for _, c := range []struct {
		name        string
		in          []byte
		size, piece int
		grows       int // at most
	}{
		{"16_MiB_in_16_KiB_pieces", one, size, 16 << 10, 11 + 2},
		{"16_MiB_in_1460_byte_pieces", one, size, 1460, 14 + 2},
		{"65536_fragments_of_64", inFragments(opText, strings.Repeat("y", 65536*64), 65536), 65536 * 64, 16 << 10, 16 + 3},
		{"65536_fragments_of_64_frame_by_frame", inFragments(opText, strings.Repeat("y", 65536*64), 65536), 65536 * 64, 70, 16 + 3},
		{"65536_fragments_of_1_at_once", inFragments(opText, strings.Repeat("y", 65536), 65536), 65536, 1 << 20, 16 + 3},
		{"65536_fragments_of_none", inFragments(opText, "", 65536), 0, 16 << 10, 0},
		{"large_last_fragment", cat(frame(opBin, "abc"), frame(fin|opCont, strings.Repeat("z", size-3))), size, 16 << 10, 11 + 3},
	} {
		for name, bufs := range map[string]counter{"exact": &buffers{tb: t, live: map[*byte]bool{}, exact: true}, "size_classes": new(sizeClasses)} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				var d wsproto.Decoder
				peak := 0
				got := feed(t, &d, bytes.Clone(c.in), c.piece, &largeLimits, bufs, func(fed int) {
					peak = max(peak, d.Held())
					// Doubled, and rounded up to a power of two.
					if d.Held() > 4*fed+64 {
						t.Fatalf("holds %d bytes behind %d", d.Held(), fed)
					}
				})
				grows, copied := bufs.counts()
				if got != c.size || grows > c.grows || copied > 3*c.size || peak > 2*c.size+64<<10 {
					t.Errorf("message of %d: %d buffers, %d bytes copied, %d held", got, grows, copied, peak)
				}
				d.Release(bufs)
			})
		}
	}
}

// A refusal in the middle of a large message gives all of it back at once.
func TestAssemblyRefused(t *testing.T) {
	bufs := newBuffers(t)
	bufs.refuse = 1 << 20
	var d wsproto.Decoder
	in := frame(fin|opBin, strings.Repeat("x", 16<<20))
	for at := 0; ; at += 16 << 10 {
		if _, _, err := d.Next(in[at:at+16<<10], &largeLimits, bufs); err != nil {
			if !errors.Is(err, errBudget) || len(bufs.live) > 0 || d.Held() > 0 || at > 1<<20 {
				t.Fatalf("at %d: %v, %d buffers", at, err, len(bufs.live))
			}
			return
		}
	}
}

// perByte reports the time by byte of the input, which is to stay the same as the
// input grows.
func perByte(b *testing.B, size int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/byte")
}

// hugeHead lets heads through that are far over the limits of a server.
var hugeHead = wsproto.HeadLimits{MaxBytes: 1 << 20, MaxTarget: 1 << 20, MaxFields: 1 << 20}

// benchHead judges a head in one piece.
func benchHead(b *testing.B, name, in string) {
	head, r := []byte(in), new(wsproto.Request)
	b.Run(fmt.Sprintf("%s/%dKiB", name, (len(in)+512)>>10), func(b *testing.B) {
		judge := func() {
			n, err := wsproto.HeadEnd(head, 0, &hugeHead)
			if err == nil {
				err = wsproto.ParseRequest(head, &hugeHead, r)
			}
			if err == nil {
				err = r.CheckUpgrade()
			}
			if err != nil || n != len(head) {
				b.Fatal(n, err)
			}
		}
		judge() // the first round makes room for the fields
		b.ReportAllocs()
		for b.Loop() {
			judge()
		}
		perByte(b, len(head))
	})
}

// benchHeadBytes feeds it byte by byte.
func benchHeadBytes(b *testing.B, name string, head []byte) {
	b.Run(fmt.Sprintf("%s/%dKiB", name, (len(head)+512)>>10), func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			end := 0
			for i := range head {
				n, err := wsproto.HeadEnd(head[:i+1], i, &hugeHead)
				if err != nil {
					b.Fatal(err)
				}
				end = n
			}
			if end != len(head) {
				b.Fatal(end)
			}
		}
		perByte(b, len(head))
	})
}

// benchAssembly decodes a message that comes in pieces of 16 KiB.
func benchAssembly(b *testing.B, name string, wire []byte, size, fragments int) {
	b.Run(name, func(b *testing.B) {
		var d wsproto.Decoder
		in, bufs := make([]byte, len(wire)), new(sizeClasses)
		decode := func() {
			copy(in, wire) // as in BenchmarkFrame
			if got := feed(b, &d, in, 16<<10, &largeLimits, bufs, nil); got != size {
				b.Fatal(got)
			}
		}
		decode() // the first round fills the pool
		b.ReportAllocs()
		b.SetBytes(int64(len(wire)))
		for b.Loop() {
			decode()
		}
		perByte(b, len(wire))
		if fragments > 1 {
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(fragments), "ns/fragment")
		}
	})
}

func BenchmarkLinear(b *testing.B) {
	const unit = 8 << 10
	for _, c := range []struct{ name, field, start, piece, end string }{
		{"Connection", "Connection", "", "a, ", "Upgrade"},
		{"Subprotocols", "Sec-WebSocket-Protocol", "", "a, ", "chat"},
		{"Extensions", "Sec-WebSocket-Extensions", "", "a, ", "b"},
		{"ExtensionParams", "Sec-WebSocket-Extensions", "", "a;b=c, ", "b"},
		{"ExtensionParamsOfOne", "Sec-WebSocket-Extensions", "a", ";b=c", ""},
		{"EmptyElements", "Connection", "", ",", "Upgrade"},
	} {
		for _, times := range []int{1, 2, 4, 8} {
			value := c.start + strings.Repeat(c.piece, times*unit/len(c.piece)) + c.end
			benchHead(b, c.name, with(c.field, c.field+": "+value))
		}
	}
	for _, times := range []int{1, 2, 4, 8} {
		benchHead(b, "HeaderLines", with("", slices.Repeat([]string{"X-Some: header"}, times*unit/16)...))
	}
	for _, times := range []int{1, 2, 4, 8} {
		benchHead(b, "ProtocolLines", with("", slices.Repeat([]string{"Sec-WebSocket-Protocol: a"}, times*unit/27)...))
	}
	for _, times := range []int{1, 2, 4, 8} {
		benchHead(b, "Target", requestLine("GET /"+strings.Repeat("x", times*unit)+" HTTP/1.1"))
	}
	for _, times := range []int{1, 2, 4, 8} {
		benchHeadBytes(b, "ByteByByte", headOf(times*unit/4, 64))
	}
	for _, mib := range []int{1, 2, 4, 8, 16} {
		wire := frame(fin|opBin, strings.Repeat("x", mib<<20))
		benchAssembly(b, fmt.Sprintf("Frame/%dMiB", mib), wire, mib<<20, 1)
	}
	const message = 4 << 20
	for _, n := range []int{4096, 8192, 16384, 32768, 65536} {
		wire := inFragments(opText, strings.Repeat("x", message), n)
		benchAssembly(b, fmt.Sprintf("Fragments/%d", n), wire, message, n)
	}
}
