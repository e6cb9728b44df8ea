package plain

import (
	"bytes"
	"encoding/binary"

	"wsgateway/bench/internal/handshake"
)

// serve answers what is complete in p: it appends to wbuf and returns the
// length consumed. ended asks to close after the write.
func (s *Server) serve(c *conn, p []byte) (used int, ended bool) {
	if !c.open {
		used = handshake.HeadEnd(p)
		if used == 0 {
			return 0, len(p) > handshake.MaxHead
		}
		if !s.upgrade(p[:used]) {
			return used, true
		}
		c.open = true
	}
	for used < len(p) {
		n, more := s.frame(p[used:])
		if n <= 0 {
			return used, n < 0
		}
		used += n
		if !more {
			return used, true
		}
	}
	return used, false
}

// upgrade appends the answer to a request head.
func (s *Server) upgrade(head []byte) bool {
	const name = "\r\nsec-websocket-key:"
	i := bytes.Index(bytes.ToLower(head), []byte(name))
	if i < 0 {
		s.wbuf = append(s.wbuf, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"...)
		return false
	}
	value, _, _ := bytes.Cut(head[i+len(name):], []byte("\r\n"))
	var key handshake.Key
	copy(key[:], bytes.TrimSpace(value))
	accept := key.Accept()
	s.wbuf = append(s.wbuf, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	s.wbuf = append(s.wbuf, accept[:]...)
	s.wbuf = append(s.wbuf, "\r\n\r\n"...)
	return true
}

// frame answers the frame at the start of p and returns its length: 0 while it
// is incomplete, negative for nonsense. more is false after a Close frame.
func (s *Server) frame(p []byte) (n int, more bool) {
	if len(p) < 6 {
		return 0, true
	}
	if p[1]&0x80 == 0 {
		return -1, false
	}
	at, length := 2, int(p[1]&0x7f)
	switch length {
	case 126:
		if len(p) < 8 {
			return 0, true
		}
		at, length = 4, int(binary.BigEndian.Uint16(p[2:]))
	case 127:
		if len(p) < 14 {
			return 0, true
		}
		size := binary.BigEndian.Uint64(p[2:])
		if size > 1<<30 {
			return -1, false
		}
		at, length = 10, int(size)
	}
	end := at + 4 + length
	if end > len(p) {
		return 0, true
	}
	opcode := p[0] & 0x0f
	first := p[0]
	if opcode == 0x9 { // a ping is answered by a pong
		first = 0x8A
	}
	if opcode != 0xA {
		s.wbuf = append(s.wbuf, first, p[1]&0x7f)
		s.wbuf = append(s.wbuf, p[2:at]...)
		from := len(s.wbuf)
		s.wbuf = append(s.wbuf, p[at+4:end]...)
		unmask(s.wbuf[from:], binary.LittleEndian.Uint32(p[at:]))
	}
	return end, opcode != 0x8
}

func unmask(p []byte, key uint32) {
	wide := uint64(key)<<32 | uint64(key)
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(key >> (8 * (i & 3)))
	}
}
