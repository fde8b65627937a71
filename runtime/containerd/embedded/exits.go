package embedded

import (
	"context"
	"os"
	"sync"

	"github.com/containerd/containerd/api/events"
	coreevents "github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/log"

	"github.com/drover-io/drover/runtime/containerd/exitnote"
)

// noting notes each container's exit in a file before it tells the daemon, which may be away and will then never know.
type noting struct {
	shim.Publisher
	dir string

	mu  sync.Mutex
	oom map[string]bool // containers of which the kernel killed a process for memory
}

// notingExits wraps the shim's way to the daemon, if the daemon said where to note exits.
func notingExits(p shim.Publisher) shim.Publisher {
	dir := os.Getenv(exitnote.DirEnv)
	if dir == "" {
		return p
	}
	return &noting{Publisher: p, dir: dir, oom: map[string]bool{}}
}

// Publish notes what it must and passes the event on.
func (n *noting) Publish(ctx context.Context, topic string, event coreevents.Event) error {
	switch e := event.(type) {
	case *events.TaskOOM:
		n.mu.Lock()
		n.oom[e.ContainerID] = true
		n.mu.Unlock()
	case *events.TaskExit:
		if e.ID == e.ContainerID { // not an exec
			n.note(ctx, e)
		}
	case *events.TaskDelete:
		n.mu.Lock()
		delete(n.oom, e.ContainerID)
		n.mu.Unlock()
	}
	return n.Publisher.Publish(ctx, topic, event)
}

func (n *noting) note(ctx context.Context, e *events.TaskExit) {
	n.mu.Lock()
	oom := n.oom[e.ContainerID]
	n.mu.Unlock()
	err := exitnote.Write(n.dir, e.ContainerID, exitnote.Note{Code: e.ExitStatus, At: e.ExitedAt.AsTime(), OOM: oom})
	if err != nil {
		log.G(ctx).WithError(err).Warn("cannot note how a container ended")
	}
}
