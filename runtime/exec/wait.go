package exec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/drover-io/drover/runtime"
)

// Wait waits for the task's end. It does not matter which agent started it.
func (d *Driver) Wait(ctx context.Context, id runtime.TaskID) (runtime.Exit, error) {
	name, err := taskName(id)
	if err != nil {
		return runtime.Exit{}, fmt.Errorf("wait for task: %w", err)
	}
	t, err := d.load(name)
	if err != nil {
		return runtime.Exit{}, fmt.Errorf("wait for task %s: %w", name, err)
	}
	if p := t.process(); p != nil {
		defer p.close()
		// Not only for the exit file: when init is gone, so is everything that the command left behind.
		if err := p.wait(ctx); err != nil {
			return runtime.Exit{}, fmt.Errorf("wait for task %s: %w", name, err)
		}
	}
	x, ok := t.exit()
	switch {
	case t.rec.PID == 0 || x.Aborted:
		return runtime.Exit{}, fmt.Errorf("wait for task %s: it was never started: %w", name, runtime.ErrNotFound)
	case ok:
		return x.result(d.groups.oomKills(t.rec.Cgroup) > 0), nil
	}
	if _, err := os.Stat(t.dir); errors.Is(err, fs.ErrNotExist) {
		return runtime.Exit{}, fmt.Errorf("wait for task %s: it was removed: %w", name, runtime.ErrNotFound)
	}
	return runtime.Exit{Code: -1, Unknown: true, OOM: d.groups.oomKills(t.rec.Cgroup) > 0, At: time.Now()}, nil
}

// Remove ends whatever is left of the task and deletes everything of it.
func (d *Driver) Remove(ctx context.Context, id runtime.TaskID) error {
	name, err := taskName(id)
	if err != nil {
		return fmt.Errorf("remove task: %w", err)
	}
	defer d.locks.lock(name)()
	if err := d.destroy(ctx, name); err != nil {
		return fmt.Errorf("remove task %s: %w", name, err)
	}
	return nil
}

// destroy is Remove under the task's lock. The record goes last, so that what fails is tried again by name.
func (d *Driver) destroy(ctx context.Context, name string) error {
	t, err := d.load(name)
	switch {
	case errors.Is(err, runtime.ErrNotFound): // nothing, or nothing of this boot: no process can be left
		return os.RemoveAll(d.dir(name))
	case err != nil:
		return err
	}
	if err := t.kill(ctx, name); err != nil {
		return err
	}
	if err := d.groups.destroy(ctx, t.rec.Cgroup); err != nil {
		return err
	}
	return os.RemoveAll(t.dir)
}

// kill ends the init process and all that came of it, as far as that can be told without a cgroup.
func (t *task) kill(ctx context.Context, name string) error {
	p := t.process()
	if p != nil {
		defer p.close()
		if !t.rec.Namespaces {
			killTree(t.rec.PID)
		}
		if err := p.signal(syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		if err := p.wait(ctx); err != nil {
			return fmt.Errorf("process %d does not die: %w", t.rec.PID, err)
		}
	}
	if t.rec.Namespaces {
		return nil // the kernel has killed all of the namespace before init counts as ended
	}
	return killMarked(ctx, marker(name))
}

// killTree kills all descendants of a process. They are stopped first, until no new one is seen, so that none can run away by
// making others.
func killTree(pid int) {
	stopped := map[int]bool{}
	for range 100 {
		fresh := false
		for _, p := range descendants(pid) {
			if !stopped[p] {
				stopped[p], fresh = true, true
				_ = syscall.Kill(p, syscall.SIGSTOP)
			}
		}
		if !fresh {
			break
		}
	}
	for p := range stopped {
		_ = syscall.Kill(p, syscall.SIGKILL)
	}
}

// killMarked kills the processes that carry the task's mark until there are none. It finds orphans whose init was killed.
func killMarked(ctx context.Context, entry string) error {
	return until(ctx, func() error {
		pids := marked(entry)
		for _, pid := range pids {
			if st, err := readStat(pid); err == nil {
				if p := openProcess(pid, st.start); p != nil {
					_ = p.signal(syscall.SIGKILL)
					p.close()
				}
			}
		}
		if len(pids) > 0 {
			return fmt.Errorf("processes %v do not die", pids)
		}
		return nil
	})
}

// until tries f, quickly at first, until it succeeds; when the context ends it returns f's error. It gives up after cleanupTime
// in any case: a process that cannot be killed hangs in the kernel, and the caller will come again.
func until(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupTime)
	defer cancel()
	for delay := time.Millisecond; ; delay = min(2*delay, 100*time.Millisecond) {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(delay):
		}
	}
}
