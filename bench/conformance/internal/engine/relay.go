package engine

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// dialer connects to servers, through a relay if there is to be a delay.
type dialer struct {
	delay time.Duration

	mu     sync.Mutex
	relays map[string]*relay // by address of the server
}

func (d *dialer) dial(ctx context.Context, addr string) (net.Conn, error) {
	var nd net.Dialer // TCP_NODELAY is the default of package net
	if d.delay > 0 {
		r, err := d.relay(addr)
		if err != nil {
			return nil, err
		}
		addr = r.ln.Addr().String()
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return nd.DialContext(ctx, "tcp", addr)
}

func (d *dialer) relay(addr string) (*relay, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.relays[addr]; r != nil {
		return r, nil
	}
	r, err := newRelay(addr, d.delay)
	if err == nil {
		d.relays[addr] = r
	}
	return r, err
}

func (d *dialer) close() {
	for _, r := range d.relays {
		r.close()
	}
}

// relay carries TCP connections to a server and delays every byte, the ends and
// the resets too, by the same time in each direction. close ends it with all its
// connections and waits for its goroutines.
type relay struct {
	ln    net.Listener
	addr  string
	delay time.Duration
	wg    sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	done  bool
}

func newRelay(addr string, delay time.Duration) (*relay, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{ln: ln, addr: addr, delay: delay, conns: make(map[net.Conn]bool)}
	r.wg.Go(r.accept)
	return r, nil
}

func (r *relay) accept() {
	for {
		c, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() { r.carry(c) })
	}
}

func (r *relay) carry(client net.Conn) {
	if !r.hold(client) {
		return
	}
	defer r.drop(client)
	server, err := net.Dial("tcp", r.addr)
	if err != nil {
		reset(client)
		return
	}
	if !r.hold(server) {
		return
	}
	defer r.drop(server)
	var both sync.WaitGroup
	both.Go(func() { r.pump(server, client) })
	both.Go(func() { r.pump(client, server) })
	both.Wait()
}

// parcel is what was read at once, or the end of it.
type parcel struct {
	due   time.Time
	bytes []byte
	err   error
}

// pump carries one direction until its end. The queue is bounded, so a receiver
// that does not read stops the sender.
func (r *relay) pump(to, from net.Conn) {
	queue := make(chan parcel, 512)
	stop := make(chan struct{}) // closed when to takes no more
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(queue)
		for {
			buf := make([]byte, 16<<10)
			n, err := from.Read(buf)
			select {
			case queue <- parcel{time.Now().Add(r.delay), buf[:n], err}:
			case <-stop:
				return
			}
			if err != nil {
				return
			}
		}
	})
	for p := range queue {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.bytes); err != nil {
			break
		}
		if p.err != nil {
			end(to, p.err)
		}
	}
	close(stop)
	_ = from.SetReadDeadline(time.Now()) // wakes the reader, if to takes no more
	reader.Wait()
}

// end passes on the end of a stream: FIN for FIN, RST for anything else.
func end(to net.Conn, err error) {
	if c, ok := to.(*net.TCPConn); ok && !errors.Is(err, syscall.ECONNRESET) {
		_ = c.CloseWrite()
		return
	}
	reset(to)
}

func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

func (r *relay) hold(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		_ = c.Close()
		return false
	}
	r.conns[c] = true
	return true
}

func (r *relay) drop(c net.Conn) {
	_ = c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

func (r *relay) close() {
	_ = r.ln.Close()
	r.mu.Lock()
	r.done = true
	for c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}
