// Package fleet is what the benchmarks of many nodes share: servers that are child processes of the real binary, with their logs on a
// real disk, and one child process of simulated agents. A simulated agent speaks the agents' protocol over real HTTP, by the types and
// the client of package api: it registers, polls for its allocations with everything that it holds, reports them as running at once,
// and so renews its lease. It starts nothing, does not gossip and listens nowhere; servers are told so by server.lease_only.
//
// A program that uses it calls Main first: the package re-executes the program as the process of the agents.
package fleet
