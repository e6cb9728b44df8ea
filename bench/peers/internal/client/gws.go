package client

import (
	"bytes"
	"context"
	stdbinary "encoding/binary"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/lxzan/gws"
)

// gwsConn turns the library's callbacks into calls that wait. Each channel has room
// for what a check leaves unread.
type gwsConn struct {
	gws.BuiltinEventHandler
	*gws.Conn
	messages chan gwsMessage
	pongs    chan string
	closed   chan error // one value, after the last callback
}

type gwsMessage struct {
	op      opcode
	payload []byte
}

// dialFunc is a dialer of the kind the library takes.
type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

func (f dialFunc) Dial(network, addr string) (net.Conn, error) {
	return f(context.Background(), network, addr)
}

func (d *dialer) openGWS(subprotocols []string) (conn, http.Header, error) {
	c := &gwsConn{
		messages: make(chan gwsMessage, manyMessages),
		pongs:    make(chan string, 16),
		closed:   make(chan error, 1),
	}
	option := &gws.ClientOption{
		Addr:               d.URL,
		RequestHeader:      http.Header{},
		HandshakeTimeout:   handshakeTimeout,
		NewDialer:          func() (gws.Dialer, error) { return dialFunc(d.dial), nil },
		CheckUtf8Enabled:   true,
		ReadMaxPayloadSize: readLimit,
		PermessageDeflate: gws.PermessageDeflate{
			Enabled:               d.Compress,
			Threshold:             1,
			ServerContextTakeover: true,
			ClientContextTakeover: true,
		},
	}
	if len(subprotocols) > 0 {
		option.RequestHeader.Set("Sec-WebSocket-Protocol", strings.Join(subprotocols, ", "))
	}
	ws, res, err := gws.NewClient(c, option)
	if err != nil {
		return nil, nil, err
	}
	c.Conn = ws
	go ws.ReadLoop() // ends with the connection
	return c, res.Header, nil
}

func (c *gwsConn) OnMessage(_ *gws.Conn, m *gws.Message) {
	c.messages <- gwsMessage{opcode(m.Opcode), bytes.Clone(m.Bytes())}
	_ = m.Close()
}

func (c *gwsConn) OnPing(ws *gws.Conn, payload []byte) { _ = ws.WritePong(payload) }
func (c *gwsConn) OnPong(_ *gws.Conn, payload []byte)  { c.pongs <- string(payload) }
func (c *gwsConn) OnClose(_ *gws.Conn, err error)      { c.closed <- err }

func (c *gwsConn) send(op opcode, payload []byte) error {
	return c.WriteMessage(gws.Opcode(op), payload)
}

// WriteFile sends a frame for each 128 KiB it reads.
func (c *gwsConn) sendFragments(pieces [][]byte) error {
	return c.WriteFile(gws.OpcodeBinary, bytes.NewReader(bytes.Join(pieces, nil)))
}

func (c *gwsConn) receive() (opcode, []byte, error) {
	select {
	case m := <-c.messages:
		return m.op, m.payload, nil
	default:
	}
	select {
	case m := <-c.messages:
		return m.op, m.payload, nil
	case err := <-c.closed:
		return 0, nil, err
	}
}

func (c *gwsConn) ping(payload string) (string, error) {
	if err := c.WritePing([]byte(payload)); err != nil {
		return "", err
	}
	select {
	case pong := <-c.pongs:
		return pong, nil
	case err := <-c.closed:
		return "", err
	}
}

// close sends the Close frame as a message: WriteClose closes the network connection
// right behind it and never sees the answer.
func (c *gwsConn) close(code int, reason string) (int, error) {
	payload := append(stdbinary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
	if err := c.WriteMessage(gws.OpcodeCloseConnection, payload); err != nil {
		return 0, err
	}
	err := <-c.closed
	if ce, ok := errors.AsType[*gws.CloseError](err); ok {
		return int(ce.Code), nil
	}
	return 0, err
}
