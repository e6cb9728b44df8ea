package netpoll

import "net/netip"

// peer is a client's address without pointers. Of a unix socket nothing is known.
type peer struct {
	ip   [16]byte
	port uint16
	len  uint8 // 4, 16, or 0 when unknown
}

func makePeer(a netip.AddrPort) (p peer) {
	switch {
	case !a.IsValid():
	case a.Addr().Unmap().Is4():
		v4 := a.Addr().Unmap().As4()
		copy(p.ip[:], v4[:])
		p.port, p.len = a.Port(), 4
	default:
		p = peer{ip: a.Addr().As16(), port: a.Port(), len: 16}
	}
	return p
}

func (p *peer) addrPort() netip.AddrPort {
	switch p.len {
	case 4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(p.ip[:4])), p.port)
	case 16:
		return netip.AddrPortFrom(netip.AddrFrom16(p.ip).Unmap(), p.port)
	}
	return netip.AddrPort{}
}

// Peer returns the client's address as the kernel saw it, or as Adopt was told. It returns the
// zero AddrPort for a unix socket, and when c is gone.
func (r *Reactor) Peer(c Conn) netip.AddrPort {
	if !r.known(c) {
		return netip.AddrPort{}
	}
	s := r.slots.At(c.Index())
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if uint32(s.word.Load()>>32) != c.Gen() {
		return netip.AddrPort{}
	}
	return r.peers.At(c.Index()).addrPort()
}
