package session_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"pgregory.net/rapid"

	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// peerRecorder is a client that keeps the text messages it receives.
type peerRecorder struct {
	session.Session
	conn net.Conn
	over chan session.CloseInfo // from OnClose

	mu     sync.Mutex
	moved  *sync.Cond
	got    []string
	marks  int // marks read, see meets
	paused bool
	ended  bool // it has read until the end of the connection
}

// harness is a server with recorders, for one run of a property.
type harness struct {
	srv    *session.Server
	addr   string
	opened chan session.Session

	mu   sync.Mutex
	over map[session.Session]chan session.CloseInfo
}

func newHarness(t *rapid.T, dir string, cfg session.Config) *harness {
	p := &harness{opened: make(chan session.Session, 1), over: make(map[session.Session]chan session.CloseInfo)}
	cfg.Routes = []session.Route{{Path: "/", Mode: session.NeverBlocks, Handler: p}, {Path: "/other", Mode: session.NeverBlocks, Handler: p}}
	var err error
	if p.srv, err = session.NewServer(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.srv.Close() })
	p.addr = filepath.Join(dir, "s")
	if _, err = p.srv.Listen("unix:" + p.addr); err == nil {
		err = p.srv.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *harness) OnOpen(s session.Session, _ *wsproto.Request) {
	p.mu.Lock()
	p.over[s] = make(chan session.CloseInfo, 1)
	p.mu.Unlock()
	p.opened <- s
}

func (p *harness) OnMessage(session.Session, session.Message) {}

func (p *harness) OnClose(s session.Session, c session.CloseInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over[s] <- c
}

// join connects one client.
func (p *harness) join(t *rapid.T) *peerRecorder {
	dialer := ws.Dialer{NetDial: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", p.addr) }}
	conn, br, _, err := dialer.Dial(context.Background(), "ws://x/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if br == nil {
		br = bufio.NewReader(conn)
	}
	r := &peerRecorder{Session: <-p.opened, conn: conn}
	p.mu.Lock()
	r.over = p.over[r.Session]
	p.mu.Unlock()
	r.moved = sync.NewCond(&r.mu)
	go r.read(br)
	return r
}

// read is over when the connection is.
func (r *peerRecorder) read(br *bufio.Reader) {
	for {
		r.awaitTurn()
		f, err := wstest.ReadFrame(br)
		if err != nil {
			break
		}
		switch f.Header.OpCode {
		case ws.OpText:
			r.keep(string(f.Payload))
		case ws.OpClose:
			_ = ws.WriteFrame(r.conn, ws.MaskFrame(ws.NewCloseFrame(f.Payload))) // or it is the answer to ours
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.moved.Broadcast()
}

// awaitTurn waits while the client is paused.
func (r *peerRecorder) awaitTurn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.paused {
		r.moved.Wait()
	}
}

func (r *peerRecorder) keep(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.HasPrefix(text, "mark ") {
		r.marks++
	} else {
		r.got = append(r.got, text)
	}
	r.moved.Broadcast()
}

// pause stops reading after the next message, and goes on with it.
func (r *peerRecorder) pause(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paused = yes
	r.moved.Broadcast()
}

// mark sends something that meets waits for: all that has been sent before comes before it.
func (r *peerRecorder) mark() error { return r.SendText(fmt.Sprint("mark ", r.ID())) }

// meets waits until the client has read n marks, and returns what it has received.
func (r *peerRecorder) meets(n int) (got []string, ok bool) {
	r.pause(false)
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.marks < n && !r.ended {
		r.moved.Wait()
	}
	return r.got, r.marks == n
}

// rest waits until the client has read all there will ever be, and returns what it has received.
func (r *peerRecorder) rest() []string {
	r.pause(false)
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.ended {
		r.moved.Wait()
	}
	return r.got
}

// endings are ways for a session to end.
var endings = map[string]func(r *peerRecorder) error{
	"client close": func(r *peerRecorder) error { _, err := io.WriteString(r.conn, closeFrame(0)); return err },
	"server close": func(r *peerRecorder) error { return r.Session.Close(4000, "") },
	"reset":        func(r *peerRecorder) error { return r.conn.Close() },
	"overflow": func(r *peerRecorder) error {
		r.pause(true)
		for r.SendBinary(block) == nil {
		}
		if r.SendText("behind a gap") == nil {
			return errors.New("sent although a message before it was refused")
		}
		return nil
	},
}

// lossy are endings after which the client has not read all that it was sent.
var lossy = map[string]bool{"reset": true, "overflow": true}

// end ends a session, which is then over for server and client.
func (r *peerRecorder) end(how string) error {
	if how != "overflow" {
		r.pause(false)
	}
	if err := endings[how](r); err != nil {
		return err
	}
	select {
	case <-r.over:
	case <-time.After(30 * time.Second):
		return fmt.Errorf("%s: no OnClose", how)
	}
	r.rest()
	if err := r.Join("late"); err != session.ErrClosed {
		return fmt.Errorf("Join after the end: %v", err)
	}
	return nil
}

// drained waits until all that has been published has been sent to everybody.
func (p *harness) drained(t *rapid.T) {
	deadline := time.Now().Add(30 * time.Second)
	for p.srv.Stats().Channels.Waiting > 0 {
		if time.Now().After(deadline) {
			t.Fatal("publications wait for ever")
		}
		runtime.Gosched()
	}
}

// propertyDir is a directory for sockets, whose paths must be short.
func propertyDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "ws")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
