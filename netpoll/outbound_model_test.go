package netpoll_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"wsgateway/netpoll"
)

// outOp is a Send, SendShared (S), SendLossy, SendLossyShared (L), SendUrgent, SendFinal, or DropQueued.
type outOp struct {
	call byte
	size int
	key  byte
}

var outOps = rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) outOp {
	return outOp{
		call: rapid.SampledFrom([]byte(strings.Repeat("sSlLlLlu", 20)+"fdd")).Draw(rt, "call"),
		size: rapid.SampledFrom([]int{0, 20, 200, 600, 1500, 5000}).Draw(rt, "size"),
		key:  byte(rapid.IntRange(0, 3).Draw(rt, "key")),
	}
}), 0, 8)

// outMessage is what has become of a message so far.
type outMessage struct {
	numbered
	size    int
	err     error
	place   int  // in the order of the stream: its number, or that of the first in whose place it came
	lost    bool // in favour of a later one
	drops   int  // how many others it dropped
	room    int  // what they left of QueueBytes, if that is exact and no other bound was touched
	waits   bool // as the urgent one, while this turn runs
	arrived bool
}

func (m *outMessage) bytes() []byte {
	p := m.numbered.bytes(m.size)
	copy(p[10:], bytes.Repeat([]byte{byte(m.seq) ^ 0xa5}, m.size))
	return p
}

// outModel is what the doc comments say of one connection's output. Flushing changes none of the counters of what is
// lost, so that each difference is due to the call that it is seen at.
type outModel struct {
	r      *netpoll.Reactor
	c      netpoll.Conn
	peer   net.Conn
	cfg    netpoll.Config
	policy netpoll.Policy
	stream []byte // what the peer has read

	turns                      chan func(t *netpoll.Turn)
	entered, closed            chan bool
	closedErr                  error         // before closed
	seen                       atomic.Uint32 // reasons
	sent                       []*outMessage
	latest                     map[int]*outMessage // accepted, by kind<<8 | key
	accepted, bytes, refused   int                 // refused: and counted
	queued                     int                 // how many lossy messages this turn has certainly queued, -1 if none runs
	full, overflow, drop, last bool                // full: by overflow or by drop, DropQueued; last: SendFinal
	broken, alone              bool                // by QueueTotalBytes; a turn ends with nothing but SendFinal and the end
	what, details              string              // is wrong
}

func (m *outModel) expect(ok bool, what string, details ...any) {
	if !ok && m.what == "" {
		m.what, m.details = what, fmt.Sprint(details...)
	}
}

func (m *outModel) fail(rt *rapid.T) {
	if m.what != "" {
		rt.Log(m.details) // differs from run to run, which would keep rapid from shrinking
		rt.Fatal(m.what)
	}
}

// Whatever is sent in whatever way, in turns of the connection and outside, and however it ends: what arrives, what
// is refused and what is counted agree with each other and with the documentation.
func TestOutboundModel(t *testing.T) {
	for name, policy := range map[string]netpoll.Policy{
		"close slow": netpoll.CloseSlow, "drop oldest": netpoll.DropOldest, "drop newest": netpoll.DropNewest, "keep latest": netpoll.KeepLatest,
	} {
		t.Run(name, func(t *testing.T) { rapid.Check(t, func(rt *rapid.T) { checkOutbound(t, rt, policy) }) })
	}
}

func checkOutbound(t *testing.T, rt *rapid.T, policy netpoll.Policy) {
	draw := func(what string, of ...int) int { return rapid.SampledFrom(of).Draw(rt, what) }
	m := &outModel{policy: policy, latest: make(map[int]*outMessage), turns: make(chan func(*netpoll.Turn), 1), entered: make(chan bool), closed: make(chan bool), queued: -1}
	m.cfg = netpoll.Config{
		Loops: 1, Workers: 1, MaxConns: 10, ReadHighWater: 1 << 30, InlineBatch: draw("inline", 64, netpoll.NoInline), SendBuffer: draw("buffer", 300, 2500, 32<<10),
		QueueBytes: draw("bytes", 500, 3000, 20000, 20000, 1<<20), QueueMessages: draw("messages", 1, 4, 12, 12, 1000), QueueTotalBytes: int64(draw("total", 1000, 6000, 1<<30, 1<<30, 1<<30, 1<<30)),
	}
	m.r, m.c, m.peer = pairWith(t, m.cfg, &funcs{
		data: func(t *netpoll.Turn, _ []byte) { (<-m.turns)(t) },
		notice: func(t *netpoll.Turn, why netpoll.Reason) {
			m.seen.Or(uint32(why))
			if why&netpoll.Woken != 0 {
				(<-m.turns)(t)
			}
		},
		closed: func(_ *netpoll.Turn, err error) { m.closedErr = err; close(m.closed) },
	})
	defer m.r.Close()
	defer m.peer.Close()
	if err := errors.Join(m.r.SetSendBuffer(m.c, draw("socket", 1, 1, 16<<10)), m.peer.SetDeadline(time.Now().Add(20*time.Second))); err != nil {
		rt.Fatal(err)
	}
	alive := true
	for i := rapid.IntRange(1, 40).Draw(rt, "steps"); i > 0 && alive; i-- {
		switch step := draw("step", 'n', 'd', 'o', 'o', 'r', 'r', 'r'); step {
		case 'n', 'd':
			alive = m.turn(step == 'd', outOps.Draw(rt, "inside"), outOps.Draw(rt, "beside"), nil)
		case 'o':
			m.do(nil, outOps.Draw(rt, "outside"))
		case 'r': // what has been sent is there
			p := make([]byte, min(draw("read", 1, 700, 2500, 5000, 1<<20), int(m.r.Stats().SentBytes)-len(m.stream)))
			if _, err := io.ReadFull(m.peer, p); err != nil {
				rt.Fatal(err)
			}
			m.stream = append(m.stream, p...)
			alive = draw("flush", 1, 1, 0) == 0 || m.turn(false, nil, nil, nil)
		}
		m.fail(rt)
	}
	if alive && m.overflow && m.turn(false, nil, nil, nil) {
		m.expect(netpoll.Reason(m.seen.Load())&netpoll.Overflow != 0, "no turn with the reason Overflow")
	}
	end := draw("end", 'f', 'f', 'l', 'l', 'a', 'p', 'c')
	final := []outOp{{call: 'f', size: draw("final", 0, 0, 600)}}[:draw("finals", 0, 1, 1)]
	switch end {
	case 'f', 'l':
		m.alone = m.turn(false, final, nil, func(t *netpoll.Turn) { t.CloseFlushed(end == 'l') }) && len(final) > 0
	case 'a':
		m.alone = m.turn(false, final, nil, func(t *netpoll.Turn) { t.Abort(io.ErrNoProgress) }) && len(final) > 0
	case 'p':
		m.peer.Close()
	case 'c':
		m.r.Close()
	}
	m.fail(rt)
	if end != 'p' {
		rest, err := io.ReadAll(m.peer)
		if err != nil && (alive || !errors.Is(err, unix.ECONNRESET)) {
			rt.Fatal(err)
		}
		m.stream = append(m.stream, rest...)
		m.peer.Close()
	}
	m.expect(m.wait(m.closed), "not closed")
	settled(t, m.r)
	m.check(end)
	m.fail(rt)
}

func (m *outModel) wait(c chan bool) bool {
	select {
	case <-c:
		return true
	case <-m.closed:
		return c == m.closed
	case <-time.After(20 * time.Second):
		m.expect(false, "no turn")
		return false
	}
}

// turn has a turn done: what its handler does, and what is done meanwhile outside. It reports false if the connection is gone.
func (m *outModel) turn(data bool, inside, beside []outOp, end func(*netpoll.Turn)) bool {
	release := make(chan bool)
	m.turns <- func(t *netpoll.Turn) {
		m.queued = 0
		m.do(t, inside)
		if end != nil {
			end(t)
		}
		m.entered <- true
		<-release
	}
	if data {
		_, _ = m.peer.Write([]byte{0})
	} else {
		_ = m.r.Wake(m.c)
	}
	if !m.wait(m.entered) {
		<-m.turns
		return false
	}
	m.do(nil, beside)
	m.queued = -1
	if u := m.latest[urgentKey]; u != nil {
		u.waits = false
	}
	close(release)
	for m.r.Corked(m.c) {
		runtime.Gosched() // from now on what is sent leaves at once
	}
	return true
}

// do calls, in turn t or outside, and has each call judged.
func (m *outModel) do(t *netpoll.Turn, ops []outOp) {
	for _, o := range ops {
		st, queued := m.r.Stats(), m.r.Queued(m.c)
		if o.call == 'd' {
			if t != nil {
				t.DropQueued()
				m.dropped(st, queued)
			}
			continue
		}
		kind := map[byte]byte{'s': kindPlain, 'S': kindPlain, 'l': kindLossy, 'L': kindLossy, 'u': kindUrgent, 'f': kindEnd}[o.call]
		msg := &outMessage{numbered: numbered{kind, o.key, uint32(len(m.sent))}, size: o.size, place: len(m.sent)}
		m.sent = append(m.sent, msg)
		p := msg.bytes()
		switch o.call {
		case 's':
			msg.err = m.r.Send(m.c, netpoll.Message{Prefix: netpoll.MakePrefix(p[:10]), Body: p[10:]})
		case 'S':
			msg.err = m.r.Send(m.c, netpoll.Message{Body: p, Shared: true})
		case 'l':
			msg.err = m.r.Send(m.c, netpoll.Message{Prefix: netpoll.MakePrefix(p[:5]), Body: p[5:], Policy: m.policy, Key: uint64(o.key)})
		case 'L':
			msg.err = m.r.Send(m.c, netpoll.Message{Body: p, Shared: true, Policy: m.policy, Key: uint64(o.key)})
		case 'u':
			msg.err = m.r.Send(m.c, netpoll.Message{Prefix: netpoll.MakePrefix(p[:7]), Body: p[7:], Urgent: true})
		case 'f':
			msg.err = m.r.Send(m.c, netpoll.Message{Body: p, Final: true})
		}
		if o.call != 'S' && o.call != 'L' {
			clear(p) // ours again
		}
		m.judge(msg, st, queued)
	}
}
