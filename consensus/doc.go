// Package consensus is one ordered log with one leader at a time: hashicorp/raft over a bbolt file, its snapshots as plain
// files, its connections from whoever opens it.
//
// It owns: the directory with the log and the snapshots, the raft loops, the membership of the servers, the answer to "am I the
// leader, and of which term", and the watch over its own disk (a write that hangs for more than five seconds closes the
// transport and calls Config.OnStall, because a leader with a hung disk is never replaced otherwise).
//
// It refuses: knowing what a command means (bytes go in, FSM.Apply gets them in the same order on every server), finding the
// other servers (Config.AddressOf answers by ID), deciding who should be a member, listening and dialling.
//
// All methods of Consensus may be called from any goroutine. FSM.Apply and FSM.Restore are called from one goroutine at a time;
// FSM.Snapshot may be called at any moment beside them and must cost nothing. The functions of Config are called from raft's own
// goroutines: they return at once and never call back into Consensus.
//
// What a write's error says about its outcome:
//
//	nil                  committed and applied; Result holds what the FSM returned
//	ErrNotLeader,        nothing was proposed: safe to send again, to the leader
//	ErrBusy, ErrTooLarge
//	ErrUnknownOutcome    it may be committed now, later or never (ErrTimeout and ErrLeadershipLost are kinds of it)
//
// Commands proposed with ProposeShared may share an entry, and so an index: FSM.Apply is handed them in one call.
//
// Leadership is a context: WhileLeader compares terms, not booleans, so a leadership lost and regained between two looks still
// ends the first term's work before the second's begins.
package consensus
