// Package sched is the only place that decides. Every decider is a pure function of a snapshot and a time: it returns the
// commands that move the cluster one step towards what is wanted, and when to look again (0 for "when something changes").
//
//	NodeLoss   judges nodes from what was observed of them, behind the eviction guard
//	Reconcile  compares every changed job with its copies, stops what must go and places what is missing
//	Garbage    removes rows that nobody needs any more
//	Explain    answers why a copy cannot be placed, DryRun what a registration would do; both change nothing
//
// The leader runs the deciders in this order, each on the snapshot that the commands of those before led to. Everything is
// level-triggered: a decider never acts on an event's content, so that a missed event costs nothing and a new leader starts
// from the same snapshot with a zero Cursor.
//
// How a job's copies are compared with what is wanted, slot by slot (group, index):
//
//   - One live copy per slot. A stopped job, a removed group, a lowered count and a duplicate stop copies.
//   - A copy is outdated when what its node is told to do has changed (state.SameWork), or when the job changed and the node no
//     longer passes its constraints. Every other change (count, priority, reschedule, update, constraints that still hold) is
//     in place: the copy stays, with the version that it was placed with.
//   - Outdated copies are replaced UpdateStrategy.MaxParallel at a time; the next wait until the slots already replaced run.
//     Where old and new do not fit side by side the old one stops first, and its successor waits for its place. Copies that no
//     longer fit on a node that shrank leave it at the same pace, when there is room elsewhere.
//   - A failed copy is replaced as its ReschedulePolicy says, a complete batch copy never, a copy on a down node at once. A copy
//     on a disconnected node is kept: it may be running.
//
// It refuses: clocks, randomness, goroutines, I/O, logging. All functions may be called from any goroutine; a Cursor and a Guard
// are values whose content is never changed after they were returned.
package sched
