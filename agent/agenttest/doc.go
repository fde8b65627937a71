// Package agenttest runs clusters of whole agents in one test: real raft over boltdb, real memberlist, the real API and runner,
// on an in-memory network (internal/simnet) and machines of the fake driver, inside a testing/synctest bubble. Minutes of a
// cluster's life pass in milliseconds, with production time-outs.
//
// Only tests import it. New must be called inside a bubble; Close before it ends.
package agenttest
