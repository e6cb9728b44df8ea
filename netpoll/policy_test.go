package netpoll_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wsgateway/netpoll"
)

// pair returns a reactor with one connection, and its other end. It is a unix socket, whose buffer
// is small.
func pair(t *testing.T, cfg netpoll.Config) (*netpoll.Reactor, netpoll.Conn, net.Conn) {
	t.Helper()
	return pairWith(t, cfg, &funcs{})
}

// pairWith is pair with a handler whose opened is not used.
func pairWith(t *testing.T, cfg netpoll.Config, h *funcs) (*netpoll.Reactor, netpoll.Conn, net.Conn) {
	t.Helper()
	conns := make(chan netpoll.Conn, 1)
	h.opened = func(t *netpoll.Turn) { conns <- t.Conn() }
	r, err := netpoll.New(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	addr, err := r.Listen(netpoll.ListenConfig{Addr: "unix:" + filepath.Join(t.TempDir(), "s")})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return r, <-conns, c
}

// numbered is a message that says what it is: its kind, key, number, and length.
type numbered struct {
	kind, key byte
	seq       uint32
}

const (
	kindPlain byte = iota
	kindLossy
	kindEnd
)

func (m numbered) bytes(size int) []byte {
	p := make([]byte, 10+size)
	p[0], p[1] = m.kind, m.key
	binary.BigEndian.PutUint32(p[2:], m.seq)
	binary.BigEndian.PutUint32(p[6:], uint32(size))
	return p
}

func readNumbered(r io.Reader) (numbered, error) {
	var head [10]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return numbered{}, err
	}
	m := numbered{head[0], head[1], binary.BigEndian.Uint32(head[2:])}
	_, err := io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint32(head[6:])))
	return m, err
}

// Whatever is sent and read in whatever order: what is lost has been counted or refused as the policy
// says, and nothing else is; what arrives is in order; and the counts of what waits are right.
func TestPolicies(t *testing.T) {
	for name, policy := range map[string]netpoll.Policy{
		"drop oldest": netpoll.DropOldest, "drop newest": netpoll.DropNewest, "keep latest": netpoll.KeepLatest,
	} {
		t.Run(name, func(t *testing.T) { rapid.Check(t, func(rt *rapid.T) { checkPolicy(t, rt, policy) }) })
	}
}

func checkPolicy(t *testing.T, rt *rapid.T, policy netpoll.Policy) {
	cfg := netpoll.Config{QueueBytes: rapid.SampledFrom([]int{40 << 10, 1 << 20}).Draw(rt, "bytes"), QueueMessages: rapid.IntRange(2, 40).Draw(rt, "messages")}
	r, id, conn := pair(t, cfg)
	defer r.Close()
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	size := func() int { return rapid.SampledFrom([]int{0, 100, 3000, 20000, 70000}).Draw(rt, "size") }

	var sent, got []numbered // sent: what was not refused
	read := func(n int) {
		for range n {
			m, err := readNumbered(conn)
			if err != nil {
				rt.Fatal(err)
			}
			got = append(got, m)
		}
	}
	var refused uint64
	const keys = 5
	for seq := range uint32(rapid.IntRange(1, 300).Draw(rt, "sends")) {
		m := numbered{kindLossy, 1 + byte(rapid.IntRange(0, keys-1).Draw(rt, "key")), seq}
		p := m.bytes(size())
		var err error
		switch rapid.IntRange(0, 9).Draw(rt, "kind") {
		case 0: // a message without policy, if there is room: it would otherwise end the connection's use
			if r.Queued(id) > 0 {
				continue
			}
			m.kind, m.key = kindPlain, 0
			err = r.Send(id, netpoll.Message{Prefix: netpoll.MakePrefix(m.bytes(0))})
		case 1:
			err = r.Send(id, netpoll.Message{Prefix: netpoll.MakePrefix(p[:10]), Body: p[10:], Policy: policy, Key: uint64(m.key)})
		default:
			err = r.Send(id, netpoll.Message{Body: p, Shared: true, Policy: policy, Key: uint64(m.key)})
		}
		switch {
		case err == nil:
			sent = append(sent, m)
		case errors.Is(err, netpoll.ErrDropped) && m.kind == kindLossy,
			errors.Is(err, netpoll.ErrQueueFull) && policy == netpoll.KeepLatest && m.kind == kindLossy:
			refused++
		default:
			rt.Fatal(err)
		}
		if errors.Is(err, netpoll.ErrQueueFull) {
			break // nothing more is sent
		}
		if lost := lostMessages(r.Stats()); rapid.Bool().Draw(rt, "read") && uint64(len(sent)-len(got)) > lost {
			read(rapid.IntRange(0, min(3, len(sent)-len(got)-int(lost))).Draw(rt, "reads"))
		}
	}
	lost := lostMessages(r.Stats())
	// The last one, for which there is always room, shows that all has been read.
	if err := r.Send(id, netpoll.Message{Body: numbered{kind: kindEnd}.bytes(0), Final: true}); err != nil {
		rt.Fatal(err)
	}
	for {
		read(1)
		if got[len(got)-1].kind == kindEnd {
			got = got[:len(got)-1]
			break
		}
	}
	checkLosses(rt, r, policy, losses{sent: len(sent), arrived: len(got), lost: lost, refused: refused})
	checkArrived(rt, policy, sent, got)
}

// losses is what a run of sends came to, in messages.
type losses struct {
	sent, arrived int
	lost, refused uint64
}

// checkLosses checks the counters of an empty reactor against what has been seen.
func checkLosses(rt *rapid.T, r *netpoll.Reactor, policy netpoll.Policy, n losses) {
	st := r.Stats()
	for began := time.Now(); st.QueueMessages != 0 && time.Since(began) < 30*time.Second; st = r.Stats() {
		runtime.Gosched() // the loop counts after it has sent
	}
	if st.QueueMessages != 0 || st.QueueBytes != 0 {
		rt.Fatalf("%d messages, %d bytes seem to wait", st.QueueMessages, st.QueueBytes)
	}
	if uint64(n.sent-n.arrived) != n.lost {
		rt.Fatalf("%d sent, %d arrived, %d lost", n.sent, n.arrived, n.lost)
	}
	switch policy {
	case netpoll.DropOldest, netpoll.DropNewest:
		if st.DroppedNewest != n.refused || st.Conflated != 0 || policy == netpoll.DropNewest && st.DroppedOldest != 0 {
			rt.Fatalf("%d refused, stats %+v", n.refused, st)
		}
	case netpoll.KeepLatest:
		if st.Dropped+st.DroppedNewest != n.refused || st.DroppedOldest != 0 {
			rt.Fatalf("%d refused, stats %+v", n.refused, st)
		}
	}
}

func lostMessages(st netpoll.Stats) uint64 { return st.DroppedOldest + st.Conflated }

// checkArrived checks what arrived of what was sent.
func checkArrived(rt *rapid.T, policy netpoll.Policy, sent, got []numbered) {
	arrived := make(map[uint32]bool)
	last := make(map[byte]int64) // by key; without KeepLatest they are all in one order
	for _, m := range got {
		key := m.key
		if policy != netpoll.KeepLatest {
			key = 0
		}
		if n, ok := last[key]; ok && int64(m.seq) <= n {
			rt.Fatalf("%d of key %d arrived after %d", m.seq, m.key, n)
		}
		last[key] = int64(m.seq)
		arrived[m.seq] = true
	}
	latest := make(map[byte]uint32)
	for _, m := range sent {
		latest[m.key] = m.seq
		if m.kind == kindPlain && !arrived[m.seq] {
			rt.Fatalf("%d, which had no policy, was lost", m.seq)
		}
		if policy == netpoll.DropNewest && !arrived[m.seq] {
			rt.Fatalf("%d was taken and did not arrive", m.seq)
		}
	}
	for key, seq := range latest {
		if policy == netpoll.KeepLatest && !arrived[seq] {
			rt.Fatalf("the latest of key %d, %d, did not arrive", key, seq)
		}
	}
	if n := len(sent); n > 0 && policy == netpoll.DropOldest && !arrived[sent[n-1].seq] {
		rt.Fatalf("the newest, %d, did not arrive", sent[n-1].seq)
	}
}

// In a turn too, nothing overtakes what was sent before, and what the turn has collected is not
// dropped.
func TestPolicyInTurn(t *testing.T) {
	for _, policy := range []netpoll.Policy{netpoll.DropOldest, netpoll.DropNewest, netpoll.KeepLatest} {
		h := &funcs{}
		turns := make(chan error, 1)
		seq := uint32(0)
		h.data = func(t *netpoll.Turn, p []byte) {
			var err error
			for range 40 {
				seq++
				m := numbered{kindLossy, byte(seq % 20), seq}
				if seq%10 == 0 {
					m.kind = kindPlain
					err = errors.Join(err, t.Reactor().Send(t.Conn(), netpoll.Message{Body: m.bytes(5)}))
					continue
				}
				e := t.Reactor().Send(t.Conn(), netpoll.Message{Body: m.bytes(2000), Shared: true, Policy: policy, Key: 1 + uint64(m.key)})
				if e != nil && !(errors.Is(e, netpoll.ErrDropped) && policy == netpoll.DropNewest) {
					err = errors.Join(err, e)
				}
			}
			turns <- err
		}
		r, err := netpoll.New(netpoll.Config{QueueMessages: 50, ReadHighWater: 1 << 30}, h)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		addr, err := r.Listen(netpoll.ListenConfig{Addr: "unix:" + filepath.Join(t.TempDir(), "s")})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("unix", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		const rounds = 12
		for range rounds {
			if _, err := conn.Write([]byte{0}); err != nil {
				t.Fatal(err)
			}
			if err := <-turns; err != nil {
				t.Fatal(policy, err)
			}
		}
		st := r.Stats()
		lost := st.DroppedOldest + st.DroppedNewest + st.Conflated
		if lost == 0 || st.Dropped > 0 {
			t.Fatalf("policy %d: %+v", policy, st)
		}
		var last, plain uint32
		for range rounds*40 - int(lost) {
			m, err := readNumbered(conn)
			if err != nil {
				t.Fatal(err)
			}
			if m.seq <= last && policy != netpoll.KeepLatest {
				t.Fatalf("policy %d: %d after %d", policy, m.seq, last)
			}
			if last = m.seq; m.kind == kindPlain {
				plain++
			}
		}
		if plain != rounds*4 {
			t.Errorf("policy %d: %d of %d messages without a policy arrived", policy, plain, rounds*4)
		}
	}
}
