package main

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Messages come back as they were; the log says who came, who went, and why.
func TestEcho(t *testing.T) {
	var log waits.Buffer
	srv, addr, err := newServer("127.0.0.1:0", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	c := wstest.Dial(t, addr.String(), "/")
	for _, text := range []string{"hello, wörld", "", strings.Repeat("x", 64<<10)} {
		c.SendText(text)
		c.WantText(text)
	}
	c.SendBinary([]byte{0, 1, 0xff})
	c.Want(ws.OpBinary, "\x00\x01\xff")
	c.Leave()
	wstest.End(t, srv) // after which all calls of the handler have returned
	log.Want(t, "msg=opened", "remote="+c.LocalAddr().String(), "msg=closed", "code=1000 by=client clean=true")
}

// The header of a message that is too big is enough to refuse it.
func TestTooBig(t *testing.T) {
	srv, addr, err := newServer("127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer wstest.End(t, srv)
	c := wstest.Dial(t, addr.String(), "/")
	if err := ws.WriteHeader(c.Conn, ws.Header{Fin: true, OpCode: ws.OpText, Masked: true, Length: 64<<10 + 1}); err != nil {
		t.Fatal(err)
	}
	c.AnswerClose(1009)
}

func TestAddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := run(taken.Addr().String()); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("run returned %v, want an error that names %s", err, taken.Addr())
	}
}
