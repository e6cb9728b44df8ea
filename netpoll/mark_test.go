package netpoll_test

import (
	"errors"
	"io"
	"testing"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// Below the mark one more message is taken whatever its size, above it none.
func TestQueueMark(t *testing.T) {
	const mark = 100 << 10
	r, id, _ := pair(t, netpoll.Config{QueueBytes: mark})
	if err := r.SetSendBuffer(id, 1); err != nil {
		t.Fatal(err)
	}
	for r.Queued(id) < mark/2 {
		if err := r.Send(id, netpoll.Message{Body: make([]byte, 10<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Send(id, netpoll.Message{Body: make([]byte, 10*mark)}); err != nil {
		t.Errorf("with %d bytes queued of %d: %v", r.Queued(id), mark, err)
	}
	if err := r.Send(id, netpoll.Message{Body: make([]byte, 1)}); !errors.Is(err, netpoll.ErrQueueFull) {
		t.Errorf("beyond the mark: %v, want ErrQueueFull", err)
	}
}

// With the defaults two messages of more than half of the largest size are not too many, and a
// client that reads all the time can be sent as many as it reads.
func TestSteadyReaderIsNotSlow(t *testing.T) {
	const size, messages = 600 << 10, 200
	r, id, c := pair(t, netpoll.Config{})
	if err := r.SetSendBuffer(id, 1); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Send(id, netpoll.Message{Body: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	read := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, c, size*messages)
		read <- err
	}()
	for range messages - 2 {
		waits.Eventually(t, func() bool { return r.Queued(id) < 1<<20 }, "the queue is below its mark")
		if err := r.Send(id, netpoll.Message{Body: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
}
