// Package state holds what the cluster knows: the nouns (Job, Node, Alloc …), the commands that change them, the immutable
// Snapshot of every table at one Raft index, and the Store that swaps one snapshot for the next.
//
// It owns: the rows, their names on the wire, validation of a row, the total and deterministic application of commands, the
// referee that keeps any plan from over-committing a node, keyed watches, and the snapshot file.
//
// It refuses: clocks, randomness, I/O other than the reader and writer it is handed, logging, and imports of any other room.
//
// Mixed versions: whatever apply calls is frozen for a cluster level; to change it, branch on the level. A field added to a row
// or a command carries omitempty, so that rows that do not use it keep their bytes, and with them the hashes that servers of
// different versions compare, and it stands at the end of its struct, because packed commands know fields by their number. Encode
// validates, once, before an entry exists; Validate may change with any version.
//
// Snapshots may be read by any goroutine without locks for as long as it likes. Rows are immutable once stored: change = copy,
// modify, put. The only writer is the finite state machine that calls Store.Apply, one goroutine at a time.
package state
