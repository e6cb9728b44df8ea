package netpoll_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// A message whose key waits never ends the session. It takes the place of the waiting one if the
// queue would have room for it without that one, or if it is no larger. Otherwise the waiting one
// stays.
func TestLatestAtTheMark(t *testing.T) {
	const mark, total = 50 << 10, 400 << 10
	type message struct {
		key  byte
		size int
		want error
	}
	before := []message{{0, 20 << 10, nil}, {1, 1 << 10, nil}, {2, 2 * mark, nil}} // number 3 is above the mark
	for name, tt := range map[string]struct {
		then    message
		arrives []uint32
	}{
		"a larger one, in the place of that above the mark": {message{2, 3 * mark, nil}, []uint32{1, 2, 4}},
		"a larger one, and another one is above the mark":   {message{1, 2 << 10, netpoll.ErrDropped}, []uint32{1, 2, 3}},
		"one as large":                      {message{1, 1 << 10, nil}, []uint32{1, 4, 3}},
		"a smaller one":                     {message{1, 0, nil}, []uint32{1, 4, 3}},
		"a larger one, all queues are full": {message{2, total, netpoll.ErrDropped}, []uint32{1, 2, 3}},
		"another key":                       {message{3, 0, netpoll.ErrQueueFull}, []uint32{1, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			r, id, c := pair(t, netpoll.Config{QueueBytes: mark, QueueTotalBytes: total})
			if err := errors.Join(r.SetSendBuffer(id, 1), c.SetDeadline(time.Now().Add(30*time.Second))); err != nil {
				t.Fatal(err)
			}
			waits.Eventually(t, func() bool { return r.Idle(id) }, "no turn collects what is sent")
			for i, m := range append(slices.Clone(before), tt.then) {
				err := r.Send(id, netpoll.Message{
					Body: numbered{kindLossy, m.key, uint32(i + 1)}.bytes(m.size), Shared: true,
					Policy: netpoll.KeepLatest, Key: uint64(m.key),
				})
				if err != m.want {
					t.Errorf("message %d, %d bytes are queued: %v, want %v", i+1, r.Queued(id), err, m.want)
				}
			}
			var got []uint32
			for range tt.arrives {
				m, err := readNumbered(c)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, m.seq)
			}
			if !slices.Equal(got, tt.arrives) {
				t.Errorf("messages %v have arrived, want %v", got, tt.arrives)
			}
			c.Close()
			settled(t, r)
		})
	}
}
