package hub

// InFlight returns how many publications Drain would wait for.
func (h *Hub) InFlight() int { return int(h.inFlight.Load()) }
