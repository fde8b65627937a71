package containerd

import (
	"context"
	"fmt"
	"syscall"
	"time"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/containerd/exitnote"
)

const (
	reattachFirst = 50 * time.Millisecond
	reattachMax   = 2 * time.Second
	signalTimeout = 30 * time.Second
	metricTimeout = 5 * time.Second
	noteTries     = 10 // the daemon may see a container's end before the shim noted it
	noteWait      = 50 * time.Millisecond
)

// Wait blocks until the task has ended. A daemon that goes away meanwhile is waited for.
func (d *Driver) Wait(ctx context.Context, id runtime.TaskID) (runtime.Exit, error) {
	wait := reattachFirst
	for {
		began := time.Now()
		exit, err := d.waitOnce(ctx, id)
		if ctx.Err() != nil {
			return runtime.Exit{}, ctx.Err()
		}
		if err == nil || isNotFound(err) {
			return exit, err
		}
		if time.Since(began) > reattachMax { // it had worked: begin anew with short pauses
			wait = reattachFirst
		}
		d.log.Debug("lost sight of a container, looking again", "container", containerID(id), "error", err)
		if err := pause(ctx, wait); err != nil {
			return runtime.Exit{}, err
		}
		wait = min(2*wait, reattachMax)
	}
}

// waitOnce waits as long as the daemon stays. Every error but ErrNotFound means that the daemon did not say.
func (d *Driver) waitOnce(ctx context.Context, id runtime.TaskID) (runtime.Exit, error) {
	name := containerID(id)
	s, ctx, err := d.session(ctx)
	if err != nil {
		return runtime.Exit{}, err
	}
	cc, err := s.LoadContainer(ctx, name)
	if errdefs.IsNotFound(err) {
		return runtime.Exit{}, fmt.Errorf("wait for container %s: %w", name, runtime.ErrNotFound)
	}
	if err != nil {
		return runtime.Exit{}, explain(err, "look for container %s", name)
	}
	task, err := cc.Task(ctx, nil)
	if errdefs.IsNotFound(err) {
		return d.lost(ctx, s, cc)
	}
	if err != nil {
		return runtime.Exit{}, explain(err, "look for task of container %s", name)
	}
	ch, err := task.Wait(ctx)
	if err != nil {
		return runtime.Exit{}, explain(err, "wait for container %s", name)
	}
	select {
	case <-ctx.Done():
		return runtime.Exit{}, ctx.Err()
	case st := <-ch:
		code, at, err := st.Result()
		if err != nil { // the daemon went away, and the code (255) is the client's invention
			return runtime.Exit{}, explain(err, "wait for container %s", name)
		}
		exit := exitOf(code, at)
		exit.OOM = d.killedForMemory(ctx, task)
		return exit, nil
	}
}

// lost says what became of a container without a task: its machine was rebooted, or it ended while the daemon was away, which for
// containerd 2.x means that the code is gone, unless our own shim noted it.
func (d *Driver) lost(ctx context.Context, s *session, cc client.Container) (runtime.Exit, error) {
	labels, err := cc.Labels(ctx)
	if err != nil {
		return runtime.Exit{}, explain(err, "read labels of container %s", cc.ID())
	}
	if labels[labelBoot] != d.bootID {
		return runtime.Exit{}, fmt.Errorf("wait for container %s, which ran before the machine was started: %w", cc.ID(), runtime.ErrNotFound)
	}
	if !s.embedded {
		return runtime.Exit{Unknown: true, At: time.Now()}, nil
	}
	for range noteTries {
		note, ok, err := exitnote.Read(exitsDir(s.address), cc.ID())
		if err != nil {
			d.log.Warn("cannot read how a container ended", "error", err)
		}
		if ok {
			exit := exitOf(note.Code, note.At)
			exit.OOM = note.OOM
			return exit, nil
		}
		if err := pause(ctx, noteWait); err != nil {
			return runtime.Exit{}, err
		}
	}
	return runtime.Exit{Unknown: true, At: time.Now()}, nil
}

// exitOf translates a shell's way of telling signals: 128 + n. A process may choose such a code itself; nobody can tell.
func exitOf(code uint32, at time.Time) runtime.Exit {
	e := runtime.Exit{Code: int(code), At: at}
	if at.IsZero() || at.Unix() <= 0 {
		e.At = time.Now()
	}
	if code > 128 && code <= 128+64 {
		e.Signal = int(code - 128)
	}
	return e
}

// killedForMemory reads the task's cgroup, which is there until the task is deleted. Exit code 137 alone says nothing.
func (d *Driver) killedForMemory(ctx context.Context, task client.Task) bool {
	ctx, cancel := context.WithTimeout(ctx, metricTimeout)
	defer cancel()
	m, err := task.Metrics(ctx)
	if err != nil {
		d.log.Debug("cannot read metrics of an ended container", "container", task.ID(), "error", err)
		return false
	}
	v, err := typeurl.UnmarshalAny(m.Data)
	if err != nil {
		d.log.Warn("cannot decode metrics", "container", task.ID(), "error", err)
		return false
	}
	switch m := v.(type) {
	case *v1.Metrics:
		return m.GetMemoryOomControl().GetOomKill() > 0
	case *v2.Metrics:
		return m.GetMemoryEvents().GetOomKill() > 0
	}
	return false
}

// Signal sends a signal to the first process of the container.
func (d *Driver) Signal(ctx context.Context, id runtime.TaskID, sig syscall.Signal) error {
	s, ctx, err := d.session(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, signalTimeout)
	defer cancel()
	name := containerID(id)
	task, err := loadTask(ctx, s, name)
	if err == nil {
		err = task.Kill(ctx, sig)
	}
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("send %s to container %s: %w", sig, name, runtime.ErrNotFound)
	}
	return explain(err, "send %s to container %s", sig, name)
}
