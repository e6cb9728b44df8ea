package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// mini is a small echo server with faults to choose from. It knows just enough
// for the cases the tests run.
type mini struct {
	head   func(c net.Conn, head string) bool // answers the head; false ends the connection
	frame  func(c net.Conn, f clientFrame) []byte
	onBad  []byte // sent for an opcode that is reserved; nil takes the frame as nothing
	linger bool   // never closes the connection
	hasty  bool   // takes what one read brings for a whole frame
}

type clientFrame struct {
	fin     bool
	op      byte
	payload []byte
}

// start runs the server until the end of the test and returns its URL.
func (m *mini) start(t *testing.T) string {
	t.Helper()
	url, err := m.listen(t)
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// listen is start for any goroutine.
func (m *mini) listen(t *testing.T) (url string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	var (
		mu    sync.Mutex
		conns []net.Conn
		wg    sync.WaitGroup
	)
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				m.serve(c)
				if !m.linger {
					_ = c.Close()
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return "ws://" + ln.Addr().String() + "/", nil
}

func (m *mini) serve(c net.Conn) {
	r := bufio.NewReaderSize(c, 1<<16)
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		b, err := r.ReadByte()
		if err != nil {
			return
		}
		head.WriteByte(b)
	}
	answer := m.head
	if answer == nil {
		answer = upgrade
	}
	if !answer(c, head.String()) {
		return
	}
	for {
		f, err := m.read(r)
		if err != nil {
			return
		}
		if f.op > 2 && f.op < 8 && m.onBad != nil {
			_, _ = c.Write(m.onBad)
			return
		}
		echo := m.frame
		if echo == nil {
			echo = answerFrame
		}
		out := echo(c, f)
		_, _ = c.Write(out)
		if f.op == 8 {
			return
		}
	}
}

func (m *mini) read(r *bufio.Reader) (f clientFrame, err error) {
	h := make([]byte, 2)
	if m.hasty {
		if _, err = r.Peek(1); err == nil && r.Buffered() < 6 {
			return f, io.ErrUnexpectedEOF
		}
	}
	if _, err = io.ReadFull(r, h); err != nil {
		return f, err
	}
	f.fin, f.op = h[0]&0x80 != 0, h[0]&15
	n := uint64(h[1] & 0x7F)
	if ext := map[uint64]int{126: 2, 127: 8}[n]; ext > 0 {
		b := make([]byte, 8)
		if _, err = io.ReadFull(r, b[8-ext:]); err != nil {
			return f, err
		}
		n = binary.BigEndian.Uint64(b)
	}
	b := make([]byte, 4+n)
	if _, err = io.ReadFull(r, b); err != nil {
		return f, err
	}
	f.payload = b[4:]
	for i := range f.payload {
		f.payload[i] ^= b[i%4]
	}
	return f, nil
}

// upgrade answers every request with a 101.
func upgrade(c net.Conn, head string) bool { return upgradeWith(c, head, "") }

// upgradeWith is upgrade with more fields in the answer.
func upgradeWith(c net.Conn, head, fields string) bool {
	_, key, _ := strings.Cut(head, "Sec-WebSocket-Key: ")
	key, _, _ = strings.Cut(key, "\r\n")
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, err := fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
		base64.StdEncoding.EncodeToString(sum[:]), fields)
	return err == nil
}

// answerFrame is what a correct server answers to a frame of a correct client.
func answerFrame(_ net.Conn, f clientFrame) []byte {
	if f.op == 9 {
		f.op = 10
	}
	return serverFrame(f.op, f.payload)
}

func serverFrame(op byte, p []byte) []byte {
	switch n := len(p); {
	case n < 126:
		return append([]byte{0x80 | op, byte(n)}, p...)
	case n < 1<<16:
		return append(binary.BigEndian.AppendUint16([]byte{0x80 | op, 126}, uint16(n)), p...)
	default:
		return append(binary.BigEndian.AppendUint64([]byte{0x80 | op, 127}, uint64(n)), p...)
	}
}

// answers makes a server that gives every request the same text.
func answers(text string) func(net.Conn, string) bool {
	return func(c net.Conn, _ string) bool {
		_, _ = io.WriteString(c, text)
		return false
	}
}

// runner runs the program and returns its status and outputs.
func runner(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	status = run(context.Background(), args, &out, &errs)
	return status, out.String(), errs.String()
}

// jsonReport is the part of the JSON document that the tests read.
type jsonReport struct {
	Seed  uint64
	Total counts
	Cases []struct {
		ID, Verdict, Reason string
		Splits              []struct{ Split, Verdict, Expected, Observed, ReceivedHex string }
	}
}

// verdicts runs cases against a server.
func verdicts(t *testing.T, url, cases string, args ...string) (int, *jsonReport) {
	t.Helper()
	o := judgeURL(url, cases, args...)
	if o.rep == nil {
		t.Fatal(o.text)
	}
	return o.status, o.rep
}

// outcome is that of a run: rep is nil if it printed no report.
type outcome struct {
	status int
	rep    *jsonReport
	text   string
}

func judgeURL(url, cases string, args ...string) outcome {
	var out, errs strings.Builder
	o := outcome{rep: &jsonReport{}}
	args = append([]string{"-url", url, "-run", cases, "-json", "-timeout", "20s"}, args...)
	o.status = run(context.Background(), args, &out, &errs)
	if json.Unmarshal([]byte(out.String()), o.rep) != nil {
		o.rep = nil
	}
	o.text = out.String() + errs.String()
	return o
}

// judgeMini runs one case against a server of its own. The timeout is short only
// where it is what the case ends with, so that a busy machine is no failure.
func judgeMini(t *testing.T, m *mini, id, seen string) outcome {
	url, err := m.listen(t)
	if err != nil {
		return outcome{text: err.Error()}
	}
	if strings.Contains(seen, "timeout") {
		return judgeURL(url, id+"()", "-timeout", "1s")
	}
	return judgeURL(url, id+"()")
}

// together runs n things at once: most of what the tests do is to wait.
func together(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}
