package client

import (
	"context"
	"errors"
	"net/http"

	"github.com/coder/websocket"
)

type coderConn struct {
	*websocket.Conn
	pongs chan string
}

func (d *dialer) openCoder(subprotocols []string) (conn, http.Header, error) {
	c := &coderConn{pongs: make(chan string, 1)}
	options := &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: &http.Transport{DialContext: d.dial}},
		Subprotocols: subprotocols,
		OnPongReceived: func(_ context.Context, payload []byte) {
			select {
			case c.pongs <- string(payload):
			default: // one more than asked for
			}
		},
	}
	if d.Compress {
		options.CompressionMode = websocket.CompressionContextTakeover
		options.CompressionThreshold = 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	ws, res, err := websocket.Dial(ctx, d.URL, options)
	if err != nil {
		return nil, nil, err
	}
	ws.SetReadLimit(readLimit)
	c.Conn = ws
	return c, res.Header, nil
}

func (c *coderConn) send(op opcode, payload []byte) error {
	return c.Write(context.Background(), websocket.MessageType(op), payload)
}

// The writer sends a frame for each call, or more when compressing.
func (c *coderConn) sendFragments(pieces [][]byte) error {
	w, err := c.Writer(context.Background(), websocket.MessageBinary)
	if err != nil {
		return err
	}
	for _, p := range pieces {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return w.Close()
}

func (c *coderConn) receive() (opcode, []byte, error) {
	typ, payload, err := c.Read(context.Background())
	return opcode(typ), payload, err
}

// ping cannot choose the payload: the library sends a counter and waits for the pong
// that has it, which takes somebody who reads meanwhile.
func (c *coderConn) ping(payload string) (string, error) {
	read := make(chan error, 1)
	go func() { // ends with the echo of the message below, or with the connection
		_, _, err := c.Read(context.Background())
		read <- err
	}()
	if err := c.Ping(context.Background()); err != nil {
		return "", err
	}
	if err := c.send(text, []byte("behind the ping")); err != nil {
		return "", err
	}
	if err := <-read; err != nil {
		return "", err
	}
	if pong := <-c.pongs; pong == "" {
		return "", errors.New("pong without the counter")
	}
	return payload, nil
}

func (c *coderConn) close(code int, reason string) (int, error) {
	switch err := c.Close(websocket.StatusCode(code), reason); {
	case err == nil: // Close compares the codes
		return code, nil
	case websocket.CloseStatus(err) != -1:
		return int(websocket.CloseStatus(err)), nil
	default:
		return 0, err
	}
}
