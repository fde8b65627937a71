// Package exec is the driver that runs a plain program of the host: no image, no daemon, nothing installed.
//
// The driver starts its own binary again as `drover exec-init`. That small init process is the first process of the task's
// namespaces (or, where the kernel allows none, the leader of its own session and the reaper of its orphans). It waits for one
// byte on a pipe before it starts anything, so that a task whose agent died before recording it never runs; it starts the
// command, reaps, and writes how the command ended to a file. Output goes from the program straight into the log files.
// Nothing of this needs the agent: it may die and return, and finds the task by its state file.
//
// What a task leaves on the machine, all named by allocation and task:
//
//	<Dir>/<alloc>~<task>/state.json   written before the init process runs, and again, with its PID, before it may go on
//	<Dir>/<alloc>~<task>/started      written by init: the PID of the command as init sees it
//	<Dir>/<alloc>~<task>/exit         written by init: how the command ended, or that it was never started
//	<cgroup root>/drover/<node>/<alloc>/<task>
//
// A state file from before the machine's latest boot means nothing: there is no such task any more. A task whose init is gone
// and that has no exit file has ended in an unknown way.
//
// The package owns these files, the namespaces and the cgroup. It refuses to decide: restarts, time-outs, log rotation and
// what should run are the Runner's. All methods may be called from any goroutine; two Drivers may not work on one Dir at the
// same time (the agent's lock of its data directory sees to that).
package exec
