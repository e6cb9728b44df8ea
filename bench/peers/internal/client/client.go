// Package client runs the same checks with three WebSocket libraries as clients
// against any echo server.
package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Libraries are the names Config.Library takes.
var Libraries = []string{"gorilla", "coder", "gws"}

// Config says what to check. Library and URL are required.
type Config struct {
	Library  string
	URL      string
	Compress bool // offer permessage-deflate and expect it to be agreed on

	// Page is the URL of an ordinary page of the same server, "" for none.
	Page string

	// CloseAnswer has the status codes that this server answers with another one;
	// nil for a server that echoes them all.
	CloseAnswer map[int]int
}

// opcode is text or binary, with the numbers of RFC 6455 §5.2, which all libraries use.
type opcode int

const (
	text   opcode = 1
	binary opcode = 2
)

// conn is a connection as one of the libraries does it. It has no deadlines of its
// own: closing the network connection under it ends every call.
type conn interface {
	send(op opcode, payload []byte) error
	// sendFragments sends a binary message, a frame or several for each piece.
	sendFragments(pieces [][]byte) error
	receive() (opcode, []byte, error)
	// ping returns the payload of the pong. It may not be called while a message is
	// on its way.
	ping(payload string) (string, error)
	// close does the closing handshake and returns the status code of the answer.
	close(code int, reason string) (int, error)
}

// dialer opens the connections of one check.
type dialer struct {
	Config
	mu    sync.Mutex
	conns []*countingConn
	ended bool
}

// open does the opening handshake. It returns the answer's headers with the connection.
func (d *dialer) open(subprotocols ...string) (conn, http.Header, error) {
	var c conn
	var header http.Header
	var err error
	switch d.Library {
	case "gorilla":
		c, header, err = d.openGorilla(subprotocols)
	case "coder":
		c, header, err = d.openCoder(subprotocols)
	case "gws":
		c, header, err = d.openGWS(subprotocols)
	default:
		err = fmt.Errorf("no library %q, only %v", d.Library, Libraries)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("opening handshake: %w", err)
	}
	return c, header, nil
}

// dial makes the network connection for a library.
func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := (&net.Dialer{Timeout: checkTimeout}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &countingConn{Conn: nc}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		_ = nc.Close()
		return nil, errors.New("too late to dial")
	}
	d.conns = append(d.conns, c)
	return c, nil
}

// end closes all connections: it frees them, or cuts them off when time is up.
func (d *dialer) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	for _, c := range d.conns {
		_ = c.Close()
	}
}

// wire returns the bytes received and sent on all connections so far.
func (d *dialer) wire() (received, sent int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		received += c.received.Load()
		sent += c.sent.Load()
	}
	return received, sent
}

type countingConn struct {
	net.Conn
	received, sent atomic.Int64
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	return n, err
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// The client's own read limit; the checks stay below it.
const readLimit = 4 << 20

// handshakeTimeout is for the libraries that want one; the check's ends it too.
const handshakeTimeout = 10 * time.Second
