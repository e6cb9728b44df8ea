package client

import (
	"errors"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

type gorillaConn struct {
	*websocket.Conn
	pongs []string // appended to while reading
}

func (d *dialer) openGorilla(subprotocols []string) (conn, http.Header, error) {
	dialer := websocket.Dialer{
		NetDialContext:    d.dial,
		HandshakeTimeout:  handshakeTimeout,
		Subprotocols:      subprotocols,
		EnableCompression: d.Compress,
	}
	ws, res, err := dialer.Dial(d.URL, nil)
	if err != nil {
		return nil, nil, err
	}
	c := &gorillaConn{Conn: ws}
	ws.SetReadLimit(readLimit)
	ws.SetPongHandler(func(payload string) error {
		c.pongs = append(c.pongs, payload)
		return nil
	})
	return c, res.Header, nil
}

func (c *gorillaConn) send(op opcode, payload []byte) error {
	return c.WriteMessage(int(op), payload)
}

// The writer sends a frame each time its buffer of 4 KiB is full.
func (c *gorillaConn) sendFragments(pieces [][]byte) error {
	w, err := c.NextWriter(websocket.BinaryMessage)
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

func (c *gorillaConn) receive() (opcode, []byte, error) {
	op, payload, err := c.ReadMessage()
	return opcode(op), payload, err
}

// ping has a message sent behind the ping: pongs are handled while reading, and
// reading returns for messages only.
func (c *gorillaConn) ping(payload string) (string, error) {
	c.pongs = nil
	if err := c.WriteControl(websocket.PingMessage, []byte(payload), time.Time{}); err != nil {
		return "", err
	}
	if err := c.WriteMessage(websocket.TextMessage, []byte("behind the ping")); err != nil {
		return "", err
	}
	if _, _, err := c.ReadMessage(); err != nil {
		return "", err
	}
	if len(c.pongs) != 1 {
		return "", errors.New("no pong before the echo of what was sent behind the ping")
	}
	return c.pongs[0], nil
}

func (c *gorillaConn) close(code int, reason string) (int, error) {
	if err := c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Time{}); err != nil {
		return 0, err
	}
	_, _, err := c.ReadMessage()
	if ce, ok := errors.AsType[*websocket.CloseError](err); ok {
		return ce.Code, nil
	}
	return 0, err
}
