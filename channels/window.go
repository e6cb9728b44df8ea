package channels

import "math"

// Window is how far apart ackIds may be and still come in any order.
const Window = 1024

// window remembers which ackIds of a connection have been served. Ids in order cost nothing; a bitmap
// is allocated by the first one that is ahead of its turn. It is not safe for concurrent use: the
// calls of a session come one at a time. The zero value has seen none.
type window struct {
	zero  bool                 // 0 has been served
	floor uint64               // ids up to here, except 0, are not known any more
	next  uint64               // those between floor and next have been served; 0 stands for 1
	ahead *[Window / 64]uint64 // bits of the ids in [next, next+Window), by their rest
}

type ackState uint8

const (
	ackNew    ackState = iota // not served
	ackServed                 // served before
	ackOld                    // below the window, and nobody knows
)

func (w *window) has(id uint64) bool { return w.ahead[id%Window/64]&(1<<(id%64)) != 0 }
func (w *window) clear(id uint64)    { w.ahead[id%Window/64] &^= 1 << (id % 64) }
func (w *window) put(id uint64)      { w.ahead[id%Window/64] |= 1 << (id % 64) }
func (w *window) first() uint64      { return max(w.next, 1) }

// state tells what is known of an id.
func (w *window) state(id uint64) ackState {
	next := w.first()
	switch {
	case id == 0 && w.zero:
		return ackServed
	case id == 0:
		return ackNew
	case id <= w.floor:
		return ackOld
	case id < next:
		return ackServed
	case w.ahead != nil && id-next < Window && w.has(id):
		return ackServed
	}
	return ackNew
}

// served notes an id whose state is ackNew.
func (w *window) served(id uint64) {
	if id == 0 {
		w.zero = true
		return
	}
	next := w.first()
	if id == next && w.ahead == nil && id != math.MaxUint64 {
		w.next = id + 1
		return
	}
	if w.ahead == nil {
		w.ahead = new([Window / 64]uint64)
	}
	if id-next >= Window {
		w.slide(next, id-Window+1)
	} else {
		w.next = next
	}
	w.put(id)
	for w.next != math.MaxUint64 && w.has(w.next) { // the last id of all stays a bit
		w.clear(w.next)
		w.next++
	}
}

// slide moves the window on, so that it begins at to. The highest id that it passes and that has not
// been served becomes the floor.
func (w *window) slide(from, to uint64) {
	if to-from > Window { // to-1 was never in it
		*w.ahead = [Window / 64]uint64{}
		w.floor, w.next = to-1, to
		return
	}
	for id := from; id < to; id++ {
		if w.has(id) {
			w.clear(id)
		} else {
			w.floor = id
		}
	}
	w.next = to
}
