// Command benchc1m places a million copies on five thousand simulated nodes, or as many as it is told, through three servers that are
// processes of the real binary with their logs on a real disk, and says how long that took, what it cost, and whether it is right:
// every copy present once, no node over-committed, the three servers holding the same. A second phase submits at a steady rate and
// measures the time from a submission until the agent has the copy.
//
// The nodes are simulated (package fleet): they speak the protocol of agents over HTTP and start nothing. They do not gossip; the
// servers are told by server.lease_only to take their leases for all evidence of life.
//
// It prints a line MACHINE {…}, a table, and one line BENCH {"bench":"c1m",…} with every bound and whether it holds. It ends with an
// error that names those that do not. Bounds of time are those of a million copies, scaled to the number placed.
package main
