package webpubsub_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"wsgateway/session"
	"wsgateway/webpubsub"
)

const benchMessage = `{"type":"sendToGroup","group":"room-42","ackId":123456,"noEcho":true,"dataType":"json","data":{"hello":"world"}}`

// BenchmarkEncode is what a request of 110 bytes costs without the sending, next to encoding/json.
func BenchmarkEncode(b *testing.B) {
	p := []byte(benchMessage)
	b.Run("here", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if webpubsub.Encode(p) == 0 {
				b.Fatal("nothing")
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var r struct {
				Type, Group, DataType string
				AckID                 *uint64
				NoEcho                bool
				Data                  json.RawMessage
			}
			if err := json.Unmarshal(p, &r); err != nil {
				b.Fatal(err)
			}
			if _, err := json.Marshal(struct {
				Type, From, Group, DataType string
				Data                        json.RawMessage
			}{"message", "group", r.Group, r.DataType, r.Data}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPublish is a request, the message to another member and the ack, over sockets.
func BenchmarkPublish(b *testing.B) {
	_, _, addr := start(b, open, session.Config{})
	c, member := dial(b, addr, ""), dial(b, addr, "")
	member.ask(`{"type":"joinGroup","group":"g","ackId":1}`, ok("1"))
	b.ReportAllocs()
	id := 0
	for b.Loop() {
		id++
		c.send(fmt.Sprintf(`{"type":"sendToGroup","group":"g","ackId":%d,"dataType":"json","data":{"hello":"world"}}`, id))
		c.Read()
		member.Read()
	}
}
