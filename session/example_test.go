package session_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"wsgateway/session"
)

func ExampleServer() {
	srv, err := session.NewServer(session.Config{Routes: []session.Route{
		{Path: "/shout", Mode: session.NeverBlocks, Handler: session.HandlerFuncs{
			Message: func(s session.Session, m session.Message) {
				_ = s.SendText(string(m.Data) + "!")
			},
			Close: func(_ session.Session, c session.CloseInfo) {
				fmt.Println("closed by the", c.Initiator, "with", c.Code)
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

	client, _, _, err := ws.Dial(context.Background(), "ws://"+addr.String()+"/shout")
	if err != nil {
		log.Fatal(err)
	}
	_ = wsutil.WriteClientText(client, []byte("hello"))
	answer, _ := wsutil.ReadServerText(client)
	fmt.Println(string(answer))
	_ = ws.WriteFrame(client, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))))
	_, _ = ws.ReadHeader(client) // the server's Close frame: it ends the connection behind it

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	_ = client.Close()
	// Output:
	// hello!
	// closed by the client with 1000
}
