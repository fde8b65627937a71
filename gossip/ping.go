package gossip

import "net"

// Ping asks a member by one packet and reports whether it answered within half a second: a way to a machine that does not need
// its TCP.
func (g *Gossip) Ping(id string) bool {
	m, ok := g.Member(id)
	if !ok {
		return false
	}
	addr, err := net.ResolveUDPAddr("udp", m.Addr)
	if err != nil {
		return false
	}
	if g.open() != nil {
		return false
	}
	_, err = g.list.Ping(id, addr)
	return err == nil
}
