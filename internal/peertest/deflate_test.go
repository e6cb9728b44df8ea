package peertest

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// compressingClient has agreed on permessage-deflate. It keeps no reader: ten thousand of
// them are in one process.
type compressingClient struct{ net.Conn }

func dialCompressing(addr string) (*compressingClient, error) {
	conn, err := net.DialTimeout("tcp", addr, ioTimeout)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(ioTimeout))
	_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n", addr)
	if err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil) // nothing follows before we send
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, statusError(res.StatusCode)
	}
	answer := res.Header.Get("Sec-WebSocket-Extensions")
	if !strings.Contains(answer, "server_no_context_takeover") {
		return nil, fmt.Errorf("Sec-WebSocket-Extensions: %q", answer)
	}
	return &compressingClient{conn}, nil
}

// echo sends a frame and expects a compressed message with that text.
func (c *compressingClient) echo(frame []byte, want string) error {
	_ = c.SetDeadline(time.Now().Add(ioTimeout))
	if _, err := c.Write(frame); err != nil {
		return err
	}
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err
	}
	if head[0] != 0x80|0x40|opText || head[1] != 126 { // RFC 7692 §6: RSV1
		return fmt.Errorf("frame header %x is not that of a compressed text", head)
	}
	payload := make([]byte, int(head[2])<<8|int(head[3]))
	if _, err := io.ReadFull(c, payload); err != nil {
		return err
	}
	// RFC 7692 §7.2.2, and a final block.
	text, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
	if err != nil {
		return err
	}
	if string(text) != want {
		return errors.New("another text came back")
	}
	return nil
}

// Ten thousand clients that compress take the memory of as many idle ones, and of a bounded number
// of compressors.
func TestCompressingClients(t *testing.T) {
	clients := 10_000
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	if int(lim.Cur)-500 < clients {
		t.Skipf("%d open files are too few for %d clients", lim.Cur, clients)
	}
	g := startGateway(t, setup{args: []string{"-compress", "-ping-interval", "60s"}})
	var ticks strings.Builder
	for i := range uint32(60) {
		fmt.Fprintf(&ticks, `{"type":"tick","symbol":"%x","bid":%d}`, i*2654435761, i*i*40503)
	}
	text := ticks.String()
	var z bytes.Buffer
	w, err := flate.NewWriter(&z, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(text))
	_ = w.Flush()
	frame := encode(true, 0x40|opText, bytes.TrimSuffix(z.Bytes(), []byte("\x00\x00\xff\xff")))

	all := make([]*compressingClient, clients)
	defer func() {
		for _, c := range all {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	for i := range all {
		if all[i], err = dialCompressing(g.addr); err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
	}
	peak := 0.0
	for range 2 {
		for i, c := range all {
			if err := c.echo(frame, text); err != nil {
				t.Fatalf("client %d: %v", i, err)
			}
			if i%1000 == 0 {
				peak = max(peak, g.scrape(t).sum("go_memstats_heap_inuse_bytes"))
			}
		}
	}
	m := g.scrape(t)
	if got := m.sum("wsgateway_deflate_sessions"); got != float64(clients) {
		t.Errorf("%v sessions compress", got)
	}
	if got := m.sum("wsgateway_deflate_messages_total", `direction="sent"`); got != float64(2*clients) {
		t.Errorf("%v messages were compressed", got)
	}
	// What is live: an idle client's share, and for every processor a compressor and two
	// decompressors with what belongs to them. The collector lets the heap double.
	bound := 2*(400*float64(clients)+2<<20*float64(runtime.GOMAXPROCS(0))) + 4<<20
	if peak > bound {
		t.Errorf("heap of %.1f MiB, want at most %.1f", peak/(1<<20), bound/(1<<20))
	}
	t.Logf("%d clients: heap of at most %.1f MiB", clients, peak/(1<<20))
}
