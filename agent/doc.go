// Package agent is one node: it opens the organs (state, consensus, gossip, sched, runtime, api), wires them to each other and
// runs their loops. It is the only room where two organs meet.
//
// An agent is a server, a client, or both. A server replicates the cluster's state, answers the API from it and, while it
// leads, runs the deciders. A client makes its machine's containers equal to what the leader decided. Both gossip, both serve
// the API, forwarding what they cannot answer.
//
// It owns: the configuration, the data directory, the peer listener and dialer, bootstrap and membership of the servers, the
// leases and probes of the nodes, the leader's loop, the node's loop. It refuses: deciding (sched), replicating (consensus),
// running tasks (runtime).
//
// Open wires and listens, Run works until its context ends, Close releases. Stopping an agent never stops a container.
package agent
