package containerd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/containerd/exitnote"
)

const (
	removeTimeout = time.Minute
	deleteTries   = 8
)

func isNotFound(err error) bool { return errors.Is(err, runtime.ErrNotFound) }

// Remove kills what is left of the task and deletes all of it.
func (d *Driver) Remove(ctx context.Context, id runtime.TaskID) error {
	name := containerID(id)
	defer d.tasks.lock(name)()
	s, ctx, err := d.session(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	return d.remove(ctx, s, name)
}

// remove takes the container away last: as long as it is there, what was not finished is tried again.
func (d *Driver) remove(ctx context.Context, s *session, id string) error {
	cc, err := s.LoadContainer(ctx, id)
	if errdefs.IsNotFound(err) { // an attempt that ended before the container was made may have left its snapshot
		return d.removeRest(ctx, s, id)
	}
	if err != nil {
		return explain(err, "look for container %s", id)
	}
	if err := removeTask(ctx, cc); err != nil {
		return explain(err, "delete task of container %s", id)
	}
	if spec, err := cc.Spec(ctx); err == nil && spec.Linux != nil {
		if err := removeCgroup(ctx, cgroupRoot, spec.Linux.CgroupsPath, &d.cgroups); err != nil {
			return fmt.Errorf("delete cgroup of container %s: %w", id, err)
		}
	}
	if err := cc.Delete(ctx, client.WithSnapshotCleanup); err != nil && !errdefs.IsNotFound(err) {
		return explain(err, "delete container %s", id)
	}
	return d.removeRest(ctx, s, id)
}

// removeRest takes away what has the container's name and is not the container.
func (d *Driver) removeRest(ctx context.Context, s *session, id string) error {
	if err := s.SnapshotService(s.snapshotter).Remove(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return explain(err, "delete snapshot of container %s", id)
	}
	if err := d.removeFiles(s, id); err != nil {
		return err
	}
	if !s.embedded {
		return nil
	}
	return exitnote.Remove(exitsDir(s.address), id)
}

// removeTask kills and deletes. The shim may be just starting, or have gone away; a few attempts tell.
func removeTask(ctx context.Context, cc client.Container) error {
	wait := 20 * time.Millisecond
	var err error
	for range deleteTries {
		var task client.Task
		if task, err = cc.Task(ctx, nil); err == nil {
			_, err = task.Delete(ctx, client.WithProcessKill)
		}
		if err == nil || errdefs.IsNotFound(err) {
			return nil
		}
		if pauseErr := pause(ctx, wait); pauseErr != nil {
			return errors.Join(err, pauseErr)
		}
		wait *= 2
	}
	return err
}
