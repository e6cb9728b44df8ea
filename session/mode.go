package session

import "fmt"

// Mode says where the calls of a route's handler run. The zero value is safe for any handler.
type Mode uint8

const (
	// MayBlock is for handlers that may wait, for a database for instance. Their calls run in a pool
	// of goroutines that the route has for itself (Route.BlockingCalls). While a call waits or runs,
	// its client is not read from, so that at most one message of each client is on its way. Other
	// goroutines find a session (Server.Sessions, SendAll) as soon as its handshake has been answered,
	// perhaps before OnOpen is called. Set what they need of it in Upgrade.Value.
	MayBlock Mode = iota
	// NeverBlocks is for handlers that return at once, in well under a millisecond. Sending never blocks.
	// Their calls run on the workers that decode messages, which saves a copy and a switch of goroutines.
	NeverBlocks
	// OnLoop is for handlers that take microseconds, as an echo does. Their calls run on the event loop
	// itself. A call that takes longer delays all clients of the loop.
	OnLoop
)

// String returns the mode's name.
func (m Mode) String() string {
	switch m {
	case MayBlock:
		return "MayBlock"
	case NeverBlocks:
		return "NeverBlocks"
	case OnLoop:
		return "OnLoop"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// MarshalText returns the mode's name, for JSON logs.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UpgradeMode says whether Route.OnUpgrade and Route.HTTP may block. Mode says it of the handler's
// calls.
type UpgradeMode uint8

const (
	// UpgradeAsMode is the default: OnUpgrade and HTTP run where the handler's calls do.
	UpgradeAsMode UpgradeMode = iota
	// UpgradeMayBlock: they run in the route's pool for calls that may block. The client waits for
	// its answer until they have returned, or Config.HandshakeTimeout is over.
	UpgradeMayBlock
	// UpgradeNeverBlocks: they run on a worker, or on the event loop if Mode is OnLoop.
	UpgradeNeverBlocks
)

// String returns the mode's name.
func (m UpgradeMode) String() string {
	switch m {
	case UpgradeAsMode:
		return "UpgradeAsMode"
	case UpgradeMayBlock:
		return "UpgradeMayBlock"
	case UpgradeNeverBlocks:
		return "UpgradeNeverBlocks"
	}
	return fmt.Sprintf("UpgradeMode(%d)", uint8(m))
}

// MarshalText returns the mode's name, for JSON logs.
func (m UpgradeMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// decidesLater reports whether OnUpgrade and HTTP may block.
func (r *Route) decidesLater() bool {
	return r.UpgradeMode == UpgradeMayBlock || r.UpgradeMode == UpgradeAsMode && r.Mode == MayBlock
}

// needsPool reports whether calls of the route run in the pool for calls that may block.
func (r *Route) needsPool() bool {
	return r.Mode == MayBlock || r.UpgradeMode == UpgradeMayBlock
}
