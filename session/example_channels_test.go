package session_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"wsgateway/session"
	"wsgateway/wsproto"
)

// A room for each path: what one client says, all others of the room get.
func ExampleSession_Join() {
	srv, err := session.NewServer(session.Config{Routes: []session.Route{
		{Path: "/rooms/{name}", Mode: session.NeverBlocks, Handler: session.HandlerFuncs{
			Open: func(s session.Session, _ *wsproto.Request) { _ = s.Join(s.Path()) },
			Message: func(s session.Session, m session.Message) {
				_, _ = s.Server().Publish(s.Path(), session.Prepare(m.Opcode, m.Data), s)
			},
		}},
	}})
	if err != nil {
		log.Fatal(err)
	}
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		log.Fatal(err)
	}
	defer srv.Close()

	ctx := context.Background()
	ann, _, _, err := ws.Dial(ctx, "ws://"+addr.String()+"/rooms/kitchen")
	if err != nil {
		log.Fatal(err)
	}
	defer ann.Close()
	bob, _, _, err := ws.Dial(ctx, "ws://"+addr.String()+"/rooms/kitchen")
	if err != nil {
		log.Fatal(err)
	}
	defer bob.Close()
	_ = wsutil.WriteClientText(ann, []byte("tea?"))
	said, _ := wsutil.ReadServerText(bob)
	fmt.Println(string(said))
	// Output: tea?
}

// A middleware that counts messages, and one that lets none pass that is too long.
func ExampleChain() {
	count := 0
	counting := func(next session.Handler) session.Handler {
		f := session.Funcs(next)
		f.Message = func(s session.Session, m session.Message) {
			count++
			next.OnMessage(s, m)
		}
		return f
	}
	short := func(next session.Handler) session.Handler {
		f := session.Funcs(next)
		f.Message = func(s session.Session, m session.Message) {
			if len(m.Data) <= 10 {
				next.OnMessage(s, m)
			}
		}
		return f
	}
	h := session.Chain(session.HandlerFuncs{
		Message: func(_ session.Session, m session.Message) { fmt.Printf("%s\n", m.Data) },
	}, counting, short)

	for _, text := range []string{"hello", "a long long story", "bye"} {
		h.OnMessage(session.Session{}, session.Message{Opcode: wsproto.OpText, Data: []byte(text)})
	}
	fmt.Println(count, "messages")
	// Output:
	// hello
	// bye
	// 3 messages
}

// A handler may block, on a database for instance. A route whose handler never does says so.
func ExampleMode() {
	lookup := func(key []byte) ([]byte, error) { return bytes.ToUpper(key), nil } // takes its time
	route := session.Route{
		Path: "/lookup", // its Mode is MayBlock, the default
		Handler: session.HandlerFuncs{Message: func(s session.Session, m session.Message) {
			answer, err := lookup(m.Data)
			if err != nil {
				_ = s.Close(wsproto.StatusInternalError, "")
				return
			}
			_ = s.Send(wsproto.OpText, answer)
		}},
	}
	quick := session.Route{Path: "/echo", Mode: session.OnLoop, Handler: session.Echo{}}
	_, err := session.NewServer(session.Config{Routes: []session.Route{route, quick}, BlockingCalls: 100})
	fmt.Println(err)
	// Output: <nil>
}
