package webpubsub_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/gobwas/ws"

	"wsgateway/session"
)

// A publication that is not taken for want of room is refused, and may be repeated with the same ackId.
func TestBusy(t *testing.T) {
	const members = 65 // more than are sent to at once
	target, _, addr := start(t, open, session.Config{PublicationBytes: 1})
	c := dial(t, addr, "")
	var last *client
	for range members {
		last = dial(t, addr, "")
		last.ask(`{"type":"joinGroup","group":"g","ackId":1}`, ok("1"))
	}
	c.refused(`{"type":"sendToGroup","group":"g","data":1,"ackId":1}`, "InternalServerError")
	c.send(`{"type":"sendToGroup","group":"g","data":1}`)
	c.quiet()
	last.ask(`{"type":"leaveGroup","group":"g","ackId":2}`, ok("2"))
	c.ask(`{"type":"sendToGroup","group":"g","data":1,"ackId":1}`, ok("1"))
	if st := target.Stats(); st.Refused["busy"] != 2 || st.Unanswered != 1 || st.Publishes != 1 {
		t.Errorf("counted %+v", st)
	}
}

// What several clients send to a group that is large and to one that is small comes in the order of each.
func TestOrder(t *testing.T) {
	const senders, messages = 4, 200
	_, _, addr := start(t, open, session.Config{})
	var members []*client
	for i := range 70 { // more than are sent to at once
		c := dial(t, addr, "")
		c.ask(`{"type":"joinGroup","group":"large","ackId":1}`, ok("1"))
		if i < 3 {
			c.ask(`{"type":"joinGroup","group":"small","ackId":2}`, ok("2"))
			members = append(members, c)
		}
	}
	for i := range senders {
		c := dial(t, addr, "")
		go func() {
			for n := range messages {
				for _, group := range []string{"large", "small"} {
					p := fmt.Appendf(nil, `{"type":"sendToGroup","group":"%s","data":[%d,%d]}`, group, i, n)
					if c.TrySend(ws.NewTextFrame(p)) != nil {
						return // the members miss it
					}
				}
			}
		}()
	}
	for _, c := range members {
		next := make(map[string]int)
		for range 2 * senders * messages {
			var m struct {
				Group string
				Data  [2]int
			}
			if err := json.Unmarshal([]byte(c.read()), &m); err != nil {
				t.Fatal(err)
			}
			key := fmt.Sprint(m.Group, m.Data[0])
			if m.Data[1] != next[key] {
				t.Fatalf("%s: message %d, want %d", key, m.Data[1], next[key])
			}
			next[key]++
		}
	}
}
