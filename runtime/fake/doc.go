// Package fake is a driver without containers: tasks obey a script in their job's config block, and operations fail by name
// when they are told to. Simulations of thousands of nodes and the tests of package runtime use it; a user may try a herd on a
// machine with nothing installed.
//
// It owns: Machine, what runs on one imaginary machine, and Driver, the agent's view of it. A Machine survives its drivers, as a
// real machine survives its agent; Machine.Reboot ends what runs on it.
//
// It refuses: processes, files (but for appending a script's output to the task's log files), goroutines and timers of its
// own. A task's end is computed from its script when somebody looks, so that a task costs nothing while it runs, also in
// virtual time.
//
// All methods may be called from any goroutine.
package fake
