package session_test

import (
	"errors"
	"testing"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// Text that is not valid UTF-8 is refused by whatever would send it, the session lives on, and
// binary messages may hold any bytes.
func TestNotUTF8(t *testing.T) {
	bad := []byte("caf\xe9")
	ways := map[string]func(session.Session) error{
		"Send":         func(s session.Session) error { return s.Send(wsproto.OpText, bad) },
		"SendText":     func(s session.Session) error { return s.SendText(string(bad)) },
		"SendKeyed":    func(s session.Session) error { return s.SendKeyed("k", wsproto.OpText, bad) },
		"SendPrepared": func(s session.Session) error { return s.SendPrepared(session.Prepare(wsproto.OpText, bad)) },
	}
	opened := make(chan session.Session, 1)
	_, addr := wstest.Serve(t, session.Config{Routes: []session.Route{{Path: "/", Handler: session.HandlerFuncs{
		Open: func(s session.Session, _ *wsproto.Request) { opened <- s },
	}}}})
	c := wstest.Dial(t, addr, "/")
	s := waits.Receive(t, opened, "the call of OnOpen")
	for name, send := range ways {
		if err := send(s); !errors.Is(err, session.ErrNotUTF8) {
			t.Errorf("%s of text that is no UTF-8 returned %v, want ErrNotUTF8", name, err)
		}
	}
	if err := s.SendBinary(bad); err != nil {
		t.Errorf("SendBinary returned %v, want nil", err)
	}
	c.Want(ws.OpBinary, string(bad))
}
