package session_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
)

// What has been acknowledged before Shutdown reaches every member, in order, and only then comes the Close
// frame. Publications during Shutdown are refused.
func TestShutdownSendsWhatWasPublished(t *testing.T) {
	const members, messages = 150, 300
	handler := session.HandlerFuncs{
		Message: func(s session.Session, m session.Message) {
			if string(m.Data) == "join" {
				_ = s.Join("c")
			} else if _, err := s.Server().Publish("c", session.Prepare(m.Opcode, m.Data)); err != nil {
				return
			}
			_ = s.SendText("ack")
		},
	}
	srv, addr := wstest.Serve(t, session.Config{Routes: []session.Route{{Path: "/", Mode: session.NeverBlocks, Handler: handler}}})
	var reading sync.WaitGroup
	sender := wstest.Dial(t, addr, "/")
	var clients []*wstest.Client
	for range members {
		c := wstest.Dial(t, addr, "/")
		c.SendText("join")
		c.WantText("ack")
		clients = append(clients, c)
	}
	for i := range messages {
		sender.SendText(strconv.Itoa(i))
	}
	for range messages {
		sender.WantText("ack")
	}

	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		ended <- srv.Shutdown(ctx)
	}()
	for i, c := range clients {
		reading.Go(func() {
			if err := readAll(c, messages); err != nil {
				t.Errorf("member %d: %v", i, err)
			}
		})
	}
	sender.AnswerClose(session.StatusGoingAway)
	reading.Wait()
	if err := waits.Receive(t, ended, "the end of Shutdown"); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	for name, err := range map[string]error{
		"Publish": second(srv.Publish("c", textMessage("x"))),
		"SendAll": second(srv.SendAll("", textMessage("x"))),
	} {
		if !errors.Is(err, session.ErrDraining) {
			t.Errorf("%s after Shutdown: %v, want ErrDraining", name, err)
		}
	}
}

// readAll reads the numbers from 0 on, and then a Close frame with 1001, which it answers.
func readAll(c *wstest.Client, messages int) error {
	for i := range messages {
		f, err := c.TryRead()
		if err != nil || string(f.Payload) != strconv.Itoa(i) {
			return fmt.Errorf("got %q, %v, want %d", f.Payload, err, i)
		}
	}
	f, err := c.TryRead()
	if err != nil || f.Header.OpCode != ws.OpClose {
		return fmt.Errorf("got %v, %v, want a Close frame", f.Header, err)
	}
	if code, _ := ws.ParseCloseFrameData(f.Payload); code != ws.StatusGoingAway {
		return fmt.Errorf("closed with %d, want 1001", code)
	}
	return c.TrySend(f)
}
