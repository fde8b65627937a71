package runtime

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"

	"github.com/drover-io/drover/state"
)

// minShares is the least weight that the kernel knows.
const minShares = 2

// spec makes a task's specification.
func (a *alloc) spec(task string) (TaskSpec, error) {
	rec := a.record()
	spec, err := a.bareSpec(rec, task)
	if err == nil && a.r.cfg.Complete != nil {
		a.r.cfg.Complete(a.stepInput(rec), &spec)
	}
	return spec, err
}

func (a *alloc) bareSpec(rec *record, name string) (TaskSpec, error) {
	t := rec.task(name)
	if t == nil {
		return TaskSpec{}, fmt.Errorf("task %q: %w", name, ErrNotFound)
	}
	sig, err := parseSignal(t.KillSignal)
	if err != nil {
		return TaskSpec{}, err
	}
	nodes, deviceEnv, err := a.devices(rec, name)
	if err != nil {
		return TaskSpec{}, err
	}
	node := a.r.cfg.Node()
	s := TaskSpec{
		ID: TaskID{AllocID: a.id, Task: name},
		Labels: map[string]string{
			LabelCluster: a.r.cfg.ClusterID(), LabelNode: a.r.cfg.NodeID,
			LabelAlloc: a.id, LabelTask: name, LabelJob: rec.Job.ID,
		},
		Dirs: TaskDirs{
			Alloc:   filepath.Join(a.dir, sharedName),
			Local:   filepath.Join(a.dir, name, localName),
			Secrets: filepath.Join(a.dir, name, secretsName),
		},
		Stdout:     filepath.Join(a.dir, logPath(name, Stdout)),
		Stderr:     filepath.Join(a.dir, logPath(name, Stderr)),
		Group:      a.id,
		Limits:     a.limits(rec, t),
		Devices:    nodes,
		KillSignal: sig,
	}
	if a.r.cfg.Cgroup != "" {
		s.Cgroup = filepath.Join(a.r.cfg.Cgroup, a.id, name)
	}
	if t.LogConfig.Disabled {
		s.Stdout, s.Stderr = os.DevNull, os.DevNull
	}
	in := envInput{alloc: rec.Alloc, job: rec.Job, group: rec.group(), task: t, node: node, spec: s, devices: deviceEnv}
	driver, _ := a.r.cfg.Drivers[CanonicalDriver(t.Driver)].(Confiner)
	if in.inside = driver != nil && driver.InContainer(); !in.inside {
		in.base = maps.Clone(a.r.cfg.HostEnv)
	}
	return in.fill()
}

// cpuShares turns MHz into a weight of 1024 per core, by the node's own MHz per core.
func cpuShares(node *state.Node, mhz int) int64 {
	total, _ := strconv.Atoi(node.Attributes["cpu.totalcompute"])
	cores, _ := strconv.Atoi(node.Attributes["cpu.numcores"])
	if total <= 0 || cores <= 0 {
		return max(minShares, int64(mhz))
	}
	return max(minShares, int64(mhz)*1024*int64(cores)/int64(total))
}
