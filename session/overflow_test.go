package session_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
)

var piece = make([]byte, 16<<10)

// Behind a message that was refused with ErrQueueFull nothing is sent any more but Close: a smaller one,
// which would fit, must not arrive as if nothing were missing before it.
func TestNoMessageBehindOneRefused(t *testing.T) {
	const small = "behind the gap"
	unread, read := make(chan int, 1), make(chan struct{})
	cfg := oneRoute(session.HandlerFuncs{Message: func(s session.Session, _ session.Message) {
		sent := 0
		for s.SendBinary(piece) == nil {
			sent += len(piece) + 4 // and the header
		}
		if err := s.SendText(small); !errors.Is(err, session.ErrQueueFull) && !errors.Is(err, session.ErrClosed) {
			t.Errorf("sending after ErrQueueFull: %v", err)
		}
		unread <- sent - s.BufferedAmount() // at most what the socket has taken
		<-read
	}})
	cfg.Reactor.QueueBytes = 24 << 10
	_, addr := wstest.Serve(t, cfg)
	c := wstest.Dial(t, addr, "/")
	c.SendText("go")
	if _, err := io.CopyN(io.Discard, c.Reader, int64(waits.Receive(t, unread, "the call of OnMessage"))); err != nil {
		t.Fatal(err)
	}
	close(read) // the socket has room for all that waits
	if rest, err := io.ReadAll(c.Reader); err != nil || bytes.Contains(rest, []byte(small)) {
		t.Errorf("read %.60q at last, %v", rest[max(0, len(rest)-60):], err)
	}
}
