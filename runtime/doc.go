// Package runtime makes the containers of one node equal to the allocations that the leader assigned to it.
//
// It owns: the Runner with one goroutine per allocation, the directories and the record file of each allocation, restart policies,
// task states and their events, the environment of tasks and the interpolation of their configuration, log files and their
// bounds, the fingerprint of the host, and Driver, the narrow waist between all that and what runs tasks (runtime/containerd,
// runtime/exec, runtime/fake).
//
// It refuses: deciding what should run (Obey is told), removing what nobody said may go (Found tells, the leader answers), the
// network (orders come and reports go through the agent), and a database: the record of what runs is the machine itself, the
// containers' labels and one small file per allocation for what labels cannot hold.
//
// The laws:
//
//   - Level, not edge. Orders name allocations to run, to stop, and to forget. Only the last two end something; an allocation
//     that is in no list is left alone, so an empty or short list never ends anything.
//   - Recorded before done. What the next life of the agent must know is on disk before the act it belongs to, so the agent may
//     be killed anywhere and started again: it re-attaches to what runs, reports the exits it missed (a lost exit code is a
//     failure, never a success) and goes on with what it was doing.
//   - Terminal states absorb. An allocation that has ended is never started again, and is reported ended only when nothing of it
//     is left on the machine but its directory, which stays until the leader says that it is gone.
//   - What was found not running when the Runner was opened (the machine rebooted, a task ended meanwhile) is started again only
//     after the leader has named it once: it may have been placed elsewhere.
//
// Open does no harm: it reads. Run does the work until its context ends, and leaves the tasks running. All other methods of
// Runner may be called from any goroutine, before, during and after Run.
package runtime
