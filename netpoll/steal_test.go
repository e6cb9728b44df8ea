package netpoll_test

import (
	"fmt"
	"testing"
	"time"

	"wsgateway/internal/waits"
	"wsgateway/netpoll"
)

// What waits behind workers that are held up is served by any other worker: each of them takes from
// the lists of all others, whatever the numbers of loops and workers.
func TestEveryWorkerTakesFromEveryOther(t *testing.T) {
	for _, n := range [][2]int{{2, 2}, {1, 4}, {1, 2}} {
		for free := range n[1] {
			t.Run(fmt.Sprintf("%d loops, %d workers, %d is free", n[0], n[1], free), func(t *testing.T) {
				checkStealing(t, n[0], n[1], free)
			})
		}
	}
}

// checkStealing holds all workers up, wakes four connections for each of them, and has the call
// that came as number free return. The worker that made it must serve all of them.
func checkStealing(t *testing.T, loops, workers, free int) {
	conns, held, served := make(chan netpoll.Conn, 1), make(chan chan bool), make(chan netpoll.Conn, 4*workers)
	holds := make(map[netpoll.Conn]bool)
	r, addr := start(t, netpoll.Config{Loops: loops, Workers: workers, InlineBatch: netpoll.NoInline}, &funcs{
		opened: func(t *netpoll.Turn) { conns <- t.Conn() },
		notice: func(t *netpoll.Turn, _ netpoll.Reason) {
			if !holds[t.Conn()] {
				served <- t.Conn()
				return
			}
			release := make(chan bool)
			held <- release
			<-release
		},
	})
	var ids []netpoll.Conn
	for i := range 5 * workers {
		dial(t, addr)
		ids = append(ids, waits.Receive(t, conns, "a connection"))
		holds[ids[i]] = i < workers // before it is woken
	}
	for _, id := range ids {
		waits.Eventually(t, func() bool { return r.Idle(id) }, "the connection is idle")
	}
	var releases []chan bool
	for _, id := range ids[:workers] {
		if err := r.Wake(id); err != nil {
			t.Fatal(err)
		}
		release := waits.Receive(t, held, "a worker that is held up")
		t.Cleanup(func() { close(release) }) // before the reactor is closed
		releases = append(releases, release)
	}
	for _, id := range ids[workers:] {
		if err := r.Wake(id); err != nil {
			t.Fatal(err)
		}
	}
	releases[free] <- true
	got := make(map[netpoll.Conn]bool)
	for timeout := time.After(30 * time.Second); len(got) < 4*workers; {
		select {
		case id := <-served:
			got[id] = true
		case <-timeout:
			t.Fatalf("%d of %d were served", len(got), 4*workers)
		}
	}
}
