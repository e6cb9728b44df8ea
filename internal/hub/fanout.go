package hub

import (
	"runtime"
	"sync/atomic"
)

// publication is one that goes through the queues.
type publication struct {
	registry *Registry // of channel
	channel  *channel  // nil for a set
	set      Set
	msg      Message
	except   []Member
	sequence uint64
	shard    uint32       // of inFlight
	left     atomic.Int32 // goroutines that have not delivered it
}

// run is one fan-out goroutine: it delivers to part i of every channel, in the order of its queue. Start
// starts it, Close ends it and waits for it.
func (h *Hub) run(i uint32) {
	buf := make([]Member, 0, smallLen)
	for {
		select {
		case <-h.stop:
			return
		default:
		}
		select {
		case <-h.stop:
			return
		case p := <-h.queues[i]:
			if p.channel != nil {
				h.servePart(p, &p.channel.spread.Load().parts[i], buf)
			} else {
				h.serveSet(p, i, buf)
			}
			h.done(p)
		}
	}
}

// servePart delivers a publication to a part. Loops and workers of the caller wait no longer for the
// processor than for one slice.
func (h *Hub) servePart(p *publication, pt *part, buf []Member) {
	end := pt.begin()
	for at := 0; at < end && !h.closed.Load(); at += smallLen {
		h.deliver(pt.slice(buf, at, end, p.sequence), p.msg, p.except)
		runtime.Gosched()
	}
	pt.finish(h)
}

func (h *Hub) serveSet(p *publication, i uint32, buf []Member) {
	more := true
	for at := i; more && !h.closed.Load(); {
		var to []Member
		to, at, more = p.set.Scan(buf, at, uint32(len(h.queues)))
		h.deliver(to, p.msg, p.except)
		runtime.Gosched()
	}
}

// done says that one goroutine has delivered a publication, or has dropped it.
func (h *Hub) done(p *publication) {
	if p.left.Add(-1) > 0 {
		return
	}
	h.waitingBytes.Add(-int64(p.msg.Size()))
	h.waiting.Add(-1)
	if ch := p.channel; ch != nil && ch.spread.Load().waiting.Add(-1) == 0 && ch.count.Load() == 0 {
		p.registry.settle(ch)
	}
	h.end(p.shard)
}

// dropIfClosed drops what has been put into the queues after Close has emptied them.
func (h *Hub) dropIfClosed() {
	if h.closed.Load() {
		h.drop()
	}
}

func (h *Hub) drop() {
	for _, q := range h.queues {
		for dropped := true; dropped; {
			select {
			case p := <-q:
				h.done(p)
			default:
				dropped = false
			}
		}
	}
}
