package netpoll_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// An urgent message overtakes what waits, but never cuts into a message, and only the latest of
// several is sent.
func TestSendUrgent(t *testing.T) {
	r, id, c := pair(t, netpoll.Config{QueueBytes: 4 << 20, QueueMessages: 1 << 20})
	const size = 3001 // does not divide any buffer
	urgent := bytes.Repeat([]byte{'!'}, size)
	for round := range 3 {
		const messages = 400
		for i := range messages {
			if err := r.Send(id, netpoll.Message{Prefix: netpoll.MakePrefix([]byte{byte(i)}), Body: bytes.Repeat([]byte{byte(i)}, size-1)}); err != nil {
				t.Fatal(err)
			}
		}
		if r.Queued(id) == 0 {
			t.Fatal("nothing is queued")
		}
		before := r.Stats()
		for _, last := range []byte{'a', 'b', 'c'} {
			urgent[size-1] = last
			if err := r.Send(id, netpoll.Message{Body: urgent, Urgent: true}); err != nil {
				t.Fatal(err)
			}
		}
		after := r.Stats()
		if n := after.QueueMessages - before.QueueMessages; n != 1 {
			t.Errorf("%d urgent messages wait", n)
		}
		if n := after.Superseded - before.Superseded; n != 2 {
			t.Errorf("%d superseded", n)
		}
		if place := readUrgent(t, c, messages, urgent); place < 0 || place > messages-50 {
			t.Errorf("round %d: the urgent message came in place %d of %d, want it far before the end", round, place, messages)
		}
		waits.Eventually(t, func() bool {
			st := r.Stats()
			return r.Queued(id) == 0 && st.QueueBytes == 0 && st.QueueMessages == 0
		}, "the queue is empty")
	}
}

// readUrgent reads messages that are numbered from 0 on, with an urgent one between them, and returns the
// place of that, -1 if it did not come.
func readUrgent(t *testing.T, c io.Reader, messages int, urgent []byte) int {
	t.Helper()
	place := -1
	next := byte(0)
	size := len(urgent)
	for i := range messages + 1 {
		p := make([]byte, size)
		if _, err := io.ReadFull(c, p); err != nil {
			t.Fatal(err)
		}
		switch {
		case bytes.Equal(p, urgent):
			if place >= 0 {
				t.Error("sent twice")
			}
			place = i
		case bytes.Equal(p, bytes.Repeat([]byte{next}, size)):
			next++
		default:
			t.Fatalf("message %d is %q..., want %d", i, p[:10], next)
		}
	}
	return place
}

// With nothing queued an urgent message is sent like any other, and after the last message not at all.
func TestSendUrgentAlone(t *testing.T) {
	r, id, c := pair(t, netpoll.Config{QueueBytes: 4 << 20, QueueMessages: 1 << 20})
	urgent := bytes.Repeat([]byte{'!'}, 3001)
	if err := r.Send(id, netpoll.Message{Prefix: netpoll.MakePrefix([]byte("x")), Body: []byte("y"), Urgent: true}); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 2)
	if _, err := io.ReadFull(c, p); err != nil || string(p) != "xy" {
		t.Errorf("%q, %v", p, err)
	}
	for range 400 {
		_ = r.Send(id, netpoll.Message{Body: urgent})
	}
	if err := r.Send(id, netpoll.Message{Body: []byte("gone with the queue"), Urgent: true}); err != nil {
		t.Fatal(err)
	}
	if err := r.Send(id, netpoll.Message{Body: []byte("z"), Final: true}); err != nil {
		t.Fatal(err)
	}
	if err := r.Send(id, netpoll.Message{Body: urgent, Urgent: true}); !errors.Is(err, netpoll.ErrClosed) {
		t.Errorf("after the last message: %v", err)
	}
	if err := r.Send(0, netpoll.Message{Body: urgent, Urgent: true}); !errors.Is(err, netpoll.ErrClosed) {
		t.Errorf("zero Conn: %v", err)
	}
	c.Close()
	waits.Eventually(t, func() bool {
		st := r.Stats()
		return st.Conns == 0 && st.QueueBytes == 0 && st.QueueMessages == 0
	}, "the queue is given back")
}
