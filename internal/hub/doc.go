// Package hub sends messages to the members of named channels, in one order.
//
// # Contract
//
// A [Hub] knows members by their numbers, and hands each message to a [Deliverer], once for each
// member. A [Registry] is a name space of channels: the caller has one for the channels that its
// clients choose, and others for users or rooms of its own. A channel comes into being with its
// first member and ends with its last.
//
// Every channel has one order. [Registry.Publish] gives each publication the next sequence number
// of its channel, beginning with 1, and all members see all publications in the order of their
// numbers, whoever published. A member gets exactly the numbers that are given between its Join and
// its Leave, without a gap. While Leave runs, and for a moment after it, a delivery that had begun
// may still arrive. A channel that has ended and comes back begins with 1 again.
//
// There is no order between two channels, nor between a channel and a [Set].
//
// Any goroutine may call any method. One exception: calls of Join, Leave and LeaveAll for one member
// must not overlap. The caller needs a lock for that anyway, since only it knows whether the member
// still exists.
//
// # Delivery
//
// A channel of up to 64 members is small: whoever publishes delivers to them, before Publish returns.
// Two publishers of one small channel take turns, so that a publisher may wait for as long as
// others deliver to these members. A larger channel is spread over parts, one for each fan-out
// goroutine, and stays so until it ends. Publish then puts the publication into the queue of each
// goroutine. A goroutine delivers to 64 members at a time and yields in between. Once most members have
// left a large channel and nothing waits, it is served as a small one is.
//
// # Bounds
//
// Config.Publications and Config.PublicationBytes bound what waits in the queues. Beyond, Publish
// returns [ErrBusy] and nobody gets the message. What small channels deliver never waits in a queue,
// and is bounded by the number of publishers. Config.Subscriptions bounds memberships, and with them
// channels, of all registries together; the limit passed to Join bounds those of one member in one
// registry.
//
// # The end
//
// [Hub.Seal] refuses further publications. [Hub.Drain] seals, and waits until all that were accepted
// have been delivered. [Hub.Close] drops what waits. Neither waits for a publisher to return.
//
// # Memory
//
// A membership costs 28 bytes in a large channel, and at most 64. A channel costs 80 bytes beside its
// name and its entry in a map. A member in no channel costs nothing here: the caller keeps its
// [Subscriptions], 4 bytes.
//
// # Locks
//
// In this order, each optional:
//
//   - Hub.sets or channel.order: who publishes next. Held while a small channel is delivered to.
//   - registryShard.mu: names and counts. [Occupied] is called under it.
//   - channel.mu or part.mu: a list of members. No two at a time.
//   - the locks of the pools, which hold nothing else.
//
// A goroutine that holds a shard only tries to lock an order, and never waits for it.
// Deliverer.Deliver is called under an order or no lock. So it must not call the hub, nor wait for a
// goroutine that does.
package hub
