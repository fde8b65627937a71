package runtime

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/drover-io/drover/state"
)

// Errors of drivers. They are wrapped with the object's name; test with errors.Is.
var (
	// ErrNotFound says that the driver knows no such task.
	ErrNotFound = errors.New("task not found")
	// ErrUnavailable says that the driver's daemon cannot be reached now; the task itself may run on. Try again.
	ErrUnavailable = errors.New("driver unavailable")
	// ErrNotRetryable says that starting again on this node cannot help: a missing image file, a bad configuration.
	ErrNotRetryable = errors.New("not retryable")
)

// Driver is the narrow waist between the node and what runs tasks. Its methods may be called from any goroutine; all are
// idempotent where they can be. A task is named by TaskID; everything a driver makes on the host carries that name.
type Driver interface {
	// Name is the driver's name: "containerd", "exec", "fake".
	Name() string
	// Fingerprint says whether the driver works here, and with which attributes ("driver.exec", "driver.containerd.version").
	Fingerprint(ctx context.Context) Fingerprint
	// Start makes the task and starts it. On an error nothing of it is left behind. Start of a task that exists already
	// (the agent died between start and record) re-attaches to it when it runs.
	Start(ctx context.Context, spec TaskSpec) (Started, error)
	// Wait blocks until the task has ended and says how. ErrNotFound: there is no such task (after a reboot). It survives
	// restarts of the driver's daemon by itself: it returns an error only for ErrNotFound and a dead ctx.
	Wait(ctx context.Context, id TaskID) (Exit, error)
	// Signal sends a signal to the task's first process. ErrNotFound when it has ended.
	Signal(ctx context.Context, id TaskID, sig syscall.Signal) error
	// Remove kills what is left of the task and deletes everything of it: container, snapshot, shim, cgroup, state files.
	// No error when there is nothing.
	Remove(ctx context.Context, id TaskID) error
	// List finds every task of this cluster's node on the machine, running or not.
	List(ctx context.Context) ([]Found, error)
}

// ImagePuller is what a driver implements that fetches images: the Runner calls it before Start, so that a long download shows
// as an event of its own. Start fetches what is missing, so calling it is never necessary.
type ImagePuller interface {
	// EnsureImage makes the image that spec.Config names present on the machine and returns the name it has there. Concurrent
	// calls for one image share the download. Errors wrap ErrNotRetryable and ErrUnavailable as Start's do.
	EnsureImage(ctx context.Context, spec TaskSpec) (ref string, err error)
}

// PullWatcher is what an ImagePuller implements that can say how far a download is.
type PullWatcher interface {
	// PullProgress says how many bytes of spec's image are here and how many it has, as far as is known. ok is false while nothing
	// is.
	PullProgress(ctx context.Context, spec TaskSpec) (done, total int64, ok bool)
}

// Tidier is what a driver implements that keeps things which nobody may need any more, such as images.
type Tidier interface {
	// Tidy removes what its configuration says may go. It is called now and then.
	Tidy(ctx context.Context) error
}

// Confiner is what a driver implements whose tasks see their directories at /alloc, /local and /secrets. Tasks of the others
// see the host's paths.
type Confiner interface {
	InContainer() bool
}

// StatsReader is what a driver implements that can tell what a task uses.
type StatsReader interface {
	// Stats reads the task's counters. ErrNotFound when it does not run.
	Stats(ctx context.Context, id TaskID) (Usage, error)
}

// Usage is what a task has used and uses.
type Usage struct {
	CPUNanos    uint64 // CPU time since its start, nanoseconds
	MemoryBytes uint64 // in use now, without the part of the page cache that can be dropped
	MemoryRSS   uint64 // anonymous memory, bytes; 0 where it is not told apart
	MemoryCache uint64 // page cache, bytes; 0 where it is not told apart
	MemoryLimit uint64 // bytes; 0 means none
	Pids        uint64 // processes and threads

	ThrottledPeriods uint64 // periods in which a hard limit of CPU time held it back
	ThrottledNanos   uint64 // how long, nanoseconds
}

// TaskID names one task of one allocation.
type TaskID struct {
	AllocID string
	Task    string
}

// Started is what Start says of a running task.
type Started struct {
	PID       int       // of the task's first process, in the host's PID namespace; 0 when the driver has none
	StartedAt time.Time // the node's wall clock
	Attached  bool      // it ran already
}

// Exit says how a task ended.
type Exit struct {
	Code    int
	Signal  int  // 0 when it exited by itself
	OOM     bool // the kernel killed it, or a child of it, for memory
	Unknown bool // it ended while nobody watched and the code was lost: a failure, never a success
	At      time.Time
}

// Success reports whether the task ended well.
func (e Exit) Success() bool { return e.Code == 0 && e.Signal == 0 && !e.Unknown && !e.OOM }

// Found is a task that a driver found on the machine.
type Found struct {
	ID      TaskID
	Running bool
	PID     int
	Labels  map[string]string // cluster, node, alloc, task: the Label constants
}

// Labels on every container (and in the state file of every process).
const (
	LabelCluster = "drover.cluster"
	LabelNode    = "drover.node"
	LabelAlloc   = "drover.alloc"
	LabelTask    = "drover.task"
	LabelJob     = "drover.job"
)

// TaskSpec is all that a driver needs to start a task. Interpolation is done.
type TaskSpec struct {
	ID         TaskID
	Labels     map[string]string
	Config     map[string]any    // the job's config block, interpolated
	Env        map[string]string // the whole environment
	User       string            // "" means the image's, or the agent's
	Dirs       TaskDirs
	Stdout     string // file that the task's output is appended to; exists already
	Stderr     string
	NetNS      string // path of the network namespace to join; "" means the agent's own
	Cgroup     string // path below the cgroup root, "/drover/<node>/<alloc>/<task>"; "" where there are none
	Group      string // the allocation: drivers with helper processes share them within a group
	Limits     Limits
	Devices    []DeviceNode // of the host, that the task gets in its container
	KillSignal syscall.Signal
}

// TaskDirs are the directories of a task on the host.
type TaskDirs struct {
	Alloc   string // shared by the group, /alloc inside
	Local   string // the task's own, /local inside
	Secrets string // the task's own, /secrets inside
}

// Limits bound what a task may use.
type Limits struct {
	CPUShares    int64 // relative weight, 1024 per core
	Cores        []int // to run on; nil means all
	MemoryMB     int64 // MiB, hard; 0 means none
	MemorySoftMB int64 // MiB that the task is sure of when memory is short; 0 means all that it has
	Pids         int64 // 0 means the driver's default
}

// Fingerprint is what a driver, or the host, says of itself.
type Fingerprint struct {
	Info       state.DriverInfo
	Attributes map[string]string
}

// CanonicalDriver maps the names that job files use to the driver that runs them: docker, podman → containerd;
// raw_exec → exec. Unknown names map to themselves.
func CanonicalDriver(name string) string {
	switch name {
	case "docker", "podman":
		return "containerd"
	case "raw_exec":
		return "exec"
	}
	return name
}
