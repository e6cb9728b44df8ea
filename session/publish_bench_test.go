package session_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"wsgateway/session"
	"wsgateway/wsproto"
)

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

// BenchmarkPublish5000 compares the CPU time of Server.Publish, to a channel of 5,000 members, with
// that of loops that do nothing but write the same bytes to the same sockets:
//
//	go test -run '^$' -bench Publish5000 -count 5 ./session
//
// The clients are a process of their own, so that the CPU time of this one (getrusage, user and system) is
// that of sending. For local sockets it includes what the kernel does to receive, in all cases the same.
// The clients read between the rounds only: no socket is ever full, which is checked, no message wakes
// anybody, and nobody else wants the processors.
//
// One operation is a number of rounds. A round sends to each member, five messages or one, in each of
// these ways, which take turns in being first:
//
//   - publish: Server.Publish, until everybody has been sent to;
//   - write-loop: the bare system call write(2), on one thread;
//   - write-loops: the same on GOMAXPROCS threads, as publications have so many goroutines: what processors
//     cost each other (caches, hyper-threads, locks of the kernel) shows here;
//   - sendto-loop: the bare system call sendto(2), on one thread. The server uses it, and it is cheaper
//     than write(2), which has more to look at before it gets to the socket. What publish costs beyond
//     it is the server's own;
//   - unix.Write: a loop of that, on one thread, which tells Go's scheduler of each call.
//
// Reported are medians, in nanoseconds per message and member, and the ratios of publish to the others.
func BenchmarkPublish5000(b *testing.B) {
	for _, bb := range []struct {
		network                string
		size, messages, rounds int
	}{
		{"tcp", 128, 5, 16},
		{"tcp", 128, 1, 40},
		{"tcp", 1 << 10, 5, 16},
		{"unix", 128, 5, 16},
	} {
		b.Run(fmt.Sprintf("%s/%dx%dB", bb.network, bb.messages, bb.size), func(b *testing.B) {
			benchmarkPublish(b, bb.network, bb.size, bb.messages, bb.rounds)
		})
	}
}

func benchmarkPublish(b *testing.B, network string, size, messages, rounds int) {
	const members, warmUp = 5000, 4
	c := newCrowd(b, network, members)
	c.join("c", c.sessions...)
	payload := bytes.Repeat([]byte("x"), size)
	m := session.Prepare(wsproto.OpText, payload)
	frame := wsproto.AppendFrame(nil, wsproto.OpText, payload)

	ways := []struct {
		name string
		send func()
	}{
		{"publish", func() { c.publish("c", m, messages) }},
		{"write-loop", func() { c.send(frame, messages, 1, bareWrite) }},
		{"write-loops", func() { c.send(frame, messages, runtime.GOMAXPROCS(0), bareWrite) }},
		{"sendto-loop", func() { c.send(frame, messages, 1, bareSend) }},
		{"unix.Write", func() { c.send(frame, messages, 1, unixWrite) }},
	}
	spent := make([][]time.Duration, len(ways))
	var published, mallocs uint64
	var before, after runtime.MemStats
	round := func(n int) {
		for i := range ways {
			w := (n + i) % len(ways)
			runtime.ReadMemStats(&before)
			start := processCPU(b)
			ways[w].send()
			spent[w] = append(spent[w], processCPU(b)-start)
			runtime.ReadMemStats(&after)
			if w == 0 {
				published += uint64(messages)
				mallocs += after.Mallocs - before.Mallocs
				if n := c.srv.Stats().QueueMessages; n != 0 {
					b.Errorf("%d messages found no room in a socket", n)
				}
			}
			if b.Failed() {
				b.FailNow()
			}
			c.read(members * messages * len(frame))
		}
		if st := c.srv.Stats().Channels; st.Missed != 0 || st.Delivered != published*members {
			b.Fatalf("%d messages delivered, %d missed, want %d and 0", st.Delivered, st.Missed, published*members)
		}
	}
	for n := range warmUp {
		round(n)
	}
	clear(spent)
	mallocs = 0
	ops := 0
	for b.Loop() {
		for n := range rounds {
			round(n)
		}
		ops++
	}
	b.ReportMetric(0, "ns/op") // most of it is waiting
	b.ReportMetric(float64(mallocs)/float64(ops*rounds*messages), "allocs/publication")
	publish := median(spent[0])
	for w, way := range ways {
		each := median(spent[w])
		b.ReportMetric(float64(each)/float64(members*messages), way.name+"-ns")
		if w > 0 {
			b.ReportMetric(float64(publish)/float64(each), "x-"+way.name)
		}
	}
}

// BenchmarkJoinLeave is the cost of joining a channel and leaving it again, the one joined last, for
// a session that is in some channels already. A channel of one member comes and goes with it.
//
//	go test -run '^$' -bench JoinLeave ./session
func BenchmarkJoinLeave(b *testing.B) {
	const most = 5000
	c := newCrowd(b, "unix", most)
	s := c.sessions[0]
	c.join(fmt.Sprint("of ", most), c.sessions[1:]...)
	joined := 0
	for _, in := range []int{0, 16, 100} {
		for ; joined < in; joined++ {
			c.join(fmt.Sprint("other ", joined), s)
		}
		for _, members := range []int{1, most} {
			channel := fmt.Sprint("of ", members)
			b.Run(fmt.Sprintf("in=%d/members=%d", in, members), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := s.Join(channel); err != nil {
						b.Fatal(err)
					}
					s.Leave(channel)
				}
			})
		}
	}
}

// BenchmarkSubscriptionMemory reports by how much the heap grows with a subscription, where 5,000
// sessions are in 20 channels each, its share of the channels and their names included. An operation is all
// of them joining and leaving.
//
//	go test -run '^$' -bench SubscriptionMemory ./session
func BenchmarkSubscriptionMemory(b *testing.B) {
	const sessions, channels = 5000, 20
	for _, members := range []int{sessions, 100, 10, 1} { // of a channel
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			c := newCrowd(b, "unix", sessions)
			name := func(session, i int) string { return fmt.Sprintf("channel %d %d", i, session/members) }
			before := heap()
			var grown uint64
			for b.Loop() {
				for n, s := range c.sessions {
					for i := range channels {
						c.join(name(n, i), s)
					}
				}
				if grown == 0 { // later ones find the memory that the first has left
					b.StopTimer()
					grown = heap() - before
					if got := c.srv.Stats().Channels; got.Subscriptions != sessions*channels || got.Channels != channels*sessions/members {
						b.Fatalf("%d subscriptions to %d channels", got.Subscriptions, got.Channels)
					}
					b.StartTimer()
				}
				for n, s := range c.sessions {
					for i := range channels {
						s.Leave(name(n, i))
					}
				}
			}
			b.ReportMetric(float64(grown)/(sessions*channels), "heap-B/subscription")
		})
	}
}

// heap returns how many bytes the heap holds that are in use.
func heap() uint64 {
	for range 3 { // pools keep what one collection leaves
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
