// Package hub sends messages to the members of named channels, in one order.
//
// # Contract
//
// A [Hub] knows members by their numbers, and hands each message to a [Deliverer], once for each
// member. A [Registry] is a name space of channels. The caller may have one for the channels that
// its clients choose, and another one for its users. A channel exists while it has members.
//
// Every channel has one order. [Registry.Publish] gives each publication the next sequence number
// of its channel, beginning with 1, and all members see all publications in the order of their
// numbers, whoever published. A member gets exactly the numbers that are given between its Join and
// its Leave, without a gap. While Leave runs, and for a moment after it, a delivery that had begun
// may still arrive. When the last member has left, the next one finds a channel that begins with 1.
//
// There is no order between two channels, nor between a channel and a [Set].
//
// Any goroutine may call any method. One exception: calls of Join, Leave and LeaveAll for one member
// must not overlap. The caller needs a lock for that anyway, since only it knows whether the member
// still exists.
//
// # Delivery
//
// A channel of up to 64 members is small: the publisher itself delivers to them, before Publish
// returns. Publishers of one small channel take turns, so that a publisher may have to wait while
// another one delivers.
//
// The members of a larger channel are spread over parts, one for each fan-out goroutine, until the
// channel ends. Publish puts the publication into the queue of each of these goroutines. A
// goroutine delivers to 64 members at a time and yields in between. If most members have left and
// nothing waits, the publisher delivers as for a small channel.
//
// # Bounds
//
// Config.Publications and Config.PublicationBytes bound what waits in the queues. Beyond that
// Publish returns [ErrBusy], and no member gets the message. Publications to small channels never
// wait in a queue: each is held by its publisher. Config.Subscriptions bounds the memberships of
// all registries together, and with them the channels. The limit passed to Join bounds the
// memberships of one member in one registry.
//
// # The end
//
// [Hub.Seal] refuses further publications. [Hub.Drain] seals, and waits until all accepted
// publications have been delivered. [Hub.Close] drops those that wait. Close and Seal do not wait
// for a publisher to return.
//
// # Memory
//
// A membership costs 28 bytes in a large channel, and at most 64. A channel costs 80 bytes beside its
// name and its entry in a map. A member in no channel costs nothing here: the caller keeps its
// [Subscriptions], 4 bytes.
//
// # Locks
//
// They are taken in this order. Any of them may be left out:
//
//   - Hub.sets or channel.order: the right to publish next. Held during delivery to a small
//     channel.
//   - registryShard.mu: names and counts. [Occupied] is called under it.
//   - channel.mu or part.mu: a list of members. No two at a time.
//   - the locks of the pools, which hold nothing else.
//
// A goroutine that holds the lock of a shard may try to lock an order, but never waits for it.
// Deliverer.Deliver is called under an order lock or without a lock. So it must not call the hub,
// nor wait for a goroutine that does.
package hub
