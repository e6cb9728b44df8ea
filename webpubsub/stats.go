package webpubsub

import (
	"sync/atomic"

	"wsgateway/target"
)

// reason says why a request is refused, or a message is no request.
type reason uint8

const (
	refusedNot reason = iota
	refusedForbidden
	refusedGroup
	refusedData
	refusedTooMany
	refusedUnsupported
	refusedOld
	refusedBusy
	reasons
)

// reasonNames are the keys of Stats.Refused.
var reasonNames = [reasons]string{
	refusedForbidden:   "forbidden",
	refusedGroup:       "group",
	refusedData:        "data",
	refusedTooMany:     "too_many_groups",
	refusedUnsupported: "unsupported",
	refusedOld:         "old_ack_id",
	refusedBusy:        "busy",
}

// errorNames are those of error acks.
var errorNames = [reasons]string{
	refusedForbidden:   "Forbidden",
	refusedGroup:       "BadRequest",
	refusedData:        "BadRequest",
	refusedTooMany:     "BadRequest",
	refusedUnsupported: "BadRequest",
	refusedOld:         "BadRequest",
	refusedBusy:        "InternalServerError",
}

type counts struct {
	joins, leaves, publishes, pings atomic.Uint64
	duplicates, unanswered          atomic.Uint64
	malformed                       atomic.Uint64
	refused                         [reasons]atomic.Uint64
}

// Stats is a snapshot of a target's counters since it was created. Its parts are read one after the other.
type Stats struct {
	// Requests that were served. Joining a group twice, or leaving one the client is not in, counts.
	Joins, Leaves, Publishes, Pings uint64
	Duplicates                      uint64 // requests whose ackId had been served before
	// Refused counts requests by reason: forbidden; group, not the name of one; data, not what
	// dataType says; too_many_groups, see session.Config.SessionChannels; unsupported, a type or
	// dataType that nobody handles; old_ack_id; busy, too many publications wait or the server is
	// shutting down. All keys are always there.
	Refused    map[string]uint64
	Unanswered uint64 // of the refused ones: had no ackId, so that their client does not know
	Malformed  uint64 // messages that were no request, each of which closed its session
}

// Stats returns the counters.
func (t *Target) Stats() Stats {
	s := Stats{
		Joins:      t.counts.joins.Load(),
		Leaves:     t.counts.leaves.Load(),
		Publishes:  t.counts.publishes.Load(),
		Pings:      t.counts.pings.Load(),
		Duplicates: t.counts.duplicates.Load(),
		Refused:    make(map[string]uint64, reasons),
		Unanswered: t.counts.unanswered.Load(),
		Malformed:  t.counts.malformed.Load(),
	}
	for r := refusedNot + 1; r < reasons; r++ {
		s.Refused[reasonNames[r]] = t.counts.refused[r].Load()
	}
	return s
}

// Counters implements target.Target. Their names begin with "channels_", after the usual path.
func (t *Target) Counters() []target.Counter {
	st := t.Stats()
	refused := target.Counter{Name: "channels_refused_total", Label: "reason",
		Help: "Requests of clients of channels that were refused, by reason."}
	for r := refusedNot + 1; r < reasons; r++ {
		refused.Samples = append(refused.Samples, target.Sample{Label: reasonNames[r], Value: float64(st.Refused[reasonNames[r]])})
	}
	return []target.Counter{
		{Name: "channels_requests_total", Label: "type", Help: "Requests of clients of channels that were served.", Samples: []target.Sample{
			{Label: "join", Value: float64(st.Joins)},
			{Label: "leave", Value: float64(st.Leaves)},
			{Label: "publish", Value: float64(st.Publishes)},
			{Label: "ping", Value: float64(st.Pings)},
		}},
		target.Total("channels_duplicates_total", "Requests of clients of channels that were not served again, because one with their ackId had been.", st.Duplicates),
		refused,
		target.Total("channels_unanswered_total", "Refused requests of clients of channels that had no ackId, so that their client does not know.", st.Unanswered),
		target.Total("channels_malformed_total", "Messages of clients of channels that were no request; each closed its session.", st.Malformed),
	}
}
