// Package containerd runs tasks as containers. It is the real driver; job files may call it docker or podman.
//
// It speaks to the host's containerd, 1.6 and up, where there is one, and otherwise to a daemon of its own (Daemon), which is our
// binary started again and outlives the agent. The choice is made once and remembered in the data directory: a node that changed
// daemons would no longer see its containers.
//
// The machine is the record: a container carries labels for cluster, node, alloc and task, and its identifier is made from alloc
// and task, so that nothing is kept here that a restart could lose. Output goes to plain files that the shim appends to. The truth
// about an exit comes from waiting on the task, never from events: containerd 2.x drops some.
//
// The package owns everything it names: containers, snapshots, shims, the cgroups of its tasks and the pinned network namespace of
// the agent. It refuses configuration that it would have to ignore. All methods may be called from any goroutine; work on one task
// is serialised inside.
package containerd
