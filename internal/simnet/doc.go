// Package simnet is a network in memory for tests of whole agents: hosts with an IP each, TCP connections, gossip packets, and
// the ways in which real networks and machines fail. It works in and outside testing/synctest bubbles; inside, minutes of
// waiting for time-outs cost nothing.
//
//	net := simnet.New(simnet.Options{})
//	defer net.Close()
//	a, b := net.Host("10.0.0.1"), net.Host("10.0.0.2")
//	ln, err := a.Listen(ctx, "10.0.0.1:80")
//	conn, err := b.Dial(ctx, "10.0.0.1:80")
//	gossip, err := b.GossipTransport("10.0.0.2:7946")
//	net.Cut(a, b)            // dials hang, what is written waits; Heal delivers it, as TCP would
//	net.Kill(a, simnet.Refuse)
//
// A Host is what agent.Network asks for. How faults look:
//
//	Cut, CutOneWay, Isolate, Partition   packets lost, dials hang until their context ends, connections stay and wait
//	Kill(h, Refuse)                      the process died: connections reset, dials refused
//	Kill(h, Silent)                      the machine is gone: dials hang, its peers' connections never say anything again
//	Freeze(h)                            SIGSTOP: dials succeed, nothing is answered; Thaw lets everything through
//	SetLoss                              that share of gossip packets is lost
//
// Each takes protocols, so that gossip can be blocked while TCP works and the other way round. The code of a killed host still
// runs in the test's process: the test closes it. Everything it tries on the network fails meanwhile.
//
// In a bubble, nobody may hold a mutex while waiting for the network: another who waits for that mutex stops virtual time for
// all. Use a channel of capacity one where a turn must be held that long.
//
// Delays and losses come from a seeded generator. Two runs are alike as far as the scheduler allows, not bit for bit.
package simnet
