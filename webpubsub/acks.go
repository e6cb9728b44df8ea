package webpubsub

import (
	"slices"
	"sort"
)

// MaxAckIntervals is how many intervals of served ackIds are remembered for a connection.
const MaxAckIntervals = 128

// ackSet remembers which ackIds of a connection have been served. Ids in order make one interval,
// whatever they begin with; each gap makes another. When there would be too many the lowest one is
// given up, and with it all the ids below. It is not safe for concurrent use: the calls of a session
// come one at a time. The zero value has seen none.
type ackSet struct {
	list  []interval // ascending; neighbours do not touch
	last  int        // the one of list that has changed last
	floor uint64     // ids below it are not known any more; none of list are below
}

// interval is the ids from and to, and all between.
type interval struct{ from, to uint64 }

type ackState uint8

const (
	ackNew    ackState = iota // not served
	ackServed                 // served before
	ackOld                    // below the floor, and nobody knows
)

// state tells what is known of an id.
func (a *ackSet) state(id uint64) ackState {
	i := a.find(id)
	switch {
	case i < len(a.list) && a.list[i].from <= id:
		return ackServed
	case id < a.floor:
		return ackOld
	}
	return ackNew
}

// find returns the first interval that does not end below an id. It searches only if the id does not
// follow the last one.
func (a *ackSet) find(id uint64) int {
	if a.last < len(a.list) {
		if to := a.list[a.last].to; to < id && id-to == 1 {
			return a.last + 1
		}
	}
	return sort.Search(len(a.list), func(i int) bool { return a.list[i].to >= id })
}

// served notes an id whose state is ackNew.
func (a *ackSet) served(id uint64) {
	i := a.find(id) // id lies between i-1 and i
	below := i > 0 && id-a.list[i-1].to == 1
	above := i < len(a.list) && a.list[i].from-id == 1
	switch {
	case below && above:
		a.list[i-1].to = a.list[i].to
		a.list = slices.Delete(a.list, i, i+1)
		i--
	case below:
		i--
		a.list[i].to = id
	case above:
		a.list[i].from = id
	case len(a.list) < MaxAckIntervals:
		a.list = slices.Insert(a.list, i, interval{id, id})
	case i == 0: // it would be the lowest itself
		a.floor = id + 1
	default:
		a.floor = a.list[0].to + 1
		i--
		copy(a.list, a.list[1:i+1])
		a.list[i] = interval{id, id}
	}
	a.last = i
}
