package netpoll_test

import (
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"wsgateway/netpoll"
)

// BenchmarkBulk sends to a client that reads as fast as it can, with the queue never empty, for
// several values of SocketOptions.NotSentLowat.
func BenchmarkBulk(b *testing.B) {
	for _, lowat := range []int{16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 1<<31 - 1} {
		b.Run(fmt.Sprintf("lowat=%dKiB", lowat>>10), func(b *testing.B) { benchmarkBulk(b, lowat) })
	}
}

func benchmarkBulk(b *testing.B, lowat int) {
	const size = 64 << 10
	room := make(chan struct{}, 1)
	conns := make(chan netpoll.Conn, 1)
	r, err := netpoll.New(netpoll.Config{Socket: netpoll.SocketOptions{NotSentLowat: lowat}}, &funcs{
		opened: func(t *netpoll.Turn) { conns <- t.Conn() },
		data: func(*netpoll.Turn, []byte) { // the client has read something
			select {
			case room <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	addr, err := r.Listen(netpoll.ListenConfig{Addr: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	if err := r.Start(); err != nil {
		b.Fatal(err)
	}
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	go func() { // ended by c.Close
		p := make([]byte, 256<<10)
		for read := 0; ; {
			n, err := c.Read(p)
			if err != nil {
				return
			}
			if read += n; read >= size {
				read = 0
				if _, err := c.Write([]byte{0}); err != nil {
					return
				}
			}
		}
	}()
	id, body := <-conns, make([]byte, size)
	b.SetBytes(size)
	before := cpuTime(b)
	for b.Loop() {
		for r.Queued(id) > 512<<10 {
			<-room
		}
		if err := r.Send(id, netpoll.Message{Body: body, Shared: true}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpuTime returns the CPU time of the process, the client's included, in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
