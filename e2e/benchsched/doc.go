// Command benchsched measures the planner alone: no Raft, no network, no agents, one process. For fleets of several sizes, shapes of
// jobs and sizes of jobs it places 10,000 copies on nodes of mixed sizes that are partly full, and prints what a placement costs.
//
// The planner is sched.Reconcile as the leader runs it: from the snapshot that the last plan led to, moved forward by what changed.
// Counted is the processor time of the planner's thread, and of the collector the part that the planner's allocations have of all.
// What applies the plans in between is not counted. Beside each row stands how well it packs, against an exhaustive search that
// looks at every node for every copy.
//
// It exits with 1 when a bound does not hold.
package main
