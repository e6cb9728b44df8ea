package netpoll

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// InjectAcceptErrors makes every accept4 fail with what next returns, until that is 0. Call it
// before Start.
func (r *Reactor) InjectAcceptErrors(next func() unix.Errno) {
	r.acceptor.accept4 = func(fd int, p *peer) (int, unix.Errno) {
		if errno := next(); errno != 0 {
			return -1, errno
		}
		return accept4(fd, p)
	}
}

// SlotSize is the size of a slot in bytes.
const SlotSize = unsafe.Sizeof(slot{})

// QueueSlots returns how many messages the list of c's outbound queue has room for.
func (r *Reactor) QueueSlots(c Conn) int {
	s := r.slots.At(c.Index())
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.out == 0 {
		return 0
	}
	return cap(r.outs.At(s.out - 1).segs)
}
