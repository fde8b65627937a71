package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/drover-io/drover/runtime"
)

// cleanupTime bounds the clearing away of what did not start, when the caller's context is dead already.
const cleanupTime = 10 * time.Second

// Start starts the task, or finds it running.
func (d *Driver) Start(ctx context.Context, spec runtime.TaskSpec) (runtime.Started, error) {
	name, err := taskName(spec.ID)
	if err != nil {
		return runtime.Started{}, fmt.Errorf("start task: %w", err)
	}
	defer d.locks.lock(name)()
	if s, ok, err := d.attach(ctx, name); ok || err != nil {
		return s, err
	}
	o, err := d.order(name, spec)
	if err != nil {
		return runtime.Started{}, fmt.Errorf("start task %s: %w", name, err)
	}
	if err := d.destroy(ctx, name); err != nil { // an earlier run of the task, which has ended
		return runtime.Started{}, fmt.Errorf("start task %s: clear away its last run: %w", name, err)
	}
	if u := o.User; u != nil {
		if err := runtime.GiveSecrets(spec.Dirs.Secrets, int(u.UID), int(u.GID)); err != nil {
			return runtime.Started{}, fmt.Errorf("start task %s: %w", name, err)
		}
	}
	s, err := d.launch(ctx, name, spec, o)
	if err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		err = errors.Join(err, d.destroy(clean, name))
		return runtime.Started{}, fmt.Errorf("start task %s: %w", name, err)
	}
	return s, nil
}

// attach finds the task running. An init process whose agent died before the go byte ends by itself within moments, and one
// that got it says so; until either is seen it is not known whether the task runs.
func (d *Driver) attach(ctx context.Context, name string) (runtime.Started, bool, error) {
	t, err := d.load(name)
	if errors.Is(err, runtime.ErrNotFound) {
		return runtime.Started{}, false, nil
	}
	if err != nil {
		return runtime.Started{}, false, fmt.Errorf("start task %s: %w", name, err)
	}
	p := t.process()
	if p == nil {
		return runtime.Started{}, false, nil
	}
	defer p.close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		_, over := t.exit()
		if _, ok := t.started(); ok && !over {
			return runtime.Started{PID: t.hostPID(), StartedAt: time.Unix(0, t.rec.StartedAt), Attached: true}, true, nil
		}
		if p.ended() {
			return runtime.Started{}, false, nil
		}
		select {
		case <-ctx.Done():
			return runtime.Started{}, false, fmt.Errorf("start task %s: %w", name, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// order checks the task's configuration and makes of it what init is told.
func (d *Driver) order(name string, spec runtime.TaskSpec) (order, error) {
	c, err := parseConfig(spec.Config)
	if err != nil {
		return order{}, err
	}
	o, err := d.surroundings(name, spec)
	if err != nil {
		return order{}, err
	}
	o.Args = append([]string{c.command}, c.args...)
	if d.mode.namespaces && d.cfg.DataDir != "" {
		o.Hide = d.cfg.DataDir
		o.Keep = within(d.cfg.DataDir, o.Dir, spec.Dirs.Alloc, spec.Dirs.Local, spec.Dirs.Secrets)
	}
	if o.Command, err = findCommand(c.command, o.Dir, spec.Dirs.Local, o.Env); err != nil {
		return order{}, err
	}
	if o.Hide != "" && below(o.Command, o.Hide) && !slices.ContainsFunc(o.Keep, func(d string) bool { return below(o.Command, d) }) {
		return order{}, fmt.Errorf("command %q: %s lies in the agent's data directory, which tasks do not see: %w",
			c.command, o.Command, runtime.ErrNotRetryable)
	}
	return o, nil
}

// surroundings are what the task's command and every further one have in common.
func (d *Driver) surroundings(name string, spec runtime.TaskSpec) (order, error) {
	user, err := lookupUser(spec.User)
	if err != nil {
		return order{}, err
	}
	o := order{Env: environment(name, spec.Env), User: user, NetNS: spec.NetNS, Namespaces: d.mode.namespaces, Dir: "/"}
	if spec.Dirs.Local != "" {
		o.Dir = filepath.Dir(spec.Dirs.Local)
	}
	return o, nil
}

// below reports whether path lies below dir.
func below(path, dir string) bool { return strings.HasPrefix(path, filepath.Clean(dir)+"/") }

// within keeps those of dirs that lie below root, without those that lie below another of them.
func within(root string, dirs ...string) []string {
	var kept []string
	for _, dir := range dirs {
		inner := slices.ContainsFunc(dirs, func(other string) bool { return other != "" && below(dir, other) && below(other, root) })
		if dir = filepath.Clean(dir); below(dir, root) && !inner && !slices.Contains(kept, dir) {
			kept = append(kept, dir)
		}
	}
	return kept
}

// marker is the entry of a task's environment by which its processes are found when nothing else names them.
func marker(name string) string { return "DROVER_EXEC_TASK=" + name }

// environment is the task's, sorted, with a PATH if it has none, and the marker.
func environment(name string, env map[string]string) []string {
	list := []string{marker(name)}
	if env["PATH"] == "" {
		list = append(list, "PATH="+defaultPath)
	}
	for k, v := range env {
		if k != "PATH" || v != "" {
			list = append(list, k+"="+v)
		}
	}
	slices.Sort(list)
	return list
}

// launch does the start. The order of its steps is what makes it safe to die between any two of them: what exists is recorded
// first (the cgroup by the record without a PID, the process by the one with it), and nothing runs before it is recorded.
func (d *Driver) launch(ctx context.Context, name string, spec runtime.TaskSpec, o order) (runtime.Started, error) {
	t := &task{dir: d.dir(name), rec: record{
		ID: spec.ID, Labels: spec.Labels, BootID: d.boot, Namespaces: o.Namespaces, StartedAt: time.Now().UnixNano(),
	}}
	if d.groups.version != CgroupsNone {
		t.rec.Cgroup = spec.Cgroup
	}
	if err := t.create(); err != nil {
		return runtime.Started{}, err
	}
	d.at("created")
	if err := d.groups.create(ctx, t.rec.Cgroup, spec.Limits); err != nil {
		return runtime.Started{}, err
	}
	d.at("limited")
	in, err := d.spawn(name, t, spec, o.User)
	if err != nil {
		return runtime.Started{}, err
	}
	defer in.close()
	d.at("spawned")
	s, err := d.release(ctx, t, in, o)
	if err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		in.kill(clean) // before its record is removed
	}
	return s, err
}

// create makes the task's directory with a record that has no PID yet.
func (t *task) create() error {
	if err := os.Mkdir(t.dir, 0o700); err != nil {
		return err
	}
	if err := t.save(passing); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(t.dir, exitTemp), []byte(strings.Repeat(" ", 512)), 0o600)
}

// spawn starts the init process with the task's log files.
func (d *Driver) spawn(name string, t *task, spec runtime.TaskSpec, user *credential) (*initProcess, error) {
	dir, err := os.Open(t.dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var logs [2]*os.File
	for i, path := range []string{spec.Stdout, spec.Stderr} {
		if path == "" {
			continue
		}
		// The program itself appends to the file: nothing of ours that copies, so nothing that dies with the agent.
		if logs[i], err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644); err != nil {
			return nil, fmt.Errorf("open log file: %w", err)
		}
		defer logs[i].Close()
		if user != nil { // programs open /dev/stdout anew, which needs more than a descriptor
			if err := logs[i].Chown(int(user.UID), int(user.GID)); err != nil {
				return nil, fmt.Errorf("give log file to the task's user: %w", err)
			}
		}
	}
	env, err := t.identity()
	if err != nil {
		return nil, err
	}
	control, err := listenControl(dir)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	return startInit(d.cfg.Exe, name, d.mode, env, dir, logs[0], logs[1], control)
}

// release puts init under its limits, records it, and tells it to go on.
func (d *Driver) release(ctx context.Context, t *task, in *initProcess, o order) (runtime.Started, error) {
	if err := in.ready(ctx); err != nil {
		return runtime.Started{}, err
	}
	st, err := readStat(in.pid)
	if err != nil {
		return runtime.Started{}, err
	}
	// Only now, so that the memory of init's own start is not counted as the task's.
	if err := d.groups.add(t.rec.Cgroup, in.pid); err != nil {
		return runtime.Started{}, err
	}
	d.at("grouped")
	t.rec.PID, t.rec.StartTime, t.rec.StartedAt = in.pid, st.start, time.Now().UnixNano()
	if err := t.save(durable); err != nil {
		return runtime.Started{}, err
	}
	d.at("recorded")
	if err := in.send(ctx, o); err != nil {
		return runtime.Started{}, err
	}
	d.at("released")
	r, err := in.report(ctx)
	if err != nil {
		return runtime.Started{}, err
	}
	pid := r.PID
	if o.Namespaces {
		pid = t.hostPID() // 0 when it has ended already
	}
	d.at("reported")
	return runtime.Started{PID: pid, StartedAt: time.Unix(0, t.rec.StartedAt)}, nil
}

// at calls the test's hook.
func (d *Driver) at(step string) {
	if d.step != nil {
		d.step(step)
	}
}
