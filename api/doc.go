// Package api is how a cluster is talked to: one table of routes over HTTP and JSON, the server that answers them and the Go
// client that asks them.
//
// It owns: the table (Routes: method, path, capability, where it is answered, types, limits), the mux, the authorisation, the
// forwarding between agents, blocking reads, the views computed beside stored rows, the errors on the wire, and the types of the
// protocol between agents (nodeproto.go).
//
// It refuses: deciding anything, storing anything, parsing job files, and every import of ours but state. What it needs of an
// agent is declared in Backend, in small interfaces.
//
// Any agent answers any request: it serves it, forwards it to the leader, or proxies it to the agent that owns the allocation,
// one hop at most. An agent that was handed a forwarded request and is not the right one says who is, and the first agent tries
// there.
//
// There are two listeners. On the user's, everybody has every user capability (access control comes later) and never "node" or
// "server". On the peers', the caller is an agent that names its node ID; what an agent forwards it has authorised already.
//
// Server and Client may be used from any goroutine. Handlers run one goroutine per request, as net/http does.
package api
